//! A place up to which bytes may be read.

use waldo_shm_protocol::Position;

/// A [`Position`] that somebody vouches for: every byte below it is in the page cache and is not written
/// again while anybody can see it. Only such a value lets a [`PageMap`](crate::pages::page_map::PageMap) hand
/// out bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermark(Position);

impl Watermark {
    /// To be called with what the writer published in the control segment, or with what a scan of the files
    /// found to be good. The value may still be nonsense: it is compared with the page's limits when used.
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
