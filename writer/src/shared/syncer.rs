//! The thread that flushes large groups while the committer goes on.

use super::Inner;
use super::queue::Queue;
use crate::page::Page;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

/// Ends, with its thread, when it is dropped.
pub(super) struct Syncer {
    /// `None` only while it is dropped.
    jobs: Option<Sender<Vec<Arc<Page>>>>,
    outcomes: Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// The one in `slot`, started if there is none yet; `None` if the system cannot start a thread.
    pub(super) fn started<'a>(slot: &'a mut Option<Syncer>, inner: &Arc<Inner>) -> Option<&'a Syncer> {
        if slot.is_none() {
            match Syncer::start_thread(inner) {
                Ok(syncer) => *slot = Some(syncer),
                Err(error) => {
                    tracing::warn!("large groups are flushed one after the other: no thread ({error})");
                }
            }
        }
        slot.as_ref()
    }

    fn start_thread(inner: &Arc<Inner>) -> io::Result<Syncer> {
        let inner = Arc::clone(inner);
        let (jobs, received) = channel::<Vec<Arc<Page>>>();
        let (reports, outcomes) = channel();
        let thread = thread::Builder::new().name("waldo-sync".into()).spawn(move || {
            for pages in received {
                let _ended = Ended(&inner.queue);
                let outcome = pages.iter().try_for_each(|page| page.file.sync_data());
                // Nobody listens any more if the committer is gone.
                let _ = reports.send(outcome);
            }
        })?;
        Ok(Syncer { jobs: Some(jobs), outcomes, thread: Some(thread) })
    }

    /// Makes what has been written to `pages` durable, in the background.
    pub(super) fn start(&self, pages: Vec<Arc<Page>>) {
        if let Some(jobs) = &self.jobs {
            // Should the thread be gone, `outcome` says so.
            let _ = jobs.send(pages);
        }
    }

    /// Waits for the end of what was started.
    pub(super) fn outcome(&self) -> io::Result<()> {
        self.outcomes.recv().unwrap_or_else(|_| Err(io::Error::other("the flushing thread has panicked")))
    }
}

/// Tells the committer when it is dropped, also by a panic.
struct Ended<'a>(&'a Queue);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.end_flush();
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked it has said so.
            let _ = thread.join();
        }
    }
}
