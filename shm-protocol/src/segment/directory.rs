//! The page directory and the sparse index: where in the ring a record is.
//!
//! Slot `page id % number of slots` describes a page. The slot is reused after a lap of the ring; its version
//! is odd while the slot changes. The same version guards the index slots of that page; while the version
//! stays the same, entries are only added at the end.
//!
//! ```text
//! writer: version = odd (relaxed); fence(release); fields ... (relaxed); version = even (release)
//! reader: v1 = version (acquire); fields ... (relaxed); fence(acquire); v2 = version (relaxed);
//!         v1 == v2, and even
//! ```

use crate::page::IndexEntry;
use crate::record::PageEnd;
use crate::sync::{AtomicU64, Ordering, fence, load_acquire};

/// One page of the ring.
#[repr(C)]
#[derive(Debug)]
pub struct PageSlot {
    /// Odd while the slot changes.
    version: AtomicU64,
    /// Id of the page; 0 in a slot that was never used.
    page_id: AtomicU64,
    /// Sequence number of its first record.
    first_seq_no: AtomicU64,
    /// Predecessor that its first record names.
    prev_seq_no: AtomicU64,
    /// Append time of its first record.
    first_time_ns: AtomicU64,
    /// Records appended to the ring before this page; `u64::MAX` if not known.
    records_before: AtomicU64,
    /// Length of the page file in bytes.
    page_len: AtomicU64,
    /// Index entries so far.
    index_len: AtomicU64,
    /// Where its seal starts; 0 while the page is being written.
    records_end: AtomicU64,
    /// Sequence number of its last record; 0 while the page is being written.
    last_seq_no: AtomicU64,
    /// Records in it; 0 while the page is being written.
    records: AtomicU64,
    /// Zero.
    reserved: [AtomicU64; 5],
}

/// One index entry.
#[repr(C)]
#[derive(Debug)]
pub struct IndexSlot {
    /// Sequence number of the record.
    seq_no: AtomicU64,
    /// Its append time in nanoseconds since 1970.
    time_ns: AtomicU64,
    /// Where it starts in the page, in bytes.
    offset: AtomicU64,
}

#[cfg(not(loom))]
crate::layout::describe! {
    PageSlot, "Page slot", 128, {
        version: 0, page_id: 8, first_seq_no: 16, prev_seq_no: 24, first_time_ns: 32, records_before: 40,
        page_len: 48, index_len: 56, records_end: 64, last_seq_no: 72, records: 80, reserved: 88,
    }
}
#[cfg(not(loom))]
crate::layout::describe! {
    IndexSlot, "Index slot", 24, { seq_no: 0, time_ns: 8, offset: 16, }
}

/// What the directory says about a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageInfo {
    /// Its id.
    pub page_id: u64,
    /// Sequence number of its first record.
    pub first_seq_no: u64,
    /// Predecessor that its first record names.
    pub prev_seq_no: u64,
    /// Append time of its first record.
    pub first_time_ns: u64,
    /// Records appended to the ring before this page; [`crate::page::RECORDS_UNKNOWN`] if not known.
    pub records_before: u64,
    /// Length of the page file in bytes.
    pub page_len: u64,
    /// Index entries.
    pub index_len: u64,
    /// Where its seal starts; 0 while the page is being written.
    pub records_end: u64,
    /// Sequence number of its last record; 0 while the page is being written.
    pub last_seq_no: u64,
    /// Records in it; 0 while the page is being written.
    pub records: u64,
}

/// What to look for in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKey {
    /// The last entry whose sequence number is not above this.
    SeqNo(u64),
    /// The last entry whose append time is before this.
    TimeBefore(u64),
}

impl IndexKey {
    fn admits(self, slot: &IndexSlot) -> bool {
        match self {
            IndexKey::SeqNo(seq_no) => slot.seq_no.load(Ordering::Relaxed) <= seq_no,
            IndexKey::TimeBefore(time_ns) => slot.time_ns.load(Ordering::Relaxed) < time_ns,
        }
    }

