//! How far the log goes, in the writer's own memory.
//!
//! The control segment gives readers the same positions. The writer never reads them back: a stray store into
//! shared memory must not get into a record's header, into the ring's metadata, or into the decision whether
//! a flush is needed.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};
use waldo_shm_protocol::Position;
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;

/// The committed and the durable position, each on a cache line of its own: the appending thread stores the
/// committed position with every append, the flusher stores the durable one, and every thread of the writer
/// loads both.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    committed: CachePadded<AtomicU64>,
    durable: CachePadded<AtomicU64>,
}

impl Positions {
    /// Every byte below this is in the page cache.
    #[inline]
    pub(crate) fn committed(&self) -> Position {
        Position::from_word(self.committed.load(Ordering::Acquire)) // SYNC(own-committed)
    }

    /// Every byte below this survives power loss.
    #[inline]
    pub(crate) fn durable(&self) -> Position {
        Position::from_word(self.durable.load(Ordering::Acquire)) // SYNC(own-durable)
    }

    /// Must be called by the appending thread, after the writes below `position` have completed, and after
    /// readers can see `position`.
    #[inline]
    pub(crate) fn set_committed(&self, position: Position) {
        self.committed.store(position.word(), Ordering::Release); // SYNC(own-committed)
    }

    /// Must be called after the flush of everything below `position`, by one thread at a time.
    #[inline]
    pub(crate) fn set_durable(&self, position: Position) {
        self.durable.store(position.word(), Ordering::Release); // SYNC(own-durable)
    }
}

/// The newest page that holds a record below `position`; 0 if there is none.
pub(crate) fn page_reached(position: Position) -> u64 {
    let empty = position.offset() as usize <= PAGE_HEADER_LEN;
    position.page().saturating_sub(u64::from(empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_page_is_not_reached() {
        assert_eq!(page_reached(Position::NONE), 0);
        assert_eq!(page_reached(Position::start_of(1)), 0);
        assert_eq!(page_reached(Position::start_of(7)), 6);
        assert_eq!(page_reached(Position::new(7, 4104).unwrap()), 7);
    }
}
