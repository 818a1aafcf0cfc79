//! Putting records into the active page: they are encoded into the buffer being filled, or their payloads are
//! written from the caller's memory.

use super::{DirectoryUpdate, Entry, Writer, sum_records};
use crate::active::ActivePage;
use crate::clock;
use crate::engine::Gather;
use crate::error::AppendError;
use crate::poison::Failure;
use crate::positions::page_reached;
use crate::preparer::SealJob;
use std::io;
use std::sync::Arc;
use waldo_shm_protocol::limits::{PAGE_ID_MAX, RECORD_ALIGN, RECORD_HEADER_LEN, align_record};
use waldo_shm_protocol::record::{Record, Seal, Stamp};
use waldo_shm_protocol::segment::Counter;
use waldo_shm_protocol::{PageSeed, payload_hash};
use zerocopy::IntoBytes;

/// Payloads of at least this many bytes are written from where they are. Shorter ones are copied, because the
/// kernel takes as long for one more part as the copy does (docs/PERFORMANCE.md has the figures).
const GATHER_MIN: usize = 1536;
/// An append of fewer bytes is copied as a whole, and shares one write and one flush with others.
const GATHER_BATCH_MIN: u64 = 64 << 10;
/// Longest write of gathered payloads, unless one payload is longer. Readers lag behind by as much.
const GATHER_BYTES: u64 = 512 << 10;
/// Most pages that may have been begun after the page that the log has reached: its settled end, or on the
/// first lap its committed end.
const AHEAD_MAX: u64 = 1;

