//! [`Writer`]: the appending thread's own log.

mod start;
#[cfg(test)]
mod tests;

use crate::active::ActivePage;
use crate::clock;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::{AppendError, OpenError};
use crate::lock::WriterLock;
use crate::metafile::MetaFile;
use crate::options::WriterOptions;
use crate::page::Page;
use crate::poison::Failure;
use crate::preparer::{Preparer, SealJob};
use crate::recover::OpenReport;
use crate::shared_state::Core;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use waldo_shm_protocol::limits::{PAGE_ID_MAX, RECORD_ALIGN, RECORD_HEADER_LEN, align_record};
use waldo_shm_protocol::page::{IndexEntry, RECORDS_UNKNOWN};
use waldo_shm_protocol::record::{Record, Seal, Stamp};
use waldo_shm_protocol::segment::{Counter, PageInfo, WriterState};
use waldo_shm_protocol::{Log, Position};
use zerocopy::IntoBytes;

/// The one writer of a ring. Belongs to one thread at a time; every call does its work before it returns.
///
/// Dropping it closes the ring like [`Writer::close`], without telling whether that went well.
pub struct Writer {
    core: Arc<Core>,
    engine: Engine<Mark>,
    preparer: Preparer,
    active: ActivePage,
    /// Offset in the active page of the first byte in the buffer being filled.
    piece_start: u64,
    /// What readers must be told when the watermark passes a position.
    pending: VecDeque<(Position, Event)>,
    /// Pages written to since the last flush; only if appends are durable.
    unsynced: Vec<Arc<Page>>,
    /// Records and payload bytes put since the last piece was sent.
    unpublished: (u64, u64),
    /// What has been written, as far as readers have not been told.
    written: Option<Mark>,
    /// Records appended to the ring since it was made; [`RECORDS_UNKNOWN`] if that is not known.
    records: u64,
    tip: Option<u64>,
    last_time_ns: u64,
    epoch: u32,
    sync: bool,
    record_size_max: u64,
    options: WriterOptions,
    meta: MetaFile,
    opened: OpenReport,
    threads: Vec<JoinHandle<()>>,
    closed: bool,
    home: PathBuf,
    // Last, so that the lock goes last.
    _lock: WriterLock,
}

/// What is true once a piece has been written.
#[derive(Clone, Copy, Debug)]
struct Mark {
    position: Position,
    tip: u64,
    records: u64,
    payload_bytes: u64,
}

enum Event {
    Begin(PageInfo),
    Index(u64, IndexEntry),
    Sealed(SealJob),
}

/// A record to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) seq_no: u64,
    pub(crate) prev_seq_no: u64,
    pub(crate) payload: &'a [u8],
    pub(crate) hash: u32,
}

impl<'a> From<&'a Log<'_>> for Entry<'a> {
    fn from(log: &'a Log<'_>) -> Entry<'a> {
        Entry {
            seq_no: log.seq_no(),
            prev_seq_no: log.prev_seq_no(),
            payload: log.data(),
            hash: log.data_hash(),
        }
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Sequence number of the first record; of an empty append, the tip or 0.
    pub first_seq_no: u64,
    /// Sequence number of the last record; of an empty append, the tip or 0.
    pub last_seq_no: u64,
    /// How many records.
    pub records: usize,
}

impl Writer {
    /// Opens the ring in `home` for writing. Makes the directory and the ring if they are not there, recovers the
    /// ring if its last writer did not close it, and publishes the control segment.
    ///
    /// # Errors
    /// [`OpenError`]. If something that had been durable is damaged, nothing has been changed.
    pub fn open(home: impl AsRef<Path>, options: WriterOptions) -> Result<Writer, OpenError> {
        start::open(home.as_ref(), options)
    }

    /// Opens the ring that `disk` holds: another implementation of the files than the operating system's. The lock
    /// and a link to the control segment are still real files in `home`, which must exist.
    ///
    /// # Errors
    /// As [`Writer::open`].
    pub fn open_on(
        home: impl AsRef<Path>,
        disk: Arc<dyn Disk>,
        options: WriterOptions,
    ) -> Result<Writer, OpenError> {
        start::open_on(home.as_ref(), disk, options)
    }

    /// The last record's sequence number; `None` if there is none.
    pub fn tip(&self) -> Option<u64> {
        self.tip
    }

    /// What was found when the ring was opened.
    pub fn opened(&self) -> &OpenReport {
        &self.opened
    }

    /// Everything before this is committed.
    pub fn committed(&self) -> Position {
        self.core.committed()
    }

    /// The ring's directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The options in force.
    pub fn options(&self) -> &WriterOptions {
        &self.options
    }

