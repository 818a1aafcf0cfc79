//! What appends: three threads behind the connections.
//!
//! ```text
//!   connections --requests--> sequencer --tickets--> completer --committed--> syncer
//!                              numbers,               answers in              answers those
//!                              journal, queues        the log's order         that want durable
//! ```
//!
//! The sequencer takes all requests that have come, gives numbers, writes the journal once for all of them
//! and queues the batches with the ring's [`SharedWriter`](waldo::writer::SharedWriter), whose committer
//! shares writes and flushes among them. While one group is flushed, the next one's journal is. The syncer is
//! needed only where the ring does not make every append durable by itself.
//!
//! A thread that panics leaves producers without answers, so the service ends then, as if the ring's writer
//! had failed.

#[cfg(test)]
mod tests;

use crate::engine::Engine;
use crate::{ServiceError, completer, sequencer, syncer};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use tokio::sync::watch;

/// Lets the threads end when it is dropped.
#[derive(Debug)]
pub(crate) struct Closer(pub(crate) Arc<Engine>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.requests.close();
    }
}

/// The threads, which end after `Requests::close`.
#[derive(Debug)]
pub(crate) struct Threads {
    handles: Vec<JoinHandle<()>>,
    broken: watch::Sender<bool>,
}

/// Says that the service is broken if its thread panics.
struct PanicAlarm(watch::Sender<bool>);

impl Drop for PanicAlarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.send_replace(true);
        }
    }
}

impl Threads {
    pub(crate) fn start(engine: &Arc<Engine>) -> Result<Threads, ServiceError> {
        let (steps, taken) = channel();
        let (syncs, asked) = channel();
        let mut threads = Threads::none(engine.broken.clone());
        let shared = Arc::clone(engine);
        threads.spawn("waldo-sequence", move || sequencer::run(&shared, &steps))?;
        let shared = Arc::clone(engine);
        threads.spawn("waldo-complete", move || completer::run(&shared, &taken, &syncs))?;
        let shared = Arc::clone(engine);
        threads.spawn("waldo-durable", move || syncer::run(&shared, &asked))?;
        Ok(threads)
    }

    fn none(broken: watch::Sender<bool>) -> Threads {
        Threads { handles: Vec::new(), broken }
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), ServiceError> {
        let alarm = PanicAlarm(self.broken.clone());
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            let _alarm = alarm;
            run();
        });
        self.handles.push(thread.map_err(ServiceError::Thread)?);
        Ok(())
    }

    /// Waits for all of them.
    ///
    /// # Errors
    /// [`ServiceError::Panicked`], with the first of those that did.
    pub(crate) fn join(self) -> Result<(), ServiceError> {
        let mut panicked = None;
        for handle in self.handles {
            let name = handle.thread().name().unwrap_or_default().to_owned();
            if handle.join().is_err() {
                panicked.get_or_insert(name);
            }
        }
        panicked.map_or(Ok(()), |thread| Err(ServiceError::Panicked { thread }))
    }
}