impl Writer {
    /// Puts checked records of `bytes` bytes altogether into the active page and the pages after it.
    pub(super) fn put_all<'a>(
        &mut self,
        mut entries: impl Iterator<Item = Entry<'a>>,
        bytes: u64,
    ) -> Result<(), AppendError> {
        self.begin_append();
        self.putting = true;
        let gathers = bytes >= GATHER_BATCH_MIN && self.engine.gathers();
        let mut gather = Gather::new();
        let mut outcome = Ok(());
        while let Some(entry) = self.put_run(&mut entries, gathers) {
            outcome = if gathers && entry.payload.len() >= GATHER_MIN {
                self.put_borrowed(entry, &mut gather)
            } else {
                self.put_copied(entry, &mut gather)
            };
            if outcome.is_err() {
                break;
            }
        }
        self.putting = false;
        // The payloads are borrowed from the caller for this call only, so they have to be sent now.
        let sent = self.send_gathered(&mut gather);
        match outcome.and(sent) {
            Err(error) => Err(self.keep_prefix(error)),
            Ok(()) => Ok(()),
        }
    }

    fn begin_append(&mut self) {
        let now = self.given_time_ns.unwrap_or_else(clock::realtime_ns);
        let ahead_ns = self.stamp.time_ns.saturating_sub(now);
        if ahead_ns > 0 || self.time_ahead_ns > 0 {
            self.note_time_ahead(ahead_ns);
        }
        self.stamp.time_ns = self.stamp.time_ns.max(now);
        self.stamp.durable = self.core.durable();
        self.core.control.publisher().add(Counter::Appends, 1);
    }

    /// Reports how far the times of records are ahead of the clock after it was set back. A search by time
    /// needs times that never decrease, so new records get the time of the last one until the clock has
    /// caught up.
    #[cold]
    fn note_time_ahead(&mut self, ahead_ns: u64) {
        const WORTH_A_WORD_NS: u64 = 1_000_000_000;
        if ahead_ns > WORTH_A_WORD_NS && self.time_ahead_ns <= WORTH_A_WORD_NS {
            tracing::warn!(
                "{}: the newest record is {:?} ahead of the clock: until then all records bear that time, and a \
                 search by time finds too many",
                self.home.display(),
                std::time::Duration::from_nanos(ahead_ns)
            );
        }
        self.time_ahead_ns = ahead_ns;
        self.core.control.publisher().set(Counter::TimeAheadNs, ahead_ns);
    }

    /// Puts records as long as they need only room in the buffer being filled and in the page. Returns the
    /// first record that needs more; `None` at the end.
    #[inline]
    fn put_run<'a>(
        &mut self,
        entries: &mut impl Iterator<Item = Entry<'a>>,
        gathers: bool,
    ) -> Option<Entry<'a>> {
        let room = self.active.room(&self.options);
        let (seed, start, stamp) = (self.active.page.seed, self.active.offset, self.stamp);
        let space = self.engine.rest();
        let bytes_max = room.bytes.min(space.len());
        let (mut at, mut records, mut payload_bytes) = (0, 0, 0);
        let mut last_seq_no = 0;
        let left = loop {
            let Some(entry) = entries.next() else { break None };
            let len = entry.payload.len();
            let size = align_record(RECORD_HEADER_LEN + len);
            let fits = at + size <= bytes_max && at < room.index_bytes && records < room.records;
            if !fits || (gathers && len >= GATHER_MIN) {
                break Some(entry);
            }
            let Some(place) = space.get_mut(at..at + size) else { break Some(entry) };
            let offset = (start + at as u64) as u32;
            encode(place, seed, offset, &entry, stamp);
            at += size;
            records += 1;
            payload_bytes += len as u64;
            last_seq_no = entry.seq_no;
        };
        if records > 0 {
            self.engine.advance(at);
            self.active.count_run(records, at, last_seq_no, stamp);
            self.tip = Some(last_seq_no);
            self.unpublished.0 += records as u64;
            self.unpublished.1 += payload_bytes;
        }
        left
    }

    /// Puts one record into the buffer. Sends the buffer whenever it is full, and turns the page when the
    /// record does not fit.
    fn put_copied<'a>(&mut self, entry: Entry<'a>, gather: &mut Gather<'a>) -> Result<(), AppendError> {
        let size = align_record(RECORD_HEADER_LEN + entry.payload.len());
        self.make_room(size, gather)?;
        let offset = self.active.offset as u32;
        let (seed, stamp) = (self.active.page.seed, self.stamp);
        match self.engine.space(size) {
            Some(space) => encode(space, seed, offset, &entry, stamp),
            // The record begins a buffer, or spans several.
            None => {
                self.send_gathered(gather)?;
                let (hash, len) = (entry.hash(), entry.payload.len());
                let header = Record::encode(seed, offset, entry.numbers(), len, hash, stamp);
                self.emit(header.as_bytes())?;
                self.emit(entry.payload)?;
                self.emit(&[0; RECORD_ALIGN][..size - RECORD_HEADER_LEN - len])?;
            }
        }
        self.count(&entry, size);
        Ok(())
    }

    /// Puts the header of a record into the buffer; the payload is written from where it is.
    fn put_borrowed<'a>(&mut self, entry: Entry<'a>, gather: &mut Gather<'a>) -> Result<(), AppendError> {
        let len = entry.payload.len();
        let size = align_record(RECORD_HEADER_LEN + len);
        let padding = size - RECORD_HEADER_LEN - len;
        self.make_room(size, gather)?;
        if gather.is_full() || gather.bytes() + size as u64 > GATHER_BYTES {
            self.send_gathered(gather)?;
        }
        let offset = self.active.offset as u32;
        let header =
            Record::encode(self.active.page.seed, offset, entry.numbers(), len, entry.hash(), self.stamp);
        if self.engine.rest().len() < RECORD_HEADER_LEN + RECORD_ALIGN {
            self.send_gathered(gather)?;
            self.send(false)?;
        }
        self.emit(header.as_bytes())?;
        gather.push(self.engine.filled(), entry.payload);
        self.emit(&[0; RECORD_ALIGN][..padding])?;
        self.count(&entry, size);
        Ok(())
    }

    fn make_room(&mut self, size: usize, gather: &mut Gather<'_>) -> Result<(), AppendError> {
        if size as u64 > self.record_size_max {
            // The payload was shorter when it was checked: `as_ref` is the caller's code, and may return
            // different bytes each time.
            let source =
                io::Error::new(io::ErrorKind::InvalidInput, "a payload has grown since it was checked");
            return Err(self.failed("appending", source));
        }
        if self.active.has_room(size, self.options.page_records_max) {
            return Ok(());
        }
        self.send_gathered(gather)?;
        self.turn_page()
    }

    /// Counts a record that was put outside a run.
    fn count(&mut self, entry: &Entry<'_>, size: usize) {
        let at = self.position(self.active.offset);
        let begins_page = self.active.summary.records == 0;
        let index_entry = self.active.count(entry.numbers(), self.stamp, size, &self.options);
        if begins_page {
            self.directory_updates.push_back((at, DirectoryUpdate::Begin(self.active.info())));
        }
        if let Some(index_entry) = index_entry {
            self.directory_updates.push_back((at, DirectoryUpdate::Index(self.active.page.id, index_entry)));
        }
        self.tip = Some(entry.seq_no);
        self.unpublished.0 += 1;
        self.unpublished.1 += entry.payload.len() as u64;
    }

    #[inline]
    fn emit(&mut self, mut bytes: &[u8]) -> Result<(), AppendError> {
        while !bytes.is_empty() {
            match self.engine.fill(bytes) {
                Ok(0) => self.send(false)?,
                Ok(n) => bytes = &bytes[n..],
                Err(error) => return Err(self.failed("writing records", error)),
            }
        }
        Ok(())
    }

    /// Writes what is in the buffer with the payloads that belong in between.
    fn send_gathered(&mut self, gather: &mut Gather<'_>) -> Result<(), AppendError> {
        if gather.bytes() == 0 {
            return Ok(());
        }
        let len = self.engine.filled() as u64 + gather.bytes();
        self.note_unsynced();
        self.reach(len);
        let progress = self.progress();
        self.engine
            .send_gathered(&self.active.page, self.piece_start, gather, progress)
            .map_err(|error| self.failed("writing records", error))?;
        self.piece_start += len;
        self.take_done(false)
    }

    /// Changes to the next page, which is ready or about to be. Nothing is written before that page exists.
    #[cold]
    fn turn_page(&mut self) -> Result<(), AppendError> {
        if self.active.page.id >= PAGE_ID_MAX {
            let cause = Failure::new("page ids are used up", io::ErrorKind::StorageFull.into());
            return Err(AppendError::NoPage { cause, tip: self.tip.unwrap_or(0) });
        }
        let (page, stalled) = loop {
            let pages_max = self.core.pages_max();
            self.keep_ring()?;
            let tip = self.tip.unwrap_or(0);
            let taken = self.preparer.take(pages_max).map_err(|cause| AppendError::NoPage { cause, tip })?;
            // The ring has become smaller: the records that displace its oldest pages have to be durable now.
            if let Some(taken) = taken {
                break taken;
            }
        };
        let publisher = *self.core.control.publisher();
        publisher.add(Counter::Rotations, 1);
        publisher.add(Counter::RotationStalls, u64::from(stalled));
        let summary = self.active.summary;
        let seal = Seal::encode(self.active.page.seed, summary.end(), self.stamp);
        self.emit(seal.as_bytes())?;
        // Nothing follows the seal, so no zeros are needed ahead of the log there.
        self.active.page.set_unwritten(u64::MAX);
        self.send(false)?;
        if !self.sync {
            self.core.unflushed.add(Arc::clone(&page));
        }
        let records_before = sum_records(summary.records_before, summary.records);
        let next = ActivePage::empty(page, records_before, self.stamp.epoch);
        let end = self.position(self.active.offset);
        self.piece_start = next.offset;
        let full = std::mem::replace(&mut self.active, next);
        let job = SealJob { page: full.page, summary: full.summary, index: full.index };
        self.directory_updates.push_back((end, DirectoryUpdate::Sealed(job)));
        Ok(())
    }
}

