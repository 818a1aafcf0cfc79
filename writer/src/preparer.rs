//! The thread that has the next page ready before it is needed (D6), trims, and recycles (D1a).
//!
//! ```text
//!   named page in the ring --trim--> scratch file --unshared--> next page (recycled)
//!                                        |
//!                                        +--somebody maps it--> stuck: nameless, tried again later
//! ```

use crate::page::{Page, PageMold};
use crate::poison::Failure;
use crate::shared_state::Core;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use waldo_shm_protocol::names;
use waldo_shm_protocol::page::{IndexEntry, PageHeader, PageSummary};
use waldo_shm_protocol::segment::Counter;

/// Trimmed pages that somebody maps and that are kept an eye on; more than these are let go of at once.
const STUCK_MAX: usize = 64;
/// After a failure the preparer tries again when it is asked, and by itself after this time.
const RETRY: Duration = Duration::from_millis(500);

/// A page that is complete, to be given its footer.
pub(crate) struct SealJob {
    pub(crate) page: Arc<Page>,
    pub(crate) summary: PageSummary,
    pub(crate) index: Vec<IndexEntry>,
}

#[derive(Default)]
struct State {
    ready: Option<Page>,
    failed: Option<Failure>,
    /// Raised by whoever wants a failed preparation tried again.
    retry: bool,
    seals: VecDeque<SealJob>,
    /// Pages that have become active since the preparer last looked.
    begun: Vec<Arc<Page>>,
    sealing: bool,
    stop: bool,
}

/// The appending thread's side.
#[derive(Clone)]
pub(crate) struct Preparer(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

impl Preparer {
    pub(crate) fn new() -> Preparer {
        Preparer(Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), done: Condvar::new() }))
    }

    /// The page after the active one, which becomes the active one. Waits for it if it is not ready; `stalled`
    /// tells whether that was so.
    pub(crate) fn take(&self) -> Result<(Arc<Page>, bool), Failure> {
        let mut state = self.0.state.lock();
        let mut stalled = false;
        loop {
            if let Some(page) = state.ready.take() {
                let page = Arc::new(page);
                state.begun.push(Arc::clone(&page));
                self.0.work.notify_one();
                return Ok((page, stalled));
            }
            if let Some(failure) = state.failed.clone() {
                if state.retry || stalled {
                    return Err(failure);
                }
                // It failed before anyone needed it; things may have changed since.
                state.failed = None;
                state.retry = true;
            }
            stalled = true;
            self.0.work.notify_one();
            self.0.done.wait(&mut state);
        }
    }

    /// Hands over a complete page.
    pub(crate) fn seal(&self, job: SealJob) {
        self.0.state.lock().seals.push_back(job);
        self.0.work.notify_one();
    }

    /// Waits until every page handed over has its footer.
    pub(crate) fn settle(&self) {
        let mut state = self.0.state.lock();
        while (!state.seals.is_empty() || state.sealing) && !state.stop {
            self.0.done.wait(&mut state);
        }
    }

    pub(crate) fn stop(&self) {
        self.0.state.lock().stop = true;
        self.0.work.notify_all();
        self.0.done.notify_all();
    }

    /// Starts the thread. `held` are the ring's pages, the oldest first and the active one last.
    pub(crate) fn start(
        &self,
        core: Arc<Core>,
        mold: PageMold,
        ring_size: usize,
        held: VecDeque<Arc<Page>>,
        ready: Option<Page>,
    ) -> io::Result<thread::JoinHandle<()>> {
        let shared = Arc::clone(&self.0);
        let mut next_id = held.back().map_or(1, |page| page.id + 1);
        if let Some(page) = ready {
            next_id = page.id + 1;
            shared.state.lock().ready = Some(page);
        }
        let worker = Worker { core, mold, ring_size, held, stuck: Vec::new(), spare: None, next_id };
        thread::Builder::new().name("waldo-prepare".into()).spawn(move || run(&shared, worker))
    }
}

/// A file that was a page, under a scratch name if it still has one.
struct Trimmed {
    scratch: String,
    file: Arc<dyn crate::disk::DiskFile>,
    len: u64,
}

struct Worker {
    core: Arc<Core>,
    mold: PageMold,
    ring_size: usize,
    held: VecDeque<Arc<Page>>,
    stuck: Vec<Trimmed>,
    /// A trimmed page that is proven unshared and waits to be used again.
    spare: Option<Trimmed>,
    next_id: u64,
}