    /// How far the key lies between two entries: 0 at the first, 1 at the last; anything if they are not in
    /// order.
    fn fraction(self, first: &IndexSlot, last: &IndexSlot) -> f64 {
        let (word, key): (fn(&IndexSlot) -> &AtomicU64, u64) = match self {
            IndexKey::SeqNo(seq_no) => (|slot| &slot.seq_no, seq_no),
            IndexKey::TimeBefore(time_ns) => (|slot| &slot.time_ns, time_ns),
        };
        let first = word(first).load(Ordering::Relaxed);
        let last = word(last).load(Ordering::Relaxed);
        key.wrapping_sub(first) as f64 / last.wrapping_sub(first) as f64
    }
}

/// How many of `entries` the key admits: as `partition_point`, but it starts where the key would be if the
/// entries were evenly spread, as they mostly are, so that it touches a few cache lines instead of one per
/// halving.
fn admitted(entries: &[IndexSlot], key: IndexKey) -> usize {
    let [first, .., last] = entries else { return entries.partition_point(|slot| key.admits(slot)) };
    if !key.admits(first) {
        return 0;
    }
    if key.admits(last) {
        return entries.len();
    }
    // Everything up to `low` is admitted, nothing from `high` on.
    let (mut low, mut high) = (0, entries.len() - 1);
    let guess = ((key.fraction(first, last) * high as f64) as usize).min(high - 1);
    let mut step = 1;
    if guess > low && !key.admits(&entries[guess]) {
        high = guess;
        while high - low > step && !key.admits(&entries[high - step]) {
            high -= step;
            step *= 4;
        }
        low = high.saturating_sub(step).max(low);
    } else {
        low = guess;
        while high - low > step && key.admits(&entries[low + step]) {
            low += step;
            step *= 4;
        }
        high = high.min(low + step);
    }
    low + 1 + entries[low + 1..high].partition_point(|slot| key.admits(slot))
}

/// The versions of a slot while it changes and afterwards. It is odd `before` if a writer was killed in the
/// middle of a change: readers must not see what that one has left, so it stays odd.
fn versions(before: u64) -> (u64, u64) {
    let changing = before | 1;
    (changing, changing + 1)
}

impl PageSlot {
    /// Runs `look` and gives its answer if the slot did not change meanwhile.
    fn stable<T>(&self, look: impl FnOnce() -> Option<T>) -> Option<T> {
        let before = load_acquire(&self.version); // SYNC(slot)
        if before % 2 == 1 {
            return None;
        }
        let answer = look()?;
        fence(Ordering::Acquire); // SYNC(slot-change)
        (self.version.load(Ordering::Relaxed) == before).then_some(answer)
    }

    /// The slot's content; `None` while it changes.
    pub(super) fn read(&self) -> Option<PageInfo> {
        let mut info = self.stable(|| {
            Some(PageInfo {
                index_len: load_acquire(&self.index_len), // SYNC(index-entry)
                page_id: self.page_id.load(Ordering::Relaxed),
                first_seq_no: self.first_seq_no.load(Ordering::Relaxed),
                prev_seq_no: self.prev_seq_no.load(Ordering::Relaxed),
                first_time_ns: self.first_time_ns.load(Ordering::Relaxed),
                records_before: self.records_before.load(Ordering::Relaxed),
                page_len: self.page_len.load(Ordering::Relaxed),
                records_end: load_acquire(&self.records_end), // SYNC(page-sealed)
                last_seq_no: self.last_seq_no.load(Ordering::Relaxed),
                records: self.records.load(Ordering::Relaxed),
            })
        })?;
        if info.records_end == 0 {
            // A seal may be half stored: its last word counts.
            (info.last_seq_no, info.records) = (0, 0);
        }
        Some(info)
    }

    /// Number and time of the first record of page `page`, if this slot is of it.
    #[inline]
    pub(super) fn begin(&self, page: u64) -> Option<(u64, u64)> {
        self.stable(|| {
            if self.page_id.load(Ordering::Relaxed) != page {
                return None;
            }
            Some((self.first_seq_no.load(Ordering::Relaxed), self.first_time_ns.load(Ordering::Relaxed)))
        })
    }

    /// The last entry of `entries`, this slot's part of the index, that `key` admits, if this slot is page
    /// `page`.
    pub(super) fn floor(&self, page: u64, entries: &[IndexSlot], key: IndexKey) -> Option<IndexEntry> {
        self.stable(|| {
            let len = load_acquire(&self.index_len).min(entries.len() as u64) as usize; // SYNC(index-entry)
            if self.page_id.load(Ordering::Relaxed) != page {
                return None;
            }
            let after = admitted(&entries[..len], key);
            let found = entries[..len].get(after.checked_sub(1)?)?;
            Some(IndexEntry {
                seq_no: found.seq_no.load(Ordering::Relaxed),
                time_ns: found.time_ns.load(Ordering::Relaxed),
                offset: found.offset.load(Ordering::Relaxed),
            })
        })
    }

