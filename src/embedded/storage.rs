//! [`Waldo`]: a ring opened for appending and querying in one process.

use super::{AppendError, Cursor, Error, Options, QueryError, QueryLogs};
use futures_core::Stream;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use waldo_reader::{AttachOptions, Batch, Reader, Ring, Turn, WriterStatus};
use waldo_shm_protocol::Log;
use waldo_shm_protocol::limits::INDEX_ENTRY_LEN;
use waldo_writer::{Listener, SharedWriter, Writer, WriterOptions};

/// Storage engine for persistent storage of sequential log records.
///
/// Clones share the storage and may be used from any thread and any async runtime. Queries read the mapped
/// files; they do not go through the writer. Dropping the last clone closes the storage and blocks until that
/// is done; [`Waldo::close`] does not block.
#[derive(Debug)]
pub struct Waldo {
    writer: SharedWriter,
    ring: Ring,
    shared: Arc<Shared>,
    /// The reader of the last query, which is at the right place if the next one goes on there.
    reader: Option<Reader>,
    turn: Turn,
}

#[derive(Debug, Default)]
struct Shared {
    pending_appends: AtomicU64,
    pending_queries: AtomicU64,
}

/// The queries that wait, as the writer knows them.
struct Streams(Ring);

impl Listener for Streams {
    fn rouse(&self) {
        self.0.rouse_streams();
    }

    fn tell(&self) -> bool {
        self.0.tell_streams()
    }
}

/// Counts something that is under way, also when it is cancelled.
struct Pending<'a>(&'a AtomicU64);

impl<'a> Pending<'a> {
    fn new(count: &'a AtomicU64) -> Pending<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        Pending(count)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Metadata of a Waldo instance.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The record before the oldest one held: querying after it, nothing is missed.
    pub after_seq_no: u64,
    /// The last record.
    pub prev_seq_no: u64,
    /// Records held.
    pub log_count: u64,
    /// Index entries held.
    pub index_count: u64,
    /// Bytes of the page files that hold them.
    pub disk_size: u64,
    /// Bytes of the index.
    pub index_size: u64,
    /// Pages that are being made. Always 0: pages are prepared ahead.
    pub pending_resets: u64,
    /// Appends under way.
    pub pending_appends: u64,
    /// Queries under way.
    pub pending_queries: u64,
    /// Flushes that are due: 1 if some record is not durable yet.
    pub pending_fsyncs: u64,
}

impl Metadata {
    /// Everything that is under way.
    pub fn pending_io(&self) -> u64 {
        self.pending_resets + self.pending_appends + self.pending_queries + self.pending_fsyncs
    }
}

impl Waldo {
    /// Opens the storage in the directory `path`, which is made if it does not exist. Recovers the storage
    /// after a crash.
    ///
    /// # Errors
    /// [`Error::Option`] for options that cannot work; [`Error::Io`] if a file cannot be used, another
    /// process has the storage open, or durable bytes are damaged. Nothing is changed in that case.
    pub async fn open<P: AsRef<Path>>(path: P, opts: Options) -> Result<Waldo, Error> {
        Waldo::open_with(path, opts.to_writer()?).await
    }

    /// [`Waldo::open`] with every option of the writer.
    ///
    /// # Errors
    /// As [`Waldo::open`].
    pub async fn open_with<P: AsRef<Path>>(path: P, options: WriterOptions) -> Result<Waldo, Error> {
        let home = path.as_ref().to_owned();
        // Opening reads and flushes files: not on the caller's thread, which may have other tasks to run.
        let (done, opened) = oneshot::channel();
        std::thread::Builder::new().name("waldo-open".into()).spawn(move || {
            let open = || -> Result<(SharedWriter, Ring), Error> {
                let writer = Writer::open(&home, options)?;
                let ring = Ring::attach_with(&home, AttachOptions::default().streams_are_told(true))?;
                writer.set_listener(Box::new(Streams(ring.clone())));
                Ok((SharedWriter::new(writer), ring))
            };
            // If the caller has gone, the storage is closed here.
            let _ = done.send(open());
        })?;
        let (writer, ring) = opened.await.map_err(|_| io::Error::other("opening was given up"))??;
        Ok(Waldo { writer, ring, shared: Arc::default(), reader: None, turn: Turn::default() })
    }

    /// What the storage holds; `None` before the first record.
    pub async fn metadata(&self) -> Option<Metadata> {
        let prev_seq_no = self.prev_seq_no()?;
        let status = self.ring.status().ok()?;
        let count = |value: &AtomicU64| value.load(Ordering::Relaxed);
        Some(Metadata {
            after_seq_no: status.after_seq_no?,
            prev_seq_no: status.tip_seq_no.unwrap_or(prev_seq_no),
            log_count: status.records.unwrap_or(0),
            index_count: status.index_entries,
            disk_size: status.pages * status.page_len,
            index_size: status.index_entries * INDEX_ENTRY_LEN as u64,
            pending_resets: 0,
            pending_appends: count(&self.shared.pending_appends),
            pending_queries: count(&self.shared.pending_queries),
            pending_fsyncs: u64::from(status.durable < status.committed),
        })
    }

    /// Sequence number of the last record; `None` before the first one. One load.
    pub fn prev_seq_no(&self) -> Option<u64> {
        self.writer.tip()
    }

