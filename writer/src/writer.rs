//! [`Writer`]: the appending thread's own log.

mod entry;
mod pending_flush;
mod publish;
mod put;
mod recovery_heartbeat;
mod resizing;
mod start;
mod started;
#[cfg(test)]
mod tests;
mod zeros;

use crate::active::ActivePage;
pub use entry::Appended;
pub(crate) use entry::Entry;
pub(crate) use pending_flush::FlushOutcome;

use crate::core::Core;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::error::{AppendError, OpenError};
use crate::lock::WriterLock;
use crate::metafile::MetaFile;
use crate::options::WriterOptions;
use crate::page::Page;
use crate::preparer::{Preparer, SealJob};
use crate::recover::OpenReport;
use pending_flush::PendingFlush;
use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use waldo_shm_protocol::limits::{RECORD_HEADER_LEN, align_record};
use waldo_shm_protocol::page::{IndexEntry, RECORDS_UNKNOWN};
use waldo_shm_protocol::record::Stamp;
use waldo_shm_protocol::segment::{PageInfo, WriterState};
use waldo_shm_protocol::{Log, Position};

/// The one writer of a ring. Belongs to one thread at a time; every call does its work before it returns.
///
/// Dropping the writer closes the ring like [`Writer::close`], without reporting whether that succeeded.
pub struct Writer {
    pub(crate) core: Arc<Core>,
    engine: Engine<WriteProgress>,
    preparer: Preparer,
    active: ActivePage,
    /// Offset in the active page of the first byte in the buffer being filled.
    piece_start: u64,
    /// What readers must be told when the watermark passes a position.
    directory_updates: VecDeque<(Position, DirectoryUpdate)>,
    /// Pages written to since the last flush; only if appends are durable.
    unsynced: Vec<Arc<Page>>,
    /// Records and payload bytes put since the last piece was sent.
    unpublished: (u64, u64),
    /// What has been written, as far as readers have not been told.
    written: Option<WriteProgress>,
    pending_flush: Option<PendingFlush>,
    /// Records appended to the ring since it was made; [`RECORDS_UNKNOWN`] if that is not known.
    records: u64,
    tip: Option<u64>,
    /// What every record of an append carries.
    stamp: Stamp,
    /// The time that the caller gives the records of the append that is running.
    given_time_ns: Option<u64>,
    /// By how much the stamp's time was ahead of the clock at the last append.
    time_ahead_ns: u64,
    sync: bool,
    /// An append is putting records; still so when one begins if the one before panicked.
    putting: bool,
    record_size_max: u64,
    options: WriterOptions,
    meta: MetaFile,
    opened: OpenReport,
    threads: Vec<JoinHandle<()>>,
    closed: bool,
    home: PathBuf,
    // The last field, so that the lock is released last.
    _lock: WriterLock,
}

/// What is true once a piece has been written.
#[derive(Clone, Copy, Debug)]
struct WriteProgress {
    position: Position,
    tip: u64,
    records: u64,
    payload_bytes: u64,
}

enum DirectoryUpdate {
    Begin(PageInfo),
    Index(u64, IndexEntry),
    Sealed(SealJob),
}

impl Writer {
    /// Opens the ring in `home` for writing. Makes the directory and the ring if they are not there, recovers
    /// the ring if its last writer did not close it, and publishes the control segment.
    ///
    /// # Errors
    /// [`OpenError`]. If durable bytes are damaged, nothing has been changed.
    pub fn open(home: impl AsRef<Path>, options: WriterOptions) -> Result<Writer, OpenError> {
        start::open(home.as_ref(), options)
    }

    /// Opens the ring that `disk` holds; `disk` may be another implementation of files than the operating
    /// system's. The lock and a link to the control segment are still real files in `home`, which must exist.
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
    pub fn open_report(&self) -> &OpenReport {
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

    /// The ring's directory as the writer has opened it, wherever it is now; `None` on a disk without a
    /// directory.
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.core.disk.directory()
    }

    /// The options in force.
    pub fn options(&self) -> &WriterOptions {
        &self.options
    }

