//! A position up to which bytes may be read.

use waldo_shm_protocol::Position;

/// A trusted [`Position`]: every byte below it is in the page cache, and is not written again while any
/// process can see it. Only such a value lets a [`PageMap`](crate::pages::page_map::PageMap) hand out bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermark(Position);

impl Watermark {
    /// Must be called with a position that the writer published in the control segment, or that a scan of the
    /// files found to be good. The value may still be invalid: it is compared with the page's limits when
    /// used.
    #[inline(always)]
    pub(crate) fn vouched(position: Position) -> Watermark {
        Watermark(position)
    }

    #[inline(always)]
    pub(crate) fn position(self) -> Position {
        self.0
    }

    #[inline(always)]
    pub(crate) fn word(self) -> u64 {
        self.0.word()
    }
}
