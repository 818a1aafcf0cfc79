//! [`Producer`]: the program's handle.

use super::backlog::{Backlog, NewBatch};
use super::backoff::Backoff;
use super::connection::{Opened, open};
use super::session::{self, Session};
use super::waiter::Waiter;
use super::wire::Welcome;
use super::{ProducerError, ProducerOptions, Ticket};
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// A connection to the service of a ring, kept up by itself. Any number of threads and tasks may append; the
/// order of their calls is the order in the log.
///
/// Dropping it gives up what is not acknowledged: that may be stored or not. [`Producer::close`] waits.
pub struct Producer {
    shared: Arc<Session>,
    thread: Mutex<Option<JoinHandle<()>>>,
    last_stored: u64,
}

impl Producer {
    /// Connects to the service whose socket is at `path`. Starts two threads. Blocks until the service has
    /// answered; it is tried for [`ProducerOptions::connect_timeout`].
    ///
    /// # Errors
    /// [`ProducerError`].
    pub fn connect(path: impl AsRef<Path>, options: ProducerOptions) -> Result<Producer, ProducerError> {
        options.check()?;
        let path = path.as_ref();
        let opened = open_patiently(path, &options)?;
        Producer::start(path.to_owned(), options, opened)
    }

    /// [`Producer::connect`] without blocking the thread: a thread is started to do it.
    ///
    /// # Errors
    /// As [`Producer::connect`].
    pub fn connect_async(
        path: impl AsRef<Path>,
        options: ProducerOptions,
    ) -> impl Future<Output = Result<Producer, ProducerError>> {
        let path = path.as_ref().to_owned();
        let (reply, answer) = oneshot::channel();
        let thread = thread::Builder::new().name("waldo-connect".into());
        let started = thread.spawn(move || {
            let _ = reply.send(Producer::connect(path, options));
        });
        async move {
            started.map_err(no_thread)?;
            answer.await.unwrap_or(Err(ProducerError::Closed))
        }
    }

    fn start(path: PathBuf, options: ProducerOptions, opened: Opened) -> Result<Producer, ProducerError> {
        let named = options.name.is_some();
        let welcome: Welcome = opened.welcome;
        let backlog = Backlog::new(named, options.checksums, options.buffer_bytes, welcome);
        let shared = Arc::new(Session::new(path, options, backlog));
        let thread = {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().name("waldo-produce".into());
            builder.spawn(move || session::run(&shared, opened)).map_err(no_thread)?
        };
        Ok(Producer { shared, thread: Mutex::new(Some(thread)), last_stored: welcome.last_number })
    }

    /// The last of this producer's own numbers that was stored when it connected first; 0 if none is known,
    /// or it has no name. Its next record has the number after it.
    pub fn last_stored(&self) -> u64 {
        self.last_stored
    }

    /// The last of this producer's own numbers that is known to be stored now.
    pub fn acknowledged(&self) -> u64 {
        self.shared.lock().acknowledged()
    }

    /// What the service said at the last connection: its limits, the ring, and where the log ended then.
    pub fn welcome(&self) -> Welcome {
        *self.shared.lock().welcome()
    }

    /// Queues a batch: its records stay together, in order, and get the next free sequence numbers. Blocks
    /// while too much waits to be acknowledged.
    ///
    /// # Errors
    /// [`ProducerError`] at once if the batch cannot be sent; everything else comes from the [`Ticket`].
    pub fn append<P: AsRef<[u8]>>(&self, payloads: &[P]) -> Result<Ticket, ProducerError> {
        self.queue_blocking(self.encode(payloads, None))
    }

    /// Queues a batch that is stored only if the log ends with record `previous` then (0: is empty).
    ///
    /// A producer without a name may learn of a [`ProducerError::Conflict`] with its own batch, if the
    /// connection broke before the acknowledgement.
    ///
    /// # Errors
    /// As [`Producer::append`]; [`ProducerError::Conflict`] comes from the [`Ticket`].
    pub fn append_after<P: AsRef<[u8]>>(
        &self,
        previous: u64,
        payloads: &[P],
    ) -> Result<Ticket, ProducerError> {
        self.queue_blocking(self.encode(payloads, Some(previous)))
    }

