//! The results of the parts of a poll.

use crate::batch::Batch;

/// The result of one step of a poll.
pub(super) enum Stepped {
    Batch(Batch),
    Drained,
    /// The reader's place has changed: look again.
    Again,
}

/// The result of entering a page.
pub(super) enum Entered {
    /// The page is mapped, as [`Reader`]'s page.
    Page,
    Trimmed,
    /// The ring or its writer has changed meanwhile.
    Moved,
    /// The page is missing, and the segment that names it is out of date: the next writer will tell.
    Unsettled,
}

/// The result of a check of the ring.
pub(crate) enum SourceCheck {
    /// Nothing has changed: a watermark loaded before may be used.
    Same,
    /// The ring or its writer has changed, and the place has been checked: load the watermark again.
    Moved,
    /// A writer is recovering the files at this moment: nothing may be read until it is done.
    Unsettled,
}
