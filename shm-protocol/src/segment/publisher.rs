//! The writer's side of the segment: all stores.

use super::Segment;
use super::directory::PageInfo;
use super::header::{SegmentGeometry, SegmentIdentity};
use super::lines::{Counter, WriterState};
use crate::page::IndexEntry;
use crate::position::Position;
use crate::record::PageEnd;
use crate::sync::{AtomicU32, Ordering};

/// Write access to a control segment. There is one writer process; each method says which threads of that
/// process may call it. A violation spoils what readers see, never memory safety.
#[derive(Clone, Copy)]
pub struct Publisher<'a> {
    segment: Segment<'a>,
}

impl<'a> Publisher<'a> {
    /// Store access to `segment`, whose memory must be mapped for writing.
    ///
    /// # Safety
    /// The mapping behind `segment` must be writable for `'a`.
    #[allow(unsafe_code, reason = "an unsafe contract: the memory must be writable")]
    pub unsafe fn new(segment: Segment<'a>) -> Publisher<'a> {
        Publisher { segment }
    }

    /// The readers' view.
    pub fn segment(&self) -> &Segment<'a> {
        &self.segment
    }

    /// Fills in the header of a new, zeroed segment; its magic number comes last.
    pub fn format(&self, geometry: SegmentGeometry, identity: SegmentIdentity) {
        self.segment.header.publish(geometry, identity);
    }

    /// Publishes the committed watermark, the tip, and how many records were ever appended
    /// ([`crate::page::RECORDS_UNKNOWN`] if that is not known). One thread at a time. All earlier stores,
    /// those into the directory and the kernel's into the page, are ordered before the watermark.
    #[inline]
    pub fn commit(&self, position: Position, tip_seq_no: u64, records: u64) {
        let line = self.segment.committed;
        line.records.store(records, Ordering::Relaxed);
        line.tip_seq_no.store(tip_seq_no, Ordering::Relaxed);
        line.position.store(position.word(), Ordering::Release); // SYNC(publish)
    }

    /// Publishes the durable watermark. Never moves it back while the writer lives. One thread at a time.
    #[inline]
    pub fn set_durable(&self, position: Position) {
        self.segment.durable.position.store(position.word(), Ordering::Release); // SYNC(durable)
    }

    /// Publishes the writer's state; epoch, pid and errno first.
    pub fn set_state(&self, state: WriterState) {
        self.segment.status.state.store(state as u32, Ordering::Release); // SYNC(state)
    }

    /// Publishes a final error: number first, then the state.
    pub fn fail(&self, errno: u32) {
        self.segment.status.errno.store(errno, Ordering::Relaxed);
        self.set_state(WriterState::Failed);
    }

    /// Names the writer that is starting. The error number of its predecessor stays: a reader that has seen
    /// the state "failed" may be about to load that number.
    pub fn set_writer(&self, epoch: u32, pid: u32, heartbeat_interval_ns: u64) {
        let status = self.segment.status;
        status.epoch.store(epoch, Ordering::Relaxed);
        status.writer_pid.store(pid, Ordering::Relaxed);
        status.heartbeat_interval_ns.store(heartbeat_interval_ns, Ordering::Relaxed);
    }

    /// Says "alive at `boottime_ns`".
    pub fn beat(&self, boottime_ns: u64) {
        self.segment.status.heartbeat_ns.store(boottime_ns, Ordering::Relaxed);
    }

    /// Names the oldest page. Must be called before that page's predecessor loses its name.
    pub fn set_oldest_page(&self, page: u64) {
        self.segment.status.oldest_page.store(page, Ordering::Relaxed);
    }

    /// Enters page `info.page_id` into the directory, in place of the page that had its slot. One thread at a
    /// time.
    pub fn enter_page(&self, info: &PageInfo) {
        self.segment.slots[self.segment.slot_no(info.page_id)].replace(info);
    }

    /// Adds an index entry to page `page`, which must be in the directory; `false` if its index is full.
    /// One thread at a time.
    pub fn push_index(&self, page: u64, entry: &IndexEntry) -> bool {
        let slot_no = self.segment.slot_no(page);
        let slot = &self.segment.slots[slot_no];
        slot.page_id() == page && slot.push(self.segment.index_of(slot_no), entry)
    }

    /// Records that page `page` is complete, and where it ends.
    pub fn seal_page(&self, page: u64, end: PageEnd) {
        let slot = &self.segment.slots[self.segment.slot_no(page)];
        if slot.page_id() == page {
            slot.seal(end);
        }
    }

    /// Adds to a counter. Not atomic as a whole: one thread at a time per counter.
    #[inline]
    pub fn add(&self, counter: Counter, n: u64) {
        let word = &self.segment.counters.words[counter as usize];
        word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Sets a counter.
    pub fn set(&self, counter: Counter, value: u64) {
        self.segment.counters.words[counter as usize].store(value, Ordering::Relaxed);
    }

    /// Changes wake word `n` and returns it, for the FUTEX_WAKE that must follow. Any thread.
    ///
    /// A reader loads the word, then finds nothing to read, then sleeps on the value that it loaded. Any
    /// record that the reader missed was published before this change. So either the reader sees the change
    /// and does not sleep, or it is asleep before the wake.
    pub fn bump_wake(&self, n: u32) -> &'a AtomicU32 {
        let word = self.segment.wake_word(n);
        word.fetch_add(1, Ordering::Release); // SYNC(wake)
        word
    }
}
