//! The control segment: shared memory that one writer stores to and any number of readers load from. The
//! segment is a cache of what the files say, never the truth.
//!
//! ```text
//!  0        256         384       512      640        1024         8192          index_offset
//!  | header | committed | durable | status | counters | wake words | page slots  | index slots  |
//! ```
//!
//! Every word in it is an atomic: no reference to plain bytes is ever formed. Lines that different
//! threads write, or that readers spin on, are 128 bytes apart.
//!
//! A reader holds a [`Segment`], which has no method that stores. The writer holds a [`Publisher`].

mod directory;
mod header;
mod lines;
#[cfg(test)]
#[cfg(loom)]
mod loom_models;
mod publisher;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

pub use directory::{IndexKey, IndexSlot, PageInfo, PageSlot};
pub use header::{
    SEGMENT_MAGIC, SegmentCounts, SegmentFault, SegmentGeometry, SegmentHeader, SegmentIdentity,
};
pub use lines::{CommittedLine, Counter, Counters, DurableLine, StatusLine, WakeWord, WriterState, wake_bit};
pub use publisher::Publisher;

use crate::page::IndexEntry;
use crate::position::Position;
use crate::sync::{AtomicU32, Ordering, load_acquire, load_acquire_u32};
use core::ptr::NonNull;

/// Offset of the committed watermark's line.
pub const COMMITTED_OFFSET: usize = 256;
/// Offset of the durable watermark's line.
pub const DURABLE_OFFSET: usize = 384;
/// Offset of the writer's status.
pub const STATUS_OFFSET: usize = 512;
/// Offset of the counters.
pub const COUNTERS_OFFSET: usize = 640;
/// Offset of the first wake word; they are 64 bytes apart.
pub const WAKE_OFFSET: usize = 1024;
/// Offset of the first page slot.
pub const SLOTS_OFFSET: usize = 8192;

/// Read access to a mapped control segment.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    header: &'a SegmentHeader,
    committed: &'a CommittedLine,
    durable: &'a DurableLine,
    status: &'a StatusLine,
    counters: &'a Counters,
    wakes: &'a [WakeWord],
    slots: &'a [PageSlot],
    index: &'a [IndexSlot],
    geometry: SegmentGeometry,
}

/// The first 128 bytes of a mapping, to be checked before the rest is looked at.
///
/// # Safety
/// `base` must be aligned to 8 and point at 256 bytes or more that stay mapped and readable for `'a`, and
/// that every process only ever accesses atomically.
#[allow(unsafe_code, reason = "forms a reference into a mapping")]
pub unsafe fn header_at<'a>(base: NonNull<u8>) -> &'a SegmentHeader {
    // SAFETY: the struct consists of atomics only and is 128 bytes long; the caller vouches for the memory.
    unsafe { base.cast::<SegmentHeader>().as_ref() }
}

