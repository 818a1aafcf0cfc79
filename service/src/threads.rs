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

use crate::engine::Engine;
use crate::{ServiceError, completer, sequencer, syncer};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

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
pub(crate) struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    pub(crate) fn start(engine: &Arc<Engine>) -> Result<Threads, ServiceError> {
        let (steps, taken) = channel();
        let (syncs, asked) = channel();
        let mut threads = Threads(Vec::new());
        let shared = Arc::clone(engine);
        threads.spawn("waldo-sequence", move || sequencer::run(&shared, &steps))?;
        let shared = Arc::clone(engine);
        threads.spawn("waldo-complete", move || completer::run(&shared, &taken, &syncs))?;
        let shared = Arc::clone(engine);
        threads.spawn("waldo-durable", move || syncer::run(&shared, &asked))?;
        Ok(threads)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), ServiceError> {
        let thread = thread::Builder::new().name(name.into()).spawn(run).map_err(ServiceError::Thread)?;
        self.0.push(thread);
        Ok(())
    }

    pub(crate) fn join(self) {
        for thread in self.0 {
            // If it panicked it has said so.
            let _ = thread.join();
        }
    }
}