    /// Appends records that have their numbers. The first one's `prev_seq_no` must be the tip (in an empty ring it
    /// may be anything), every other's the `seq_no` before it. With [`Durability::Sync`](crate::Durability::Sync) the records are durable
    /// when this returns, otherwise committed.
    ///
    /// # Errors
    /// [`AppendError`]. If a record does not fit, none was appended; after [`AppendError::NoPage`] those before
    /// the end of the page were, see [`Writer::tip`].
    pub fn append(&mut self, logs: &[Log<'_>]) -> Result<Appended, AppendError> {
        let appended = self.stage(logs.iter().map(Entry::from))?;
        self.finish()?;
        Ok(appended)
    }

    /// Appends payloads under the next free numbers: tip + 1 and so on, from 1 in an empty ring.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn append_payloads<P: AsRef<[u8]>>(&mut self, payloads: &[P]) -> Result<Appended, AppendError> {
        let appended = self.stage_payloads(payloads.iter().map(|payload| payload.as_ref()))?;
        self.finish()?;
        Ok(appended)
    }

    /// Checks records and puts them into the buffers: they are part of the log once [`Writer::finish`] is done.
    pub(crate) fn stage<'a>(
        &mut self,
        entries: impl ExactSizeIterator<Item = Entry<'a>> + Clone,
    ) -> Result<Appended, AppendError> {
        self.check_usable()?;
        let mut expected = self.tip;
        let mut first = None;
        let records = entries.len();
        for entry in entries.clone() {
            let Entry { seq_no, prev_seq_no, .. } = entry;
            if let Some(expected) = expected
                && prev_seq_no != expected
            {
                return Err(AppendError::Sequence { seq_no, prev_seq_no, expected });
            }
            if seq_no <= prev_seq_no {
                return Err(AppendError::NotIncreasing { seq_no, prev_seq_no });
            }
            self.check_size(seq_no, entry.payload.len())?;
            first.get_or_insert(seq_no);
            expected = Some(seq_no);
        }
        self.begin_append();
        for entry in entries {
            if let Err(error) = self.put((entry.seq_no, entry.prev_seq_no), entry.payload, entry.hash) {
                return Err(self.keep_prefix(error));
            }
        }
        let last_seq_no = self.tip.unwrap_or(0);
        Ok(Appended { first_seq_no: first.unwrap_or(last_seq_no), last_seq_no, records })
    }

    /// The same for payloads that the writer numbers.
    pub(crate) fn stage_payloads<'a>(
        &mut self,
        payloads: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> Result<Appended, AppendError> {
        self.check_usable()?;
        let tip = self.tip.unwrap_or(0);
        let records = payloads.len();
        if u64::MAX - tip < records as u64 {
            return Err(AppendError::Exhausted { tip });
        }
        for (seq_no, payload) in (tip + 1..).zip(payloads.clone()) {
            self.check_size(seq_no, payload.len())?;
        }
        self.begin_append();
        let mut prev = tip;
        for payload in payloads {
            if let Err(error) = self.put((prev + 1, prev), payload, waldo_shm_protocol::payload_hash(payload))
            {
                return Err(self.keep_prefix(error));
            }
            prev += 1;
        }
        let first_seq_no = if records == 0 { tip } else { tip + 1 };
        Ok(Appended { first_seq_no, last_seq_no: prev, records })
    }

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    /// [`AppendError::Failed`] if that could not be done; the writer has stopped then.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.check_usable()?;
        self.core.flush().map_err(|cause| AppendError::Failed { cause })?;
        Ok(())
    }

    /// Closes the ring: everything is durable, readers are told, the next opening needs no recovery.
    ///
    /// # Errors
    /// [`AppendError::Failed`] if the last flush failed, or the writer had failed before.
    pub fn close(mut self) -> Result<(), AppendError> {
        self.shut_down()
    }

    #[inline]
    fn check_usable(&self) -> Result<(), AppendError> {
        match self.core.poison.get() {
            Some(cause) => Err(AppendError::Failed { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    #[inline]
    fn check_size(&self, seq_no: u64, payload_len: usize) -> Result<(), AppendError> {
        let size = align_record(payload_len.saturating_add(RECORD_HEADER_LEN)) as u64;
        if size > self.record_size_max {
            return Err(AppendError::TooLarge { seq_no, size, max: self.record_size_max });
        }
        Ok(())
    }

    fn begin_append(&mut self) {
        self.last_time_ns = clock::realtime_ns().max(self.last_time_ns);
        self.core.control.publisher().add(Counter::Appends, 1);
    }

    fn stamp(&self) -> Stamp {
        Stamp { time_ns: self.last_time_ns, durable: self.core.durable(), epoch: self.epoch }
    }

    /// Puts one record into the buffer, turning the page and sending pieces as it fills up.
    #[inline]
    fn put(&mut self, seq: (u64, u64), payload: &[u8], hash: u32) -> Result<(), AppendError> {
        let size = align_record(RECORD_HEADER_LEN + payload.len());
        if !self.active.has_room(size, self.options.page_records_max) {
            self.turn_page()?;
        }
        let offset = self.active.offset;
        let header =
            Record::encode(self.active.page.seed, offset as u32, seq, payload.len(), hash, self.stamp());
        let end = RECORD_HEADER_LEN + payload.len();
        match self.engine.space(size) {
            Some(space) => {
                space[..RECORD_HEADER_LEN].copy_from_slice(header.as_bytes());
                space[RECORD_HEADER_LEN..end].copy_from_slice(payload);
                space[end..].fill(0);
            }
            // It begins a buffer, or goes across several.
            None => {
                self.emit(header.as_bytes())?;
                self.emit(payload)?;
                self.emit(&[0; RECORD_ALIGN][..size - end])?;
            }
        }
        let begins_page = self.active.summary.records == 0;
        let entry = self.active.count(seq, self.last_time_ns, size, &self.options);
        // A page taken over from the writer before carries that one's.
        self.active.summary.epoch = self.epoch;
        let at = self.position(offset);
        if begins_page {
            self.pending.push_back((at, Event::Begin(self.active.info())));
        }
        if let Some(entry) = entry {
            self.pending.push_back((at, Event::Index(self.active.page.id, entry)));
        }
        self.tip = Some(seq.0);
        self.unpublished.0 += 1;
        self.unpublished.1 += payload.len() as u64;
        Ok(())
    }

    fn position(&self, offset: u64) -> Position {
        // Page ids are checked when a page is taken, offsets lie below the page's length.
        Position::new(self.active.page.id, offset).unwrap_or_default()
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

    /// Sends the buffer being filled, and tells readers of what has been written meanwhile.
    fn send(&mut self, last: bool) -> Result<(), AppendError> {
        let len = self.engine.filled() as u64;
        if len > 0 {
            if self.sync && self.unsynced.last().is_none_or(|page| page.id != self.active.page.id) {
                self.unsynced.push(Arc::clone(&self.active.page));
            }
            let mark = self.mark();
            self.engine
                .send(&self.active.page, self.piece_start, last, mark)
                .map_err(|error| self.failed("writing records", error))?;
            self.piece_start += len;
        }
        self.take_done(false)
    }

    fn mark(&mut self) -> Mark {
        let (records, payload_bytes) = std::mem::take(&mut self.unpublished);
        Mark {
            position: self.position(self.active.offset),
            tip: self.tip.unwrap_or(0),
            records,
            payload_bytes,
        }
    }

    fn take_done(&mut self, wait: bool) -> Result<(), AppendError> {
        loop {
            match self.engine.next_done(wait) {
                Ok(Some(mark)) => {
                    self.add_written(mark);
                    if !self.sync {
                        self.publish();
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.failed("writing records", error)),
            }
        }
    }

    fn add_written(&mut self, mark: Mark) {
        let sum = self.written.map_or((0, 0), |written| (written.records, written.payload_bytes));
        self.written =
            Some(Mark { records: sum.0 + mark.records, payload_bytes: sum.1 + mark.payload_bytes, ..mark });
    }

    /// Moves the watermark over everything that is written.
    #[inline]
    fn publish(&mut self) {
        let Some(mark) = self.written.take() else { return };
        let publisher = *self.core.control.publisher();
        let before = publisher.segment().committed();
        while self.pending.front().is_some_and(|(at, _)| *at < mark.position) {
            match self.pending.pop_front() {
                Some((_, Event::Begin(info))) => publisher.enter_page(&info),
                Some((_, Event::Index(page, entry))) => {
                    publisher.push_index(page, &entry);
                }
                Some((_, Event::Sealed(job))) => {
                    let summary = &job.summary;
                    publisher.seal_page(
                        job.page.id,
                        summary.records_end,
                        summary.last_seq_no,
                        summary.records,
                    );
                    self.preparer.seal(job);
                }
                None => break,
            }
        }
        self.records = sum_records(self.records, mark.records);
        publisher.commit(mark.position, mark.tip, self.records);
        if self.sync {
            publisher.set_durable(mark.position);
        }
        publisher.add(Counter::Records, mark.records);
        publisher.add(Counter::PayloadBytes, mark.payload_bytes);
        if before.page() == mark.position.page() {
            publisher.add(Counter::WrittenBytes, u64::from(mark.position.offset() - before.offset()));
        } else {
            publisher.add(Counter::WrittenBytes, u64::from(mark.position.offset()));
        }
        self.core.ring_bell();
    }

    /// Goes on with the next page, which is ready or about to be. Nothing is written before there is one.
    #[cold]
    fn turn_page(&mut self) -> Result<(), AppendError> {
        if self.active.page.id >= PAGE_ID_MAX {
            let cause = Failure::new("page ids are used up", io::ErrorKind::StorageFull.into());
            return Err(AppendError::NoPage { cause, tip: self.tip.unwrap_or(0) });
        }
        let tip = self.tip.unwrap_or(0);
        let (page, stalled) = self.preparer.take().map_err(|cause| AppendError::NoPage { cause, tip })?;
        let publisher = *self.core.control.publisher();
        publisher.add(Counter::Rotations, 1);
        publisher.add(Counter::RotationStalls, u64::from(stalled));
        let summary = self.active.summary;
        let seal = Seal::encode(
            self.active.page.seed,
            self.active.offset as u32,
            summary.last_seq_no,
            summary.records,
            self.stamp(),
        );
        self.emit(seal.as_bytes())?;
        self.send(false)?;
        if !self.sync {
            self.core.dirty.add(Arc::clone(&page));
        }
        let records_before = sum_records(summary.records_before, summary.records);
        let next = ActivePage::empty(page, records_before, self.epoch);
        let end = self.position(self.active.offset);
        self.piece_start = next.offset;
        let full = std::mem::replace(&mut self.active, next);
        let job = SealJob { page: full.page, summary: full.summary, index: full.index };
        self.pending.push_back((end, Event::Sealed(job)));
        Ok(())
    }

    /// Sees everything through to the watermark: what is in the buffer is written, made durable if that is asked
    /// for, and published.
    pub(crate) fn finish(&mut self) -> Result<(), AppendError> {
        let alone = self.unsynced.is_empty() && self.engine.durable_in_place();
        if self.sync && alone && self.engine.filled() > 0 {
            let mark = self.mark();
            let len = self.engine.filled() as u64;
            self.engine
                .write_durable(&self.active.page, self.piece_start)
                .map_err(|error| self.failed("writing records durably", error))?;
            self.piece_start += len;
            self.core.control.publisher().add(Counter::Flushes, 1);
            self.add_written(mark);
            self.publish();
            return Ok(());
        }
        self.send(true)?;
        self.take_done(true)?;
        for page in std::mem::take(&mut self.unsynced) {
            self.engine.sync(&page).map_err(|error| self.failed("flushing records", error))?;
            self.core.control.publisher().add(Counter::Flushes, 1);
        }
        self.publish();
        Ok(())
    }

    /// After a failed put: what was put before it is part of the log, if the writer still works.
    #[cold]
    fn keep_prefix(&mut self, error: AppendError) -> AppendError {
        match error {
            AppendError::NoPage { .. } => self.finish().err().unwrap_or(error),
            other => other,
        }
    }

    fn failed(&mut self, action: &str, source: io::Error) -> AppendError {
        self.engine.abandon();
        self.pending.clear();
        AppendError::Failed { cause: self.core.fail(action, source) }
    }

    pub(crate) fn shut_down(&mut self) -> Result<(), AppendError> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let flushed = self.core.flush();
        self.preparer.settle();
        self.core.bell.stop();
        self.core.dirty.stop();
        self.preparer.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on stderr; closing goes on.
            let _ = thread.join();
        }
        let end = flushed.map_err(|cause| AppendError::Failed { cause })?;
        self.note_end(end).map_err(|error| self.failed("closing", error))?;
        self.core.control.publisher().set_state(WriterState::Closed);
        self.core.control.wake_all();
        if self.options.remove_control {
            self.core.control.remove(&*self.core.disk);
        }
        Ok(())
    }

    /// Writes down where the log ends, so that the next opening need not look.
    fn note_end(&mut self, end: Position) -> io::Result<()> {
        if self.active.summary.records > 0 {
            self.active.page.write_footer(&self.active.summary, &self.active.index)?;
            self.active.page.file.sync_data()?;
        }
        self.core.disk.sync_dir()?;
        self.meta.update(|meta| {
            meta.durable = end;
            meta.clean_end = end;
        })
    }
}

/// A count of records and some more; what is not known stays so.
fn sum_records(before: u64, more: u64) -> u64 {
    if before == RECORDS_UNKNOWN { RECORDS_UNKNOWN } else { before + more }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            tracing::error!("{}: not closed cleanly: {error}", self.home.display());
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("home", &self.home).field("tip", &self.tip).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Writer {
    /// Waits until complete pages have their footers.
    pub(crate) fn settle(&self) {
        self.preparer.settle();
    }

    /// A counter, for tests of other modules.
    pub(crate) fn core_counter(&self, counter: Counter) -> u64 {
        self.core.control.publisher().segment().counters().get(counter)
    }
}