    /// Appends records that have their numbers. The `prev_seq_no` of the first record must be the tip (in an
    /// empty ring it may be any number); that of every other record must be the `seq_no` of the record before
    /// it. With [`Durability::Sync`](crate::Durability::Sync) the records are durable when this returns,
    /// otherwise committed.
    ///
    /// # Errors
    /// [`AppendError`]. If a record is refused, none was appended. After [`AppendError::NoPage`], the records
    /// before the end of the page were appended: see [`Writer::tip`].
    pub fn append(&mut self, logs: &[Log<'_>]) -> Result<Appended, AppendError> {
        let appended = self.stage(logs.iter().map(Entry::from))?;
        self.finish()?;
        Ok(appended)
    }

    /// [`Writer::append`] of records that also have a time, in nanoseconds since 1970: those of another ring,
    /// say. Times cannot decrease: if `time_ns` is before the time of the last record, the last record's time
    /// is used.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn append_at(&mut self, time_ns: u64, logs: &[Log<'_>]) -> Result<Appended, AppendError> {
        self.given_time_ns = Some(time_ns);
        let appended = self.append(logs);
        self.given_time_ns = None;
        appended
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

    /// Checks records and puts them into the buffers. They are part of the log once [`Writer::finish`] is
    /// done.
    pub(crate) fn stage<'a>(
        &mut self,
        entries: impl ExactSizeIterator<Item = Entry<'a>> + Clone,
    ) -> Result<Appended, AppendError> {
        self.check_whole()?;
        let mut expected = self.tip;
        let mut first = None;
        let records = entries.len();
        let mut bytes = 0;
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
            bytes += self.check_size(seq_no, entry.payload.len())?;
            check_hash(&entry)?;
            first.get_or_insert(seq_no);
            expected = Some(seq_no);
        }
        self.put_all(entries, bytes)?;
        let last_seq_no = self.tip.unwrap_or(0);
        Ok(Appended { first_seq_no: first.unwrap_or(last_seq_no), last_seq_no, records })
    }

    /// The same for payloads that the writer numbers.
    pub(crate) fn stage_payloads<'a>(
        &mut self,
        payloads: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> Result<Appended, AppendError> {
        self.check_whole()?;
        let tip = self.tip.unwrap_or(0);
        let records = payloads.len();
        if u64::MAX - tip < records as u64 {
            return Err(AppendError::Exhausted { tip });
        }
        let mut bytes = 0;
        // Not a range from the tip on, which would step beyond the largest number.
        let numbered = payloads.enumerate().map(|(n, payload)| (tip + n as u64, payload));
        for (prev_seq_no, payload) in numbered.clone() {
            bytes += self.check_size(prev_seq_no + 1, payload.len())?;
        }
        let entries = numbered.map(|(prev_seq_no, payload)| Entry::unnumbered(prev_seq_no, payload));
        self.put_all(entries, bytes)?;
        let first_seq_no = if records == 0 { tip } else { tip + 1 };
        Ok(Appended { first_seq_no, last_seq_no: tip + records as u64, records })
    }

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    /// [`AppendError::Failed`] if that was not possible; the writer has then stopped.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.check_whole()?;
        self.core.flush().map_err(|cause| AppendError::Failed { cause })?;
        Ok(())
    }

    /// Closes the ring: makes everything durable and tells readers. The next opening needs no recovery.
    ///
    /// # Errors
    /// [`AppendError::Failed`] if the last flush failed, or the writer had failed before.
    pub fn close(mut self) -> Result<(), AppendError> {
        self.shut_down()
    }

    fn position(&self, offset: u64) -> Position {
        // Page ids are checked when a page is taken; offsets are below the page's length.
        Position::new(self.active.page.id, offset).unwrap_or_default()
    }

    /// Whether the writer has stopped for good.
    #[inline]
    pub(crate) fn has_failed(&self) -> bool {
        self.core.poison.get().is_some()
    }

    /// Whether the next append can work: a background flush may have failed, or the lock been lost.
    ///
    /// # Errors
    /// [`AppendError::Failed`] if the writer has stopped for good.
    #[inline]
    pub fn check_usable(&self) -> Result<(), AppendError> {
        match self.core.poison.get() {
            Some(cause) => Err(AppendError::Failed { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Whether it works, and is not in the middle of an append that panicked: payloads are the caller's code.
    #[inline]
    fn check_whole(&mut self) -> Result<(), AppendError> {
        self.check_not_interrupted()?;
        self.check_usable()
    }

    /// Half of an append must not become part of the log with the next one.
    #[inline]
    fn check_not_interrupted(&mut self) -> Result<(), AppendError> {
        match std::mem::take(&mut self.putting) {
            true => Err(self.failed("appending", io::Error::other("a payload panicked while it was read"))),
            false => Ok(()),
        }
    }

    #[inline]
    fn check_size(&self, seq_no: u64, payload_len: usize) -> Result<u64, AppendError> {
        let size = align_record(payload_len.saturating_add(RECORD_HEADER_LEN)) as u64;
        if size > self.record_size_max {
            return Err(AppendError::TooLarge { seq_no, size, max: self.record_size_max });
        }
        Ok(size)
    }

    pub(crate) fn shut_down(&mut self) -> Result<(), AppendError> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let flushed = match self.check_not_interrupted().and_then(|()| self.end_pending_flush()) {
            Ok(()) => self.core.flush().map_err(|cause| AppendError::Failed { cause }),
            Err(error) => Err(error),
        };
        self.preparer.settle();
        self.core.waking.stop();
        self.core.unflushed.stop();
        self.preparer.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on stderr; closing continues.
            let _ = thread.join();
        }
        let end = flushed?;
        self.note_end(end).map_err(|error| self.failed("closing", error))?;
        self.core.control.publisher().set_state(WriterState::Closed);
        self.core.wake_all();
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

/// A wrong hash would make the record damaged from the start: no reader could read past it, and the ring
/// would not open.
#[inline]
fn check_hash(entry: &Entry<'_>) -> Result<(), AppendError> {
    let Some(stored) = entry.hash.filter(|_| entry.hash_is_claimed) else { return Ok(()) };
    let computed = waldo_shm_protocol::payload_hash(entry.payload);
    if stored == computed {
        return Ok(());
    }
    Err(AppendError::Damaged { seq_no: entry.seq_no, stored, computed })
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

    /// What is published, for tests of other modules.
    pub(crate) fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core)
    }

    /// A counter, for tests of other modules.
    pub(crate) fn core_counter(&self, counter: waldo_shm_protocol::segment::Counter) -> u64 {
        self.core.control.publisher().segment().counters().get(counter)
    }
}
