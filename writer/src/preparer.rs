//! The thread that has the next pages ready before they are needed (D6), trims, and recycles (D1a).
//!
//! ```text
//!   named page in the ring --trim--> scratch file --unshared--> blank (recycled) --name--> ready --> active
//!                                        |                         ^
//!                                        +--somebody maps it       +-- made from nothing
//!                                             stuck: nameless, looked after
//! ```
//!
//! Two pages are kept beyond the ring: one *ready*, with its name, and one *blank*, which only lacks header and
//! name. If pages fill up faster than this thread gets the processor, the appending thread names the blank one
//! itself, which takes it less time than to wait. What takes long (allocating, zeroing) is never between a rotation
//! and its page unless both are gone.

use crate::page::{Blank, Page, PageMold};
use crate::poison::Failure;
use crate::shared_state::Core;
use parking_lot::{Condvar, Mutex, MutexGuard};
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
/// Pages beyond the ring: ready, blank, or on the way from one to the other.
const WAITING_MAX: usize = 2;
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
    blanks: Vec<Blank>,
    /// A page has become active since the start: from now on it is worth while to have another one blank.
    rotated: bool,
    /// The page that becomes ready next.
    next_id: u64,
    /// A page is being made or named, without the lock.
    busy: bool,
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
    core: Arc<Core>,
    mold: PageMold,
}

impl Shared {
    /// Gives `blank` its name. Whoever does that has set `busy`, so that no number is given twice.
    fn name(&self, blank: Blank, id: u64) -> Result<Page, Failure> {
        let counter = if blank.recycled { Counter::RecycledPages } else { Counter::FreshPages };
        let page = self.mold.name(&*self.core.disk, id, blank).map_err(|error| failure(id, error))?;
        self.core.control.publisher().add(counter, 1);
        Ok(page)
    }
}

fn failure(id: u64, error: io::Error) -> Failure {
    Failure::new(format!("preparing page {id}"), error)
}

impl State {
    /// Ends what was begun by setting `busy`.
    fn made(&mut self, outcome: Result<Page, Failure>) {
        self.busy = false;
        self.retry = false;
        match outcome {
            Ok(page) => {
                self.next_id = page.id + 1;
                self.ready = Some(page);
                self.failed = None;
            }
            Err(failure) => self.failed = Some(failure),
        }
    }
}

impl Preparer {
    pub(crate) fn new(core: Arc<Core>, mold: PageMold) -> Preparer {
        let state = Mutex::default();
        Preparer(Arc::new(Shared { state, work: Condvar::new(), done: Condvar::new(), core, mold }))
    }

