//! [`SharedWriter`]: one writer for many threads and tasks.
//!
//! ```text
//!   caller --writer free, nothing queued--> appends by itself, no hop
//!      |
//!      +--otherwise--> queue --> committer thread: appends all that is queued, one flush for all, answers
//! ```
//!
//! Appends that arrive during a flush share the next flush (group commit); large appends are written
//! meanwhile. There are no timers, unless `linger` asks for one. The bytes in the queue are bounded: beyond
//! the bound, appends wait, or are refused if they came by `try_append`.

mod commit;
mod queue;
mod syncer;
#[cfg(test)]
mod tests;

use crate::error::AppendError;
use crate::options::Durability;
use crate::recover::OpenReport;
use crate::waking::ListenerSlot;
use crate::writer::{Appended, Entry, Writer};
use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use queue::{Queue, Work};
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use waldo_shm_protocol::Log;

/// More bytes of payload than this take as long as many small appends. A task that has appended them at once
/// gives way to others; with [`Durability::Interval`] the committer appends them, since their flush is what
/// the disk may not keep up with.
const AT_ONCE_MAX: usize = 64 << 10;
/// Appends that a task does at once before it gives way to others.
const IN_A_ROW_MAX: u32 = 8;

/// A [`Writer`] that any number of threads and async tasks append through. Clones share it.
///
/// The ring is closed by [`SharedWriter::close`], or when the last clone is dropped, which blocks until then.
pub struct SharedWriter {
    handle: Arc<Handle>,
    /// Appends of a task that were done at once, since it gave way to others.
    in_a_row: AtomicU32,
}

struct Handle {
    inner: Arc<SharedInner>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

struct SharedInner {
    /// `None` once closed.
    writer: Mutex<Option<Writer>>,
    queue: Queue,
    listener: Arc<ListenerSlot>,
    /// 0 stands for none: no record has that number. On a cache line of its own: it is stored with every
    /// append.
    tip: CachePadded<AtomicU64>,
    durability: Durability,
    linger: Duration,
    home: PathBuf,
    opened: OpenReport,
}

/// A queued append. Wait for it with [`Ticket::wait`], or `.await` the ticket. Dropping the ticket does not
/// cancel the append.
#[derive(Debug)]
#[must_use = "an append that is not waited for may fail unnoticed"]
pub struct Ticket(oneshot::Receiver<Result<Appended, AppendError>>);

impl Ticket {
    /// Blocks until the append is done.
    ///
    /// # Errors
    /// As [`SharedWriter::append`].
    pub fn wait(self) -> Result<Appended, AppendError> {
        self.0.recv().unwrap_or(Err(AppendError::Closed))
    }
}

impl Future for Ticket {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(AppendError::Closed)))
    }
}

impl SharedWriter {
    /// Shares `writer`. Starts one thread.
    ///
    /// # Panics
    /// If the system cannot start a thread.
    pub fn new(writer: Writer) -> SharedWriter {
        let inner = Arc::new(SharedInner {
            tip: CachePadded::new(AtomicU64::new(writer.tip().unwrap_or(0))),
            durability: writer.options().durability,
            linger: writer.options().linger,
            home: writer.home().to_owned(),
            opened: writer.open_report().clone(),
            queue: Queue::default(),
            listener: Arc::clone(writer.core.waking.listener()),
            writer: Mutex::new(Some(writer)),
        });
        let committer = {
            let inner = Arc::clone(&inner);
            thread::Builder::new()
                .name("waldo-commit".into())
                .spawn(move || commit::run(&inner))
                .unwrap_or_else(|error| panic!("cannot start the committer thread: {error}"))
        };
        let handle = Arc::new(Handle { inner, committer: Mutex::new(Some(committer)) });
        SharedWriter { handle, in_a_row: AtomicU32::new(0) }
    }

    /// The last record's sequence number; `None` if there is none. One load.
    pub fn tip(&self) -> Option<u64> {
        Some(self.handle.inner.tip.load(Ordering::Relaxed)).filter(|tip| *tip > 0)
    }

    /// What was found when the ring was opened.
    pub fn open_report(&self) -> &OpenReport {
        &self.handle.inner.opened
    }

    /// The ring's directory.
    pub fn home(&self) -> &Path {
        &self.handle.inner.home
    }

    /// Requests that wait for the committer, now.
    pub fn queued(&self) -> usize {
        self.handle.inner.queue.len()
    }

