//! The thread that flushes large groups while the committer continues.

use super::SharedInner;
use crate::page::Page;
use crate::writer::FlushOutcome;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

struct Job {
    pages: Vec<Arc<Page>>,
    report: Sender<io::Result<()>>,
    /// Dropped last, so that there is a report by then, or never will be.
    _ended: Ended,
}

/// Ends, with its thread, when it is dropped.
pub(super) struct Syncer {
    inner: Arc<SharedInner>,
    /// `None` only while it is dropped.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// The one in `slot`, started if there is none yet; `None` if the system cannot start a thread.
    pub(super) fn started<'a>(slot: &'a mut Option<Syncer>, inner: &Arc<SharedInner>) -> Option<&'a Syncer> {
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

    fn start_thread(inner: &Arc<SharedInner>) -> io::Result<Syncer> {
        let (jobs, received) = channel::<Job>();
        let thread = thread::Builder::new().name("waldo-sync".into()).spawn(move || {
            for job in received {
                let outcome = job.pages.iter().try_for_each(|page| page.file.sync_data());
                // The send fails if the committer is gone.
                let _ = job.report.send(outcome);
            }
        })?;
        Ok(Syncer { inner: Arc::clone(inner), jobs: Some(jobs), thread: Some(thread) })
    }

    /// Makes what has been written to `pages` durable, in the background.
    pub(super) fn start(&self, pages: Vec<Arc<Page>>) -> FlushOutcome {
        let (report, outcome) = channel();
        self.inner.queue.begin_flush();
        let job = Job { pages, report, _ended: Ended(Arc::clone(&self.inner)) };
        if let Some(jobs) = &self.jobs {
            // Should the thread be gone, so is the sender of the report, and that counts as a failure.
            let _ = jobs.send(job);
        }
        outcome
    }
}

/// Tells the committer when it is dropped, also by a panic.
struct Ended(Arc<SharedInner>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.queue.end_flush();
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
