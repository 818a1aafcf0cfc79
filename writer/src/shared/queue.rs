//! Requests on their way to the committer: bounded by bytes, so that memory is bounded whatever producers do.

use super::{AppendError, Appended, Entry};
use crossbeam_utils::CachePadded;
use parking_lot::{Condvar, Mutex};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use waldo_shm_protocol::Log;

/// Bytes that may wait. One request is let in whatever its size, so that each can get through.
const BYTES_MAX: usize = 64 << 20;

pub(super) type Reply<T> = oneshot::Sender<Result<T, AppendError>>;

pub(super) enum Work {
    Append { records: Records, reply: Reply<Appended> },
    Sync { reply: Reply<()> },
    Close { reply: Reply<()> },
}

/// The numbers and hash that a record brings along.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    seq_no: u64,
    prev_seq_no: u64,
    hash: u32,
    hash_is_claimed: bool,
}

/// Records copied from the caller: payloads one after the other, and where each ends.
pub(super) struct Records {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// What each says of itself; `None` if the writer numbers them.
    numbers: Option<Vec<Numbers>>,
}

impl Records {
    fn copy<'a>(payloads: impl Iterator<Item = &'a [u8]> + Clone) -> Records {
        let mut bytes = Vec::with_capacity(payloads.clone().map(<[u8]>::len).sum());
        let ends = payloads
            .map(|payload| {
                bytes.extend_from_slice(payload);
                bytes.len()
            })
            .collect();
        Records { bytes, ends, numbers: None }
    }

    pub(super) fn payload_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn numbers(&self) -> Option<&[Numbers]> {
        self.numbers.as_deref()
    }

    fn payload(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    pub(super) fn payloads(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        (0..self.ends.len()).map(|index| self.payload(index))
    }

    /// With their numbers; none if the writer numbers them.
    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> + Clone {
        self.numbers().unwrap_or_default().iter().enumerate().map(|(index, numbers)| {
            let Numbers { seq_no, prev_seq_no, hash, hash_is_claimed } = *numbers;
            Entry { seq_no, prev_seq_no, payload: self.payload(index), hash: Some(hash), hash_is_claimed }
        })
    }
}

impl Work {
    pub(super) fn append(logs: &[Log<'_>], reply: Reply<Appended>) -> Work {
        let mut records = Records::copy(logs.iter().map(Log::data));
        let numbers = |log: &Log<'_>| Numbers {
            seq_no: log.seq_no(),
            prev_seq_no: log.prev_seq_no(),
            hash: log.data_hash(),
            hash_is_claimed: !log.hash_is_computed(),
        };
        records.numbers = Some(logs.iter().map(numbers).collect());
        Work::Append { records, reply }
    }

    pub(super) fn append_payloads<P: AsRef<[u8]>>(payloads: &[P], reply: Reply<Appended>) -> Work {
        Work::Append { records: Records::copy(payloads.iter().map(AsRef::as_ref)), reply }
    }

    pub(super) fn sync(reply: Reply<()>) -> Work {
        Work::Sync { reply }
    }

    pub(super) fn close(reply: Reply<()>) -> Work {
        Work::Close { reply }
    }

    fn bytes(&self) -> usize {
        match self {
            // The numbers take 24 bytes a record; headers are made later.
            Work::Append { records, .. } => records.bytes.len() + 32 * records.ends.len(),
            Work::Sync { .. } | Work::Close { .. } => 0,
        }
    }
}

pub(super) struct Request {
    pub(super) work: Work,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    /// Requests waiting; readable without the lock. On a cache line of its own: every caller of an append
    /// loads it first, and most find it unchanged.
    len: CachePadded<AtomicUsize>,
    work: Condvar,
    space: Condvar,
}

#[derive(Default)]
struct QueueState {
    requests: Vec<Request>,
    bytes: usize,
    /// A caller waits for all earlier requests to be durable, or for the close.
    urgent: bool,
    /// A flush goes on beside the committer.
    flushing: bool,
    closed: bool,
    wakers: Vec<Waker>,
}

/// With so many bytes queued, lingering for more gains nothing.
const LINGER_BYTES: usize = 1 << 20;