    /// The page after the active one, which becomes the active one. `true` beside it says that it had to be waited
    /// for, because neither a ready nor a blank one was there.
    pub(crate) fn take(&self) -> Result<(Arc<Page>, bool), Failure> {
        let mut state = self.0.state.lock();
        let mut stalled = false;
        loop {
            if let Some(page) = state.ready.take() {
                let page = Arc::new(page);
                state.begun.push(Arc::clone(&page));
                state.rotated = true;
                self.0.work.notify_one();
                return Ok((page, stalled));
            }
            if !state.busy
                && let Some(blank) = state.blanks.pop()
            {
                state.busy = true;
                let id = state.next_id;
                let named = MutexGuard::unlocked(&mut state, || self.0.name(blank, id));
                let failed = named.as_ref().err().cloned();
                state.made(named);
                self.0.work.notify_one();
                match failed {
                    Some(failure) => return Err(failure),
                    None => continue,
                }
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
        ring_size: usize,
        held: VecDeque<Arc<Page>>,
        ready: Option<Page>,
    ) -> io::Result<thread::JoinHandle<()>> {
        let shared = Arc::clone(&self.0);
        {
            let mut state = shared.state.lock();
            let last = ready.as_ref().map(|page| page.id).or(held.back().map(|page| page.id));
            state.next_id = last.unwrap_or(0) + 1;
            state.ready = ready;
        }
        thread::Builder::new().name("waldo-prepare".into()).spawn(move || {
            let worker = Worker { shared: &shared, ring_size, held, stuck: Vec::new(), made: 0 };
            worker.run();
        })
    }
}

/// A trimmed page, under a scratch name.
struct Trimmed {
    blank: Blank,
    len: u64,
}

struct Worker<'a> {
    shared: &'a Shared,
    ring_size: usize,
    held: VecDeque<Arc<Page>>,
    stuck: Vec<Trimmed>,
    /// Files made from nothing so far, for their names.
    made: u64,
}

/// What there is to do, the most urgent first.
enum Task {
    /// The ready page is gone: name the blank one.
    Name(Blank, u64),
    /// Both are gone. Also the only task on the first lap that anyone may be waiting for.
    Make(u64),
    /// A page is complete. Before it can be trimmed, so that its footer is not written into another page.
    Seal(SealJob),
    /// Pages have become active, so the oldest have to go.
    Trim(Vec<Arc<Page>>),
    /// Nothing could be recycled: make another blank one ahead of time.
    Blank(u64),
}

impl State {
    /// Pages beyond the ring, so that disk use is bounded.
    fn waiting(&self) -> usize {
        usize::from(self.ready.is_some()) + usize::from(self.busy) + self.blanks.len()
    }

    fn wanted(&self) -> usize {
        WAITING_MAX.saturating_sub(self.waiting())
    }

    fn next_task(&mut self) -> Option<Task> {
        let may_make = !self.busy && (self.failed.is_none() || self.retry);
        if self.ready.is_none()
            && may_make
            && let Some(blank) = self.blanks.pop()
        {
            self.busy = true;
            return Some(Task::Name(blank, self.next_id));
        }
        if let Some(job) = self.seals.pop_front() {
            self.sealing = true;
            return Some(Task::Seal(job));
        }
        // Pages are complete by now: whoever stops the writer waits for that, not for the next page.
        if self.stop {
            return None;
        }
        if !self.begun.is_empty() {
            return Some(Task::Trim(std::mem::take(&mut self.begun)));
        }
        if self.ready.is_none() && may_make {
            self.busy = true;
            return Some(Task::Make(self.next_id));
        }
        (self.rotated && self.wanted() > 0 && self.failed.is_none()).then_some(Task::Blank(self.next_id))
    }
}

impl Worker<'_> {
    fn run(mut self) {
        let shared = self.shared;
        let mut state = shared.state.lock();
        loop {
            let Some(task) = state.next_task() else {
                if state.stop {
                    // Nobody finds a use for them; the next start would only have to remove them.
                    state.blanks.drain(..).for_each(|blank| blank.discard(&*shared.core.disk));
                    return;
                }
                if state.failed.is_some() {
                    if shared.work.wait_for(&mut state, RETRY).timed_out() {
                        match state.ready {
                            Some(_) => state.failed = None,
                            None => state.retry = true,
                        }
                    }
                } else {
                    shared.work.wait(&mut state);
                }
                continue;
            };
            match task {
                Task::Name(blank, id) => {
                    let named = MutexGuard::unlocked(&mut state, || shared.name(blank, id));
                    state.made(named);
                }
                Task::Make(id) => {
                    let made = MutexGuard::unlocked(&mut state, || {
                        self.make(id)
                            .map_err(|error| failure(id, error))
                            .and_then(|blank| shared.name(blank, id))
                    });
                    state.made(made);
                }
                Task::Seal(job) => {
                    MutexGuard::unlocked(&mut state, || seal(&job));
                    state.sealing = false;
                }
                Task::Trim(begun) => {
                    self.held.extend(begun);
                    let wanted = state.wanted();
                    let blanks = MutexGuard::unlocked(&mut state, || self.trim(wanted));
                    state.blanks.extend(blanks);
                }
                Task::Blank(id) => match MutexGuard::unlocked(&mut state, || self.make(id)) {
                    Ok(blank) => state.blanks.push(blank),
                    Err(error) => state.failed = Some(failure(id, error)),
                },
            }
            self.count_disk(state.waiting());
            shared.done.notify_all();
        }
    }