    /// Gives the slot to another page. A reader sees either the old content, or none, or the new.
    pub(super) fn replace(&self, info: &PageInfo) {
        let changed = self.begin_change();
        self.page_id.store(info.page_id, Ordering::Relaxed);
        self.first_seq_no.store(info.first_seq_no, Ordering::Relaxed);
        self.prev_seq_no.store(info.prev_seq_no, Ordering::Relaxed);
        self.first_time_ns.store(info.first_time_ns, Ordering::Relaxed);
        self.records_before.store(info.records_before, Ordering::Relaxed);
        self.page_len.store(info.page_len, Ordering::Relaxed);
        self.index_len.store(0, Ordering::Relaxed);
        self.records_end.store(info.records_end, Ordering::Relaxed);
        self.last_seq_no.store(info.last_seq_no, Ordering::Relaxed);
        self.records.store(info.records, Ordering::Relaxed);
        self.version.store(changed, Ordering::Release); // SYNC(slot)
    }

    /// Hides the slot from readers. Returns the version that shows it again.
    fn begin_change(&self) -> u64 {
        let (changing, changed) = versions(self.version.load(Ordering::Relaxed));
        self.version.store(changing, Ordering::Relaxed);
        fence(Ordering::Release); // SYNC(slot-change)
        changed
    }

    /// Adds an entry at the end of `entries`; `false` if it is full.
    pub(super) fn push(&self, entries: &[IndexSlot], entry: &IndexEntry) -> bool {
        let len = self.index_len.load(Ordering::Relaxed);
        let Some(slot) = entries.get(len as usize) else { return false };
        slot.seq_no.store(entry.seq_no, Ordering::Relaxed);
        slot.time_ns.store(entry.time_ns, Ordering::Relaxed);
        slot.offset.store(entry.offset, Ordering::Relaxed);
        self.index_len.store(len + 1, Ordering::Release); // SYNC(index-entry)
        true
    }

    /// Says that the page is complete.
    pub(super) fn seal(&self, end: PageEnd) {
        self.last_seq_no.store(end.last_seq_no, Ordering::Relaxed);
        self.records.store(end.records, Ordering::Relaxed);
        self.records_end.store(end.offset, Ordering::Release); // SYNC(page-sealed)
    }

    pub(super) fn page_id(&self) -> u64 {
        self.page_id.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, loom))]
impl PageSlot {
    /// What a writer leaves that is killed in the middle of [`PageSlot::replace`].
    pub(super) fn replace_in_part(&self, info: &PageInfo) {
        self.begin_change();
        self.page_id.store(info.page_id, Ordering::Relaxed);
        self.first_seq_no.store(info.first_seq_no, Ordering::Relaxed);
    }

    pub(super) fn blank() -> PageSlot {
        PageSlot {
            version: AtomicU64::new(0),
            page_id: AtomicU64::new(0),
            first_seq_no: AtomicU64::new(0),
            prev_seq_no: AtomicU64::new(0),
            first_time_ns: AtomicU64::new(0),
            records_before: AtomicU64::new(0),
            page_len: AtomicU64::new(0),
            index_len: AtomicU64::new(0),
            records_end: AtomicU64::new(0),
            last_seq_no: AtomicU64::new(0),
            records: AtomicU64::new(0),
            reserved: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

#[cfg(all(test, loom))]
impl IndexSlot {
    pub(super) fn blank() -> IndexSlot {
        IndexSlot { seq_no: AtomicU64::new(0), time_ns: AtomicU64::new(0), offset: AtomicU64::new(0) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_hidden_while_it_changes_whatever_the_last_writer_left() {
        for before in [0, 1, 2, 3, 6, 7, 1 << 40, (1 << 40) + 1] {
            let (changing, changed) = versions(before);
            assert!(changing % 2 == 1 && changing >= before, "{before}: {changing}");
            assert!(changed % 2 == 0 && changed > changing, "{before}: {changed}");
        }
    }
}