/// The queue takes nothing any more.
pub(super) struct QueueClosed;

/// Runs `wake`, which wakes one client. A waker is the client's code and may panic: the panic hook has
/// reported that by then, and the thread must go on for all other clients.
pub(super) fn wake_client(wake: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(wake)) {
        // The payload is the client's too, and its destructor might panic again.
        std::mem::forget(panic);
    }
}

impl QueueState {
    fn has_space(&self) -> bool {
        self.bytes < BYTES_MAX
    }

    fn check_space(&self) -> Result<(), AppendError> {
        match (self.closed, self.has_space()) {
            (true, _) => Err(AppendError::Closed),
            (_, false) => Err(AppendError::QueueFull { queued: self.bytes, max: BYTES_MAX }),
            _ => Ok(()),
        }
    }
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    fn enqueue(&self, state: &mut QueueState, work: Work) {
        state.bytes += work.bytes();
        state.urgent |= !matches!(work, Work::Append { .. });
        state.requests.push(Request { work });
        self.len.store(state.requests.len(), Ordering::Relaxed);
        self.work.notify_one();
    }

    /// Adds a request; blocks while the queue is full.
    pub(super) fn push_blocking(&self, work: Work) -> Result<(), QueueClosed> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return Err(QueueClosed);
            }
            if state.has_space() {
                self.enqueue(&mut state, work);
                return Ok(());
            }
            self.space.wait(&mut state);
        }
    }

    /// Adds an append, if there is space now.
    pub(super) fn try_push(&self, work: Work) -> Result<(), AppendError> {
        let mut state = self.state.lock();
        state.check_space()?;
        self.enqueue(&mut state, work);
        Ok(())
    }

    /// Whether an append would be taken now.
    pub(super) fn check_space(&self) -> Result<(), AppendError> {
        self.state.lock().check_space()
    }

    /// Adds a request; waits while the queue is full.
    pub(super) async fn push(&self, work: Work) -> Result<(), QueueClosed> {
        let mut work = Some(work);
        poll_fn(|context| {
            let mut state = self.state.lock();
            if state.closed {
                return Poll::Ready(Err(QueueClosed));
            }
            if state.has_space() {
                if let Some(work) = work.take() {
                    self.enqueue(&mut state, work);
                }
                return Poll::Ready(Ok(()));
            }
            state.wakers.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Waits for a request; `false` once the queue is closed and empty.
    pub(super) fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while state.requests.is_empty() && !state.closed {
            self.work.wait(&mut state);
        }
        !state.requests.is_empty()
    }

    /// Waits for more requests, for `time` at most, unless that would delay a caller who waits for a flush or
    /// the close.
    pub(super) fn linger(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut state = self.state.lock();
        while !state.urgent && !state.closed && state.bytes < LINGER_BYTES {
            if self.work.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    /// Called before a flush is started on another thread than the committer.
    pub(super) fn begin_flush(&self) {
        self.state.lock().flushing = true;
    }

    /// Called by the thread that flushes, when the flush is done.
    pub(super) fn end_flush(&self) {
        self.state.lock().flushing = false;
        self.work.notify_all();
    }

    /// Waits for a request, or for the end of the flush. `true` if there is a request and the flush goes on.
    pub(super) fn wait_flushing(&self) -> bool {
        let mut state = self.state.lock();
        while state.flushing && state.requests.is_empty() {
            self.work.wait(&mut state);
        }
        state.flushing
    }

    /// Takes everything there is.
    pub(super) fn take(&self) -> Vec<Request> {
        let mut state = self.state.lock();
        let requests = std::mem::take(&mut state.requests);
        state.bytes = 0;
        state.urgent = false;
        self.len.store(0, Ordering::Relaxed);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.space.notify_all();
        wakers.into_iter().for_each(|waker| wake_client(|| waker.wake()));
        requests
    }

    /// Takes nothing any more. What is queued is still done.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.work.notify_all();
        self.space.notify_all();
        wakers.into_iter().for_each(|waker| wake_client(|| waker.wake()));
    }
}