    /// [`Producer::append`] for those that would rather drop or delay records than wait.
    ///
    /// # Errors
    /// As [`Producer::append`], and [`ProducerError::Full`].
    pub fn try_append<P: AsRef<[u8]>>(&self, payloads: &[P]) -> Result<Ticket, ProducerError> {
        let batch = self.encode(payloads, None);
        let mut backlog = self.shared.lock();
        backlog.check(&batch)?;
        backlog.check_space(&batch)?;
        Ok(self.push(&mut backlog, batch))
    }

    /// [`Producer::append`] without blocking the thread: waits for space as a task.
    ///
    /// # Errors
    /// As [`Producer::append`].
    pub async fn append_async<P: AsRef<[u8]>>(&self, payloads: &[P]) -> Result<Ticket, ProducerError> {
        let mut batch = Some(self.encode(payloads, None));
        let mut waiter = Waiter::new(&self.shared);
        poll_fn(|context| {
            let mut backlog = self.shared.lock();
            let Some(waiting) = &batch else { return Poll::Ready(Err(ProducerError::Closed)) };
            match backlog.check(waiting).and_then(|()| backlog.check_space(waiting)) {
                Ok(()) => {}
                Err(ProducerError::Full { .. }) => {
                    let before = waiter.wait(&mut backlog.waiters, context.waker());
                    drop(backlog);
                    drop(before);
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            match batch.take() {
                Some(batch) => Poll::Ready(Ok(self.push(&mut backlog, batch))),
                None => Poll::Ready(Err(ProducerError::Closed)),
            }
        })
        .await
    }

    /// Appends that wait for space as tasks.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.shared.lock().waiters.len()
    }

    fn encode<P: AsRef<[u8]>>(&self, payloads: &[P], expected: Option<u64>) -> NewBatch {
        NewBatch::new(payloads, expected, self.shared.options.durable)
    }

    fn queue_blocking(&self, batch: NewBatch) -> Result<Ticket, ProducerError> {
        let mut backlog = self.shared.lock();
        backlog.check(&batch)?;
        loop {
            match backlog.check_space(&batch) {
                Ok(()) => return Ok(self.push(&mut backlog, batch)),
                Err(ProducerError::Full { .. }) => {}
                Err(error) => return Err(error),
            }
            backlog.blocked += 1;
            backlog = self.shared.space.wait(backlog).unwrap_or_else(PoisonError::into_inner);
            backlog.blocked -= 1;
        }
    }

    fn push(&self, backlog: &mut Backlog, batch: NewBatch) -> Ticket {
        let (reply, answer) = oneshot::channel();
        backlog.push(batch, reply);
        self.shared.pass_on(backlog);
        Ticket(answer)
    }

    /// Whether the next append can work: the service may be gone for longer than is waited for.
    ///
    /// # Errors
    /// Why the producer has come to an end.
    pub fn check_usable(&self) -> Result<(), ProducerError> {
        self.shared.lock().ended.clone().map_or(Ok(()), Err)
    }

    /// Waits until everything is acknowledged, and takes leave of the service. Appends by other threads fail
    /// from now on.
    ///
    /// # Errors
    /// Why the producer came to an end before, if it did.
    pub fn close(&self) -> Result<(), ProducerError> {
        self.shared.lock().closing = true;
        self.shared.work.notify_all();
        self.shared.space.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // If it panicked it has said so.
            let _ = thread.join();
        }
        match &self.shared.lock().ended {
            None | Some(ProducerError::Closed) => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // The thread may be in a call that takes long; it ends by itself.
        self.shared.abandon();
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("path", &self.shared.path)
            .field("name", &self.shared.options.name)
            .finish_non_exhaustive()
    }
}

fn no_thread(error: std::io::Error) -> ProducerError {
    ProducerError::Options { reason: format!("the system starts no thread: {error}") }
}

fn open_patiently(path: &Path, options: &ProducerOptions) -> Result<Opened, ProducerError> {
    let begin = Instant::now();
    let mut backoff = Backoff::new(options);
    loop {
        let left = options.connect_timeout.saturating_sub(begin.elapsed());
        match open(path, options, Some(left)) {
            Err(error) if error.is_passing() && begin.elapsed() < options.connect_timeout => {
                thread::sleep(backoff.next());
            }
            outcome => return outcome,
        }
    }
}