    fn make(&mut self, id: u64) -> io::Result<Blank> {
        self.made += 1;
        // Unlike any other name: a blank one made for an id may be named for a later one.
        self.shared.mold.blank(&*self.shared.core.disk, id << 16 | self.made & 0xffff)
    }

    /// Lets the oldest pages go until the ring has its size. Returns those that can be used again, `wanted` at most.
    fn trim(&mut self, wanted: usize) -> Vec<Blank> {
        let core = &self.shared.core;
        let publisher = core.control.publisher();
        let mut blanks = Vec::new();
        while self.held.len() > self.ring_size {
            let Some(page) = self.held.pop_front() else { break };
            let Some(oldest) = self.held.front() else { break };
            // Readers learn first, so that a page that is not found is known to be trimmed.
            publisher.set_oldest_page(oldest.id);
            let scratch = format!("{}trim-{:016x}", names::SCRATCH_PREFIX, page.id);
            if let Err(error) = core.disk.rename(&names::page(page.id), &scratch) {
                tracing::warn!("page {} could not be trimmed: {error}", page.id);
                continue;
            }
            publisher.add(Counter::TrimmedPages, 1);
            let len = page.header.geometry().page_len();
            let file = Arc::clone(&page.file);
            let trimmed = Trimmed { blank: Blank { scratch, file, recycled: true }, len };
            let wanted = blanks.len() < wanted;
            blanks.extend(self.let_go(trimmed, wanted));
        }
        // Stuck pages have no name any more and cannot get one back, so one that is free now is only let go.
        self.stuck.retain(|trimmed| !retire_header(&trimmed.blank));
        publisher.set(Counter::StuckPages, self.stuck.len() as u64);
        blanks
    }

    /// Returns a trimmed page for recycling if it is wanted and nobody else has it, otherwise takes its name away.
    fn let_go(&mut self, trimmed: Trimmed, wanted: bool) -> Option<Blank> {
        let usable = trimmed.len == self.shared.mold.geometry.page_len();
        if wanted && usable && retire_header(&trimmed.blank) {
            return Some(trimmed.blank);
        }
        if let Err(error) = self.shared.core.disk.remove(&trimmed.blank.scratch) {
            tracing::warn!("{} could not be removed: {error}", trimmed.blank.scratch);
        }
        if wanted && usable && self.stuck.len() < STUCK_MAX {
            self.stuck.push(trimmed);
        }
        None
    }

    fn count_disk(&self, waiting: usize) {
        let held: u64 = self.held.iter().map(|page| page.header.geometry().page_len()).sum();
        let waiting = waiting as u64 * self.shared.mold.geometry.page_len();
        self.shared.core.control.publisher().set(Counter::DiskBytes, held + waiting);
    }
}

/// Gives a complete page its footer. If that fails nothing is lost: the records are there, and the next opening
/// reads them instead.
fn seal(job: &SealJob) {
    if let Err(error) = job.page.write_footer(&job.summary, &job.index) {
        tracing::warn!("page {}: no footer written: {error}", job.page.id);
    }
}

/// With the proof that nobody else has the file, makes it no page any more. `false` if there is no such proof.
fn retire_header(blank: &Blank) -> bool {
    let file = &blank.file;
    let outcome = file.if_unshared(&mut || file.write_all_at(&PageHeader::retired_bytes(), 0));
    match outcome {
        Ok(unshared) => unshared,
        Err(error) => {
            tracing::warn!("{} could not be recycled: {error}", blank.scratch);
            false
        }
    }
}