    /// Appends records in order. The `prev_seq_no` of each record is the `seq_no` of the record before it;
    /// that of the first one is the last `seq_no` in the storage, or any value if the storage is empty. With
    /// `file_o_dsync` the records are durable when this returns. If several appends compete for the same
    /// place, one gets it, and the others fail with [`AppendError::Sequence`].
    ///
    /// An append that need not be durable runs at once on the caller's thread, if no other append is in
    /// progress. A loop of such appends lets other tasks of its thread run after every eighth append, after
    /// each append of more than 64 KiB, and after each append that has woken a query.
    ///
    /// A cancelled append has appended either all of the records or none, or after a crash some of them,
    /// without a gap.
    ///
    /// # Errors
    /// [`AppendError`]. Records that do not fit the log are refused before anything is appended.
    pub async fn append(&self, logs: &[Log<'_>]) -> Result<(), AppendError> {
        if let Some(log) = logs.iter().find(|log| log.size() >= Log::SIZE_LIMIT) {
            return Err(AppendError::ExceedsLimit(log.seq_no(), log.size()));
        }
        if logs.is_empty() {
            return Ok(());
        }
        let _pending = Pending::new(&self.shared.pending_appends);
        self.writer.append_async(logs).await?;
        Ok(())
    }

    /// As many contiguous records as is efficient, from `cursor` on. With `waiting` the query waits until
    /// there is at least one record; otherwise there may be none.
    ///
    /// A loop of queries that never has to wait lets other tasks of its thread run after every eighth query;
    /// see [`Turn`].
    ///
    /// # Errors
    /// [`QueryError::Trimmed`] if records at the position were trimmed, [`QueryError::Closed`] if the storage
    /// has been closed, other errors if a file cannot be used or is damaged.
    pub async fn query(&mut self, cursor: Cursor, waiting: bool) -> Result<QueryLogs, QueryError> {
        let shared = Arc::clone(&self.shared);
        let _pending = Pending::new(&shared.pending_queries);
        self.turn.take().await;
        let mut reader = self.reader_at(cursor)?;
        match self.poll(&mut reader, cursor) {
            Ok(None) if waiting => {
                let (reader, batch, waited) = self.wait(reader).await?;
                self.reader = Some(reader);
                if waited {
                    self.turn = Turn::default();
                }
                Ok(QueryLogs(Some(batch)))
            }
            outcome => {
                self.reader = Some(reader);
                outcome.map(QueryLogs)
            }
        }
    }

    /// A reader that stands at `cursor`, the one of the last query if there is one.
    fn reader_at(&mut self, cursor: Cursor) -> Result<Reader, QueryError> {
        let Some(mut reader) = self.reader.take() else {
            return self.ring.reader(cursor.into()).map_err(|error| at(error, cursor));
        };
        // Behind a cursor beyond the newest record, it would pass over records that this query asks for.
        let goes_on = matches!(cursor, Cursor::After(seq_no) if reader.is_behind(seq_no));
        if !goes_on {
            reader.seek(cursor.into()).map_err(|error| at(error, cursor))?;
        }
        Ok(reader)
    }

    fn poll(&self, reader: &mut Reader, cursor: Cursor) -> Result<Option<Batch>, QueryError> {
        loop {
            match reader.poll() {
                // The oldest page went between looking it up and reading it: look again.
                Err(waldo_reader::ReadError::Lapped { .. }) if cursor == Cursor::Trim => {
                    reader.seek(waldo_reader::Cursor::Oldest)?;
                }
                outcome => return outcome.map_err(|error| at(error, cursor)),
            }
        }
    }

    /// Waits for the next records, or for the storage to be closed. Tells whether there was anything to wait
    /// for.
    async fn wait(&self, reader: Reader) -> Result<(Reader, Batch, bool), QueryError> {
        let mut stream = reader.into_stream();
        let mut waited = false;
        let batch = poll_fn(|context| match Pin::new(&mut stream).poll_next(context) {
            Poll::Ready(Some(outcome)) => Poll::Ready(outcome.map_err(QueryError::from)),
            Poll::Ready(None) => Poll::Ready(Err(QueryError::Fault("the stream of records has ended"))),
            Poll::Pending => match stream.writer() {
                Ok(WriterStatus::Closed) => Poll::Ready(Err(QueryError::Closed)),
                Ok(WriterStatus::Failed { errno }) => {
                    Poll::Ready(Err(QueryError::Io(io::Error::from_raw_os_error(errno))))
                }
                Ok(_) => {
                    waited = true;
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error.into())),
            },
        })
        .await?;
        Ok((stream.into_reader(), batch, waited))
    }

    /// Closes this clone. If it is the last one, the storage is closed: everything appended is durable when
    /// this returns. If closing fails, the next opening recovers what was durable.
    pub async fn close(self) {
        // Two last clones that close at the same moment may both see the other: the drop closes then.
        if Arc::strong_count(&self.shared) == 1 {
            // The next opening finds the same as after a crash, and says so if something is wrong.
            let _ = self.writer.close_async().await;
        }
    }
}

/// Names the position that was asked for, where the reader only knows the page it stood at.
fn at(error: waldo_reader::ReadError, cursor: Cursor) -> QueryError {
    match (QueryError::from(error), cursor) {
        (QueryError::Trimmed(_), Cursor::After(seq_no) | Cursor::From(seq_no)) => QueryError::Trimmed(seq_no),
        (error, _) => error,
    }
}

impl Clone for Waldo {
    fn clone(&self) -> Waldo {
        Waldo {
            writer: self.writer.clone(),
            ring: self.ring.clone(),
            shared: Arc::clone(&self.shared),
            reader: None,
            // A task that queries through a new clone each time gives way each time.
            turn: Turn::ended(),
        }
    }
}