impl Writer {
    /// Whether a page has to be trimmed before the next one is begun, or the ring would have too many.
    pub(super) fn is_full(&self) -> bool {
        self.active.page.id - self.core.oldest_page() + 1 > self.core.pages_max() as u64
    }

    /// Called before a page is begun. If more than [`AHEAD_MAX`] pages would have no settled record,
    /// publishes the log, and makes it durable if pages are trimmed by the durable position. The oldest pages
    /// stay until then, so without this limit the files would take the more room, the longer the append or
    /// the slower the disk. On the first lap no page has to be trimmed.
    fn keep_ring(&mut self) -> Result<(), AppendError> {
        let crowded = |writer: &Writer| {
            let reached = match writer.is_full() {
                true => page_reached(writer.core.settled()),
                false => writer.core.committed().page(),
            };
            writer.active.page.id >= reached + AHEAD_MAX
        };
        if crowded(self) {
            self.end_pending_flush()?;
        }
        if crowded(self) {
            self.finish()?;
        }
        if crowded(self) {
            self.core.control.publisher().add(Counter::DiskWaits, 1);
            self.core.flush().map_err(|cause| AppendError::Failed { cause })?;
        }
        Ok(())
    }
}

/// Puts a record into `space`, which is as long as the record with its padding.
#[inline(always)]
fn encode(space: &mut [u8], seed: PageSeed, offset: u32, entry: &Entry<'_>, stamp: Stamp) {
    let (len, size) = (entry.payload.len(), space.len());
    // The padding lies within the last eight bytes. The payload copy below overwrites any part that belongs
    // to it.
    space[size - RECORD_ALIGN..].fill(0);
    let copy = &mut space[RECORD_HEADER_LEN..RECORD_HEADER_LEN + len];
    copy.copy_from_slice(entry.payload);
    // Hash the copy: it is aligned and in the first-level cache.
    let hash = entry.hash.unwrap_or_else(|| payload_hash(copy));
    Record::encode(seed, offset, entry.numbers(), len, hash, stamp).store(space);
}
