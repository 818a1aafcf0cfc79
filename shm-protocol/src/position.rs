//! A place in the log, packed into the one word that readers follow.
//!
//! ```text
//! { page id: 36 bits, offset / 8: 28 bits }
//! ```
//!
//! The page id is in the high bits, so positions compare in the order of the log.

use crate::limits::{PAGE_HEADER_LEN, PAGE_ID_MAX, PAGE_LEN_MAX, RECORD_ALIGN};
use core::fmt;

const OFFSET_BITS: u32 = 28;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;

const _: () = assert!((OFFSET_MASK + 1) * RECORD_ALIGN as u64 == PAGE_LEN_MAX);
const _: () = assert!(PAGE_ID_MAX == u64::MAX >> OFFSET_BITS);

/// A byte offset in a page: `{ page, offset }`. Offsets are multiples of eight.
///
/// As a watermark it means that every byte before it can be read. The default, all zero, names no place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

impl Position {
    /// Before everything; what a watermark holds until the writer has opened the ring.
    pub const NONE: Position = Position(0);

    /// The position `offset` bytes into page `page`. `None` if either is out of range or misaligned.
    #[inline]
    pub const fn new(page: u64, offset: u64) -> Option<Position> {
        if page == 0
            || page > PAGE_ID_MAX
            || offset >= PAGE_LEN_MAX
            || !offset.is_multiple_of(RECORD_ALIGN as u64)
        {
            return None;
        }
        Some(Position((page << OFFSET_BITS) | (offset / RECORD_ALIGN as u64)))
    }

    /// The first byte after the header of page `page`, which must be in `1..=PAGE_ID_MAX`; other ids give
    /// [`Position::NONE`].
    pub const fn start_of(page: u64) -> Position {
        match Position::new(page, PAGE_HEADER_LEN as u64) {
            Some(position) => position,
            None => Position::NONE,
        }
    }

    /// Reads the packed word. Any word is accepted: what it points at is checked when it is used.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Position {
        Position(word)
    }

    /// The packed word.
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Id of the page; 0 if this names no place.
    #[inline(always)]
    pub const fn page(self) -> u64 {
        self.0 >> OFFSET_BITS
    }

    /// Offset in bytes from the start of the page file, a multiple of eight below 2 GiB.
    #[inline(always)]
    pub const fn offset(self) -> u32 {
        ((self.0 & OFFSET_MASK) * RECORD_ALIGN as u64) as u32
    }

    /// Whether this names no place: [`Position::NONE`], or a damaged word that names page 0.
    pub const fn is_none(self) -> bool {
        self.page() == 0
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{ page: {}, offset: {} }}", self.page(), self.offset())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {} offset {}", self.page(), self.offset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_the_extremes() {
        let last = Position::new(PAGE_ID_MAX, PAGE_LEN_MAX - 8).unwrap();
        assert_eq!((last.page(), u64::from(last.offset())), (PAGE_ID_MAX, PAGE_LEN_MAX - 8));
        assert_eq!(last.word(), u64::MAX);
        assert!(Position::from_word(1).is_none() && !Position::from_word(1 << OFFSET_BITS).is_none());
        assert!(Position::new(0, 8).is_none());
        assert!(Position::new(PAGE_ID_MAX + 1, 8).is_none());
        assert!(Position::new(1, PAGE_LEN_MAX).is_none());
        assert!(Position::new(1, 12).is_none());
    }

    #[test]
    fn says_which_place_it_is() {
        let position = Position::new(7, 8200).unwrap();
        assert_eq!(position.to_string(), "page 7 offset 8200");
        assert_eq!(format!("{position:?}"), "{ page: 7, offset: 8200 }");
    }

    #[test]
    fn orders_as_the_log_does() {
        let end = Position::new(7, PAGE_LEN_MAX - 8).unwrap();
        assert!(end < Position::start_of(8));
        assert!(Position::NONE < Position::start_of(1));
    }
}