impl<'a> Segment<'a> {
    /// The segment of geometry `geometry` that starts at `base`.
    ///
    /// # Safety
    /// `base` must be aligned to 128 and point at `geometry.segment_len()` bytes that stay mapped and
    /// readable for `'a`, and that every process only ever accesses atomically.
    #[cfg(not(loom))]
    #[allow(unsafe_code, reason = "forms references into a mapping")]
    pub unsafe fn from_raw(base: NonNull<u8>, geometry: SegmentGeometry) -> Segment<'a> {
        let at = |offset: usize| {
            debug_assert!((offset as u64) < geometry.segment_len());
            // SAFETY: every offset used below lies within `segment_len`, which the caller vouches for.
            unsafe { base.add(offset) }
        };
        // SAFETY: (this block and those below) the structs consist of atomics only, so shared references are
        // sound while other processes store; offset and length lie within the mapping by construction of
        // `SegmentGeometry`.
        let header = unsafe { header_at(base) };
        // SAFETY: as above.
        let committed = unsafe { at(COMMITTED_OFFSET).cast().as_ref() };
        // SAFETY: as above.
        let durable = unsafe { at(DURABLE_OFFSET).cast().as_ref() };
        // SAFETY: as above.
        let status = unsafe { at(STATUS_OFFSET).cast().as_ref() };
        // SAFETY: as above.
        let counters = unsafe { at(COUNTERS_OFFSET).cast().as_ref() };
        let wakes: NonNull<[WakeWord]> =
            NonNull::slice_from_raw_parts(at(WAKE_OFFSET).cast(), geometry.wake_words() as usize);
        let slots: NonNull<[PageSlot]> =
            NonNull::slice_from_raw_parts(at(SLOTS_OFFSET).cast(), geometry.page_slots() as usize);
        let index = NonNull::slice_from_raw_parts(
            at(geometry.index_offset() as usize).cast(),
            geometry.index_slots() as usize,
        );
        // SAFETY: as above.
        let wakes = unsafe { wakes.as_ref() };
        // SAFETY: as above.
        let slots = unsafe { slots.as_ref() };
        // SAFETY: as above.
        let index = unsafe { index.as_ref() };
        Segment { header, committed, durable, status, counters, wakes, slots, index, geometry }
    }

    /// The ring and the instance that this segment names now.
    pub fn identity(&self) -> SegmentIdentity {
        self.header.identity()
    }

    /// Its lengths.
    pub fn geometry(&self) -> SegmentGeometry {
        self.geometry
    }

    /// The committed watermark: everything below may be read. Orders later reads of the log's bytes and of
    /// the directory after the writer's stores.
    #[inline(always)]
    pub fn committed(&self) -> Position {
        self.committed.load()
    }

    /// The durable watermark: everything below survives power loss.
    #[inline(always)]
    pub fn durable(&self) -> Position {
        self.durable.load()
    }

    /// Sequence number of the last committed record, 0 if there is none. Unordered: for information.
    pub fn tip_seq_no(&self) -> u64 {
        self.committed.tip_seq_no()
    }

    /// Records appended to the ring since it was made; `None` if that is not known. Unordered: for
    /// information.
    pub fn records(&self) -> Option<u64> {
        Some(self.committed.records.load(Ordering::Relaxed)).filter(|n| *n != crate::page::RECORDS_UNKNOWN)
    }

    /// The writer's state.
    pub fn status(&self) -> &'a StatusLine {
        self.status
    }

    /// What the writer has counted.
    pub fn counters(&self) -> &'a Counters {
        self.counters
    }

    /// The futex word that reader number `n` (any number, say its process id) waits on.
    #[inline]
    pub fn wake_word(&self, n: u32) -> &'a AtomicU32 {
        self.wakes[n as usize % self.wakes.len()].word()
    }

    /// The value of wake word `n`. A reader loads it *before* it looks for records, and sleeps on it if it
    /// found none. The load is ordered before that look.
    #[inline]
    pub fn wake_token(&self, n: u32) -> u32 {
        load_acquire_u32(self.wake_word(n)) // SYNC(wake)
    }

    /// How many wake words there are, at least 1.
    pub fn wake_words(&self) -> u32 {
        self.geometry.wake_words()
    }

    /// The oldest page that is still in the ring.
    pub fn oldest_page(&self) -> u64 {
        self.status.oldest_page()
    }

    fn slot_no(&self, page: u64) -> usize {
        (page % self.slots.len() as u64) as usize
    }

    fn index_of(&self, slot_no: usize) -> &'a [IndexSlot] {
        let capacity = self.geometry.index_capacity() as usize;
        &self.index[slot_no * capacity..(slot_no + 1) * capacity]
    }

    /// What the directory says about page `page`; `None` if the page is not in the directory (trimmed, not
    /// begun, or being replaced at this moment). This is a hint: the page file is the truth.
    pub fn page(&self, page: u64) -> Option<PageInfo> {
        self.slots[self.slot_no(page)].read().filter(|info| page != 0 && info.page_id == page)
    }

    /// Number and append time of the first record of page `page`, as [`Segment::page`] has them, for a
    /// bisection that needs nothing else; `None` in the same cases.
    #[inline]
    pub fn page_begin(&self, page: u64) -> Option<(u64, u64)> {
        if page == 0 {
            return None; // the id of a slot that was never used
        }
        self.slots[self.slot_no(page)].begin(page)
    }

    /// The last index entry of page `page` that is not above `key` (for a time: strictly before it); `None`
    /// if there is none or the page is gone. A hint: the record it points at has to be checked.
    pub fn index_floor(&self, page: u64, key: IndexKey) -> Option<IndexEntry> {
        if page == 0 {
            return None; // the id of a slot that was never used
        }
        let slot_no = self.slot_no(page);
        self.slots[slot_no].floor(page, self.index_of(slot_no), key)
    }
}

impl CommittedLine {
    #[inline(always)]
    fn load(&self) -> Position {
        Position::from_word(load_acquire(&self.position)) // SYNC(publish)
    }

    fn tip_seq_no(&self) -> u64 {
        self.tip_seq_no.load(Ordering::Relaxed)
    }
}

impl DurableLine {
    #[inline(always)]
    fn load(&self) -> Position {
        Position::from_word(load_acquire(&self.position)) // SYNC(durable)
    }
}