fn run(shared: &Shared, mut worker: Worker) {
    let mut state = shared.state.lock();
    loop {
        if let Some(job) = state.seals.pop_front() {
            state.sealing = true;
            drop(state);
            worker.seal(&job);
            state = shared.state.lock();
            state.sealing = false;
            shared.done.notify_all();
            continue;
        }
        // Pages are complete by now: whoever stops the writer waits for that, not for the next page.
        if state.stop {
            return;
        }
        let begun = std::mem::take(&mut state.begun);
        if !begun.is_empty() || (state.ready.is_none() && (state.failed.is_none() || state.retry)) {
            let wanted = state.ready.is_none();
            drop(state);
            worker.held.extend(begun);
            worker.trim();
            let prepared = wanted.then(|| worker.prepare());
            state = shared.state.lock();
            state.retry = false;
            match prepared {
                Some(Ok(page)) => {
                    state.ready = Some(page);
                    state.failed = None;
                }
                Some(Err(error)) => {
                    let action = format!("preparing page {}", worker.next_id);
                    state.failed = Some(Failure::new(action, error));
                }
                None => {}
            }
            shared.done.notify_all();
            continue;
        }
        if state.failed.is_some() {
            if shared.work.wait_for(&mut state, RETRY).timed_out() {
                state.retry = true;
            }
        } else {
            shared.work.wait(&mut state);
        }
    }
}

impl Worker {
    /// Gives a complete page its footer. If that fails nothing is lost: the records are there, and the next
    /// opening reads them instead.
    fn seal(&self, job: &SealJob) {
        if let Err(error) = job.page.write_footer(&job.summary, &job.index) {
            tracing::warn!("page {}: no footer written: {error}", job.page.id);
        }
    }

    /// Lets the oldest pages go until the ring has its size.
    fn trim(&mut self) {
        let core = Arc::clone(&self.core);
        let publisher = core.control.publisher();
        while self.held.len() > self.ring_size {
            let Some(page) = self.held.pop_front() else { break };
            let Some(oldest) = self.held.front() else { break };
            // Readers learn first, so that a page that is not found is known to be trimmed.
            publisher.set_oldest_page(oldest.id);
            let scratch = format!("{}trim-{:016x}", names::SCRATCH_PREFIX, page.id);
            if let Err(error) = self.core.disk.rename(&names::page(page.id), &scratch) {
                tracing::warn!("page {} could not be trimmed: {error}", page.id);
                continue;
            }
            publisher.add(Counter::TrimmedPages, 1);
            let len = page.header.geometry().page_len();
            self.let_go(Trimmed { scratch, file: Arc::clone(&page.file), len });
        }
        self.retry_stuck();
        publisher.set(Counter::StuckPages, self.stuck.len() as u64);
        let disk: u64 = self.held.iter().map(|page| page.header.geometry().page_len()).sum();
        publisher.set(Counter::DiskBytes, disk + self.spare.as_ref().map_or(0, |spare| spare.len));
    }

    /// Keeps a trimmed page for recycling if nobody else has it, otherwise takes its name away.
    fn let_go(&mut self, trimmed: Trimmed) {
        let wanted = self.spare.is_none() && trimmed.len == self.mold.geometry.page_len();
        if wanted && retire_header(&trimmed) {
            self.spare = Some(trimmed);
            return;
        }
        if let Err(error) = self.core.disk.remove(&trimmed.scratch) {
            tracing::warn!("{} could not be removed: {error}", trimmed.scratch);
        }
        if wanted && self.stuck.len() < STUCK_MAX {
            self.stuck.push(trimmed);
        }
    }

    /// Stuck pages have no name any more and cannot get one back, so one that is free now is only let go.
    fn retry_stuck(&mut self) {
        self.stuck.retain(|trimmed| !retire_header(trimmed));
    }

    fn prepare(&mut self) -> io::Result<Page> {
        let id = self.next_id;
        let disk = &*self.core.disk;
        let page = match self.spare.take() {
            Some(spare) => {
                let page = self.mold.recycled(disk, id, &spare.scratch, Arc::clone(&spare.file));
                if page.is_err() {
                    // Half made, so unusable; a fresh one is tried next time.
                    let _ = disk.remove(&spare.scratch);
                }
                self.core.control.publisher().add(Counter::RecycledPages, 1);
                page?
            }
            None => {
                let page = self.mold.fresh(disk, id)?;
                self.core.control.publisher().add(Counter::FreshPages, 1);
                page
            }
        };
        self.next_id += 1;
        Ok(page)
    }
}

/// With the proof that nobody else has the file, makes it no page any more. `false` if there is no such proof.
fn retire_header(trimmed: &Trimmed) -> bool {
    let file = &trimmed.file;
    let outcome = file.if_unshared(&mut || file.write_all_at(&PageHeader::retired_bytes(), 0));
    match outcome {
        Ok(unshared) => unshared,
        Err(error) => {
            tracing::warn!("{} could not be recycled: {error}", trimmed.scratch);
            false
        }
    }
}
