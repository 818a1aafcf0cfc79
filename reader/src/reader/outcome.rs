//! What the parts of a poll come to.

use crate::batch::Batch;

/// What one step of a poll came to.
pub(super) enum Stepped {
    Batch(Batch),
    Drained,
    /// The reader's place has changed: look again.
    Again,
}

/// What became of entering a page.
pub(super) enum Entered {
    /// It is mapped, as [`Reader`]'s page.
    Page,
    Trimmed,
    /// The ring or its writer has changed meanwhile.
    Moved,
    /// It is missing, and the segment that names it is out of date: whoever comes next tells.
    Unsettled,
}

/// What a look at the ring came to.
pub(crate) enum SourceCheck {
    /// Nothing has changed: a watermark loaded before may be used.
    Same,
    /// The ring or its writer has changed, and the place has been looked at: load the watermark anew.
    Moved,
    /// A writer is mending the files at this moment: nothing may be read until it is done.
    Unsettled,
}