    /// Appends records that have their numbers; see [`Writer::append`]. If several appends compete for the
    /// same place, the first one gets it, and the others fail with [`AppendError::Sequence`]. Blocks until
    /// the append is done.
    ///
    /// # Errors
    /// As [`Writer::append`], and [`AppendError::Closed`].
    pub fn append(&self, logs: &[Log<'_>]) -> Result<Appended, AppendError> {
        match self.handle.inner.try_now(|writer| writer.append(logs)) {
            Some((outcome, _)) => outcome,
            None => self.ask_blocking(|reply| Work::append(logs, reply)),
        }
    }

    /// Appends payloads under the next free numbers. Blocks until the append is done.
    ///
    /// # Errors
    /// As [`SharedWriter::append`].
    pub fn append_payloads<P: AsRef<[u8]>>(&self, payloads: &[P]) -> Result<Appended, AppendError> {
        match self.handle.inner.try_now(|writer| writer.append_payloads(payloads)) {
            Some((outcome, _)) => outcome,
            None => self.ask_blocking(|reply| Work::append_payloads(payloads, reply)),
        }
    }

    /// [`SharedWriter::append`] for tasks. If no other append is in progress, an append runs at once on the
    /// caller's thread where it need not wait for the disk: of any size with [`Durability::PageCache`], up to
    /// 64 KiB of payload with [`Durability::Interval`] (if the disk does not keep up, even such an append
    /// waits for it on the caller's thread). The committer does all other appends, and the payloads are
    /// copied for that.
    ///
    /// A loop of appends that complete at once lets other tasks of its thread run after every eighth append,
    /// after each append of more than 64 KiB, and after each append that has woken other tasks through the
    /// listener.
    ///
    /// An append that is cancelled may still happen, as a whole or, if the writer fails, up to some record.
    ///
    /// # Errors
    /// As [`SharedWriter::append`].
    pub async fn append_async(&self, logs: &[Log<'_>]) -> Result<Appended, AppendError> {
        let bytes = || logs.iter().map(|log| log.data().len()).sum();
        match self.at_once(bytes, |writer| writer.append(logs)).await {
            Some(outcome) => outcome,
            None => self.ask(|reply| Work::append(logs, reply)).await,
        }
    }

    /// [`SharedWriter::append_payloads`] for tasks; see [`SharedWriter::append_async`].
    ///
    /// # Errors
    /// As [`SharedWriter::append`].
    pub async fn append_payloads_async<P: AsRef<[u8]>>(
        &self,
        payloads: &[P],
    ) -> Result<Appended, AppendError> {
        let bytes = || payloads.iter().map(|payload| payload.as_ref().len()).sum();
        match self.at_once(bytes, |writer| writer.append_payloads(payloads)).await {
            Some(outcome) => outcome,
            None => self.ask(|reply| Work::append_payloads(payloads, reply)).await,
        }
    }

    /// Queues records that have their numbers, and returns without waiting for anything; the payloads are
    /// copied. For producers that would rather drop or delay records than wait: the queue is bounded to 64
    /// MiB.
    ///
    /// # Errors
    /// [`AppendError::QueueFull`] and [`AppendError::Closed`] at once; everything else comes from the
    /// [`Ticket`].
    pub fn try_append(&self, logs: &[Log<'_>]) -> Result<Ticket, AppendError> {
        self.queue_now(|reply| Work::append(logs, reply))
    }

    /// Queues payloads to be appended under the next free numbers, like [`SharedWriter::try_append`].
    ///
    /// # Errors
    /// As [`SharedWriter::try_append`].
    pub fn try_append_payloads<P: AsRef<[u8]>>(&self, payloads: &[P]) -> Result<Ticket, AppendError> {
        self.queue_now(|reply| Work::append_payloads(payloads, reply))
    }

    fn queue_now(
        &self,
        work: impl FnOnce(oneshot::Sender<Result<Appended, AppendError>>) -> Work,
    ) -> Result<Ticket, AppendError> {
        // Checked before the payloads are copied; the queue may be full again afterwards.
        self.handle.inner.queue.check_space()?;
        let (reply, answer) = oneshot::channel();
        self.handle.inner.queue.try_push(work(reply))?;
        Ok(Ticket(answer))
    }

    /// Makes everything durable that was appended before this call.
    ///
    /// # Errors
    /// [`AppendError::Failed`] or [`AppendError::Closed`].
    pub fn sync(&self) -> Result<(), AppendError> {
        self.ask_blocking(Work::sync)
    }

    /// [`SharedWriter::sync`] without blocking the thread.
    ///
    /// # Errors
    /// As [`SharedWriter::sync`].
    pub async fn sync_async(&self) -> Result<(), AppendError> {
        self.ask(Work::sync).await
    }

    /// Closes the ring for all clones, after the queued appends. Everything appended is durable when this
    /// returns.
    ///
    /// # Errors
    /// [`AppendError::Failed`] if that could not be done.
    pub fn close(&self) -> Result<(), AppendError> {
        match self.ask_blocking(Work::close) {
            Err(AppendError::Closed) => Ok(()),
            outcome => outcome,
        }
    }

    /// [`SharedWriter::close`] without blocking the thread.
    ///
    /// # Errors
    /// As [`SharedWriter::close`].
    pub async fn close_async(&self) -> Result<(), AppendError> {
        match self.ask(Work::close).await {
            Err(AppendError::Closed) => Ok(()),
            outcome => outcome,
        }
    }

    /// Appends on the caller's thread, if that is allowed and no other append is in progress. The caller
    /// yields to other tasks afterwards if that is due. It does not yield before, because a task that has
    /// just asked for the last record's number wants to append after that record.
    async fn at_once(
        &self,
        bytes: impl FnOnce() -> usize,
        append: impl FnOnce(&mut Writer) -> Result<Appended, AppendError>,
    ) -> Option<Result<Appended, AppendError>> {
        let inner = &self.handle.inner;
        if inner.durability == Durability::Sync {
            return None;
        }
        let bytes = bytes();
        if inner.durability != Durability::PageCache && bytes > AT_ONCE_MAX {
            return None;
        }
        let (outcome, woke) = inner.try_now(append)?;
        let in_a_row = self.in_a_row.load(Ordering::Relaxed) + 1;
        // A runtime may have put a task that was woken on this thread right behind this one.
        let is_over = woke || in_a_row >= IN_A_ROW_MAX || bytes > AT_ONCE_MAX;
        self.in_a_row.store(if is_over { 0 } else { in_a_row }, Ordering::Relaxed);
        if is_over {
            give_way().await;
        }
        Some(outcome)
    }

    fn ask_blocking<T>(&self, work: impl FnOnce(oneshot::Sender<T>) -> Work) -> T
    where
        T: Answer,
    {
        let (reply, answer) = oneshot::channel();
        match self.handle.inner.queue.push_blocking(work(reply)) {
            Ok(()) => answer.recv().unwrap_or_else(|_| T::closed()),
            Err(_) => T::closed(),
        }
    }

    fn ask<T>(&self, work: impl FnOnce(oneshot::Sender<T>) -> Work) -> impl Future<Output = T>
    where
        T: Answer,
    {
        let (reply, answer) = oneshot::channel();
        let work = work(reply);
        async move {
            match self.handle.inner.queue.push(work).await {
                Ok(()) => answer.await.unwrap_or_else(|_| T::closed()),
                Err(_) => T::closed(),
            }
        }
    }
}

/// Pending once: the executor runs the other tasks that are ready.
async fn give_way() {
    let mut gave_way = false;
    poll_fn(|context| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What a request is answered with.
trait Answer {
    fn closed() -> Self;
}

impl<T> Answer for Result<T, AppendError> {
    fn closed() -> Self {
        Err(AppendError::Closed)
    }
}

impl SharedInner {
    /// Runs `append` on the caller's thread if no other append is in progress or waiting, and tells the
    /// listener. Also returns whether that woke a task.
    fn try_now<T>(&self, append: impl FnOnce(&mut Writer) -> T) -> Option<(T, bool)> {
        if !self.queue.is_empty() {
            return None;
        }
        let mut guard = self.writer.try_lock()?;
        let writer = guard.as_mut()?;
        let (outcome, due) = self.listener.defer(|| append(writer));
        self.note_tip(writer);
        // The listener may call wakers, and these may run any code.
        drop(guard);
        Some((outcome, due && self.listener.tell()))
    }

    fn note_tip(&self, writer: &Writer) {
        // The last records that a failed writer has put are not part of the log.
        if !writer.has_failed() {
            self.set_tip(writer.tip().unwrap_or(0));
        }
    }

    fn set_tip(&self, tip: u64) {
        self.tip.store(tip, Ordering::Relaxed);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.queue.close();
        if let Some(committer) = self.committer.lock().take() {
            // If it panicked it has said so; the writer was closed by the unwinding.
            let _ = committer.join();
        }
    }
}

impl Clone for SharedWriter {
    fn clone(&self) -> SharedWriter {
        // A task that appends through a new clone each time gives way each time.
        SharedWriter { handle: Arc::clone(&self.handle), in_a_row: AtomicU32::new(IN_A_ROW_MAX - 1) }
    }
}

impl std::fmt::Debug for SharedWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedWriter").field("home", &self.home()).field("tip", &self.tip()).finish()
    }
}
