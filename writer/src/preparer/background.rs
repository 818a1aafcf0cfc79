//! The thread that prepares the next pages before they are needed.
//!
//! Two pages are kept beyond the ring: one *ready*, with its name, and one *blank*, which lacks only header
//! and name. If pages fill up faster than this thread gets a processor, the appending thread names the blank
//! one itself, which takes less time than waiting. A rotation waits for the slow work (a new file, its
//! blocks) only if both pages are gone.

use super::page_pool::{PageFactory, PagePool};
use super::readahead::{self, Readahead, UpcomingRange};
use super::{SealJob, TakenPage, failure};
use crate::clock;
use crate::page::{Blank, Page};
use crate::poison::Failure;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Pages beyond the ring: ready, blank, or on the way from one to the other.
const WAITING_MAX: usize = 2;
/// After a failure the preparer tries again when it is asked, and by itself after this time.
const RETRY: Duration = Duration::from_millis(500);
/// Pages that are too old are looked for at each rotation, and this long after the last look.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Default)]
struct PreparerState {
    ready: Option<Page>,
    blanks: Vec<Blank>,
    /// A page has become active since the start: from now on it is worth while to have another one blank.
    rotated: bool,
    /// The page that becomes ready next.
    next_id: u64,
    /// A page is being made or named, without the lock.
    busy: bool,
    failed: Option<Failure>,
    /// What failed is taking the oldest page out of the ring: as long as there is room, pages can be made.
    untrimmed: bool,
    /// Raised by a thread that wants a failed preparation to be tried again.
    retry: bool,
    seals: VecDeque<SealJob>,
    /// Pages that have become active since the preparer last looked.
    begun: Vec<Arc<Page>>,
    sealing: bool,
    /// The oldest page can leave the ring.
    displaced: bool,
    /// More pages are held than the ring is to have: not the time to make another one ahead.
    overfull: bool,
    /// One page file more would be more than the ring may take.
    full: bool,
    stop: bool,
}

impl PreparerState {
    /// Ends what was begun by setting `busy`.
    fn made(&mut self, outcome: Result<Page, Failure>) {
        self.busy = false;
        self.retry = false;
        self.untrimmed = false;
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

/// The appending thread's side.
pub(crate) struct BackgroundPreparer(Arc<PreparerShared>);

struct PreparerShared {
    state: Mutex<PreparerState>,
    work: Condvar,
    done: Condvar,
    factory: PageFactory,
}

impl PreparerShared {
    /// Gives `blank` its name, which was begun by setting `busy`. If there was no room for that, there may be
    /// now, because the file is gone: the thread makes another one, and the ring gets smaller if it cannot.
    fn name(&self, state: &mut MutexGuard<'_, PreparerState>, blank: Blank, id: u64) {
        let named = MutexGuard::unlocked(state, || self.factory.name(blank, id));
        state.made(named);
        state.failed.take_if(|failure| self.factory.core.goes_on_after(failure.io_error()));
    }
}

impl BackgroundPreparer {
    /// Starts the thread.
    pub(super) fn start(
        factory: PageFactory,
        pool: PagePool,
        ready: Option<Page>,
        next_id: u64,
    ) -> io::Result<(BackgroundPreparer, thread::JoinHandle<()>)> {
        let state = Mutex::new(PreparerState { ready, next_id, ..PreparerState::default() });
        let shared = Arc::new(PreparerShared { state, work: Condvar::new(), done: Condvar::new(), factory });
        let preparer = BackgroundPreparer(Arc::clone(&shared));
        let waiting = Arc::downgrade(&shared);
        let wake = move || {
            if let Some(shared) = waiting.upgrade() {
                // Under the lock, so that a thread that is about to wait already does.
                let _state = shared.state.lock();
                shared.work.notify_one();
            }
        };
        // Each core has one preparer.
        let _ = shared.factory.core.on_durable.set(Box::new(wake));
        let thread = thread::Builder::new().name("waldo-prepare".into()).spawn(move || {
            Worker { shared: &shared, pool, looked: None, readahead: Readahead::default() }.run()
        })?;
        Ok((preparer, thread))
    }

    pub(super) fn take(&self, pages_max: usize) -> Result<Option<TakenPage>, Failure> {
        let mut state = self.0.state.lock();
        let mut stalled = false;
        loop {
            if let Some(page) = state.ready.take() {
                let page = Arc::new(page);
                state.begun.push(Arc::clone(&page));
                state.rotated = true;
                // One wake of the thread for a rotation, not two: the complete page is handed over in a
                // moment. If appends are durable that is after a flush, by when the next page could have its
                // name.
                if self.0.factory.template.durable || state.blanks.is_empty() {
                    self.0.work.notify_one();
                }
                return Ok(Some((page, stalled)));
            }
            if !state.busy
                && let Some(blank) = state.blanks.pop()
            {
                state.busy = true;
                let id = state.next_id;
                self.0.name(&mut state, blank, id);
                self.0.work.notify_one();
                match &state.failed {
                    Some(failure) => return Err(failure.clone()),
                    None => continue,
                }
            }
            // Under the lock, under which the ring becomes smaller.
            if self.0.factory.core.pages_max() < pages_max {
                return Ok(None);
            }
            // While a page is being made that counts, and not what failed before.
            if !state.busy
                && let Some(failure) = state.failed.clone()
            {
                if state.retry || stalled {
                    return Err(failure);
                }
                // The preparation failed before the page was needed; the cause may be gone now.
                state.failed = None;
                state.retry = true;
            }
            stalled = true;
            self.0.work.notify_one();
            self.0.done.wait(&mut state);
        }
    }

    pub(super) fn seal(&self, job: SealJob) {
        self.0.state.lock().seals.push_back(job);
        self.0.work.notify_one();
    }

    pub(super) fn settle(&self) {
        let mut state = self.0.state.lock();
        while (!state.seals.is_empty() || state.sealing) && !state.stop {
            self.0.done.wait(&mut state);
        }
    }

    pub(super) fn stop(&self) {
        self.0.state.lock().stop = true;
        self.0.work.notify_all();
        self.0.done.notify_all();
    }
}

struct Worker<'a> {
    shared: &'a PreparerShared,
    pool: PagePool,
    /// When it was last asked which pages are too old.
    looked: Option<Instant>,
    readahead: Readahead,
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

impl PreparerState {
    /// Pages beyond the ring, so that disk use is bounded.
    fn waiting(&self) -> usize {
        usize::from(self.ready.is_some()) + usize::from(self.busy) + self.blanks.len()
    }

    fn wanted(&self) -> usize {
        WAITING_MAX.saturating_sub(self.waiting())
    }

    /// Whether the appending thread waits, or soon will.
    fn is_urgent(&self) -> bool {
        self.stop || self.ready.is_none() || !self.seals.is_empty() || !self.begun.is_empty()
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
        // The pages are complete: the thread that stops the writer waits for that, not for the next page.
        if self.stop {
            return None;
        }
        if !self.begun.is_empty() || (self.displaced && (self.failed.is_none() || self.retry)) {
            return Some(Task::Trim(std::mem::take(&mut self.begun)));
        }
        let may_make = may_make || (!self.busy && self.untrimmed);
        if self.ready.is_none() && may_make && !self.full {
            self.busy = true;
            return Some(Task::Make(self.next_id));
        }
        let may_blank = self.rotated && !self.overfull && self.failed.is_none();
        (may_blank && self.wanted() > 0).then_some(Task::Blank(self.next_id))
    }
}

impl Worker<'_> {
    fn run(mut self) {
        let shared = self.shared;
        let mut state = shared.state.lock();
        loop {
            if self.looked.is_none_or(|looked| looked.elapsed() >= CLOCK_INTERVAL) {
                self.look_at_clock();
            }
            state.displaced = self.pool.is_displaced();
            state.overfull = self.pool.is_overfull();
            state.full = self.pool.is_full(state.waiting());
            let Some(task) = state.next_task() else {
                if state.stop {
                    // These files have no use; the next start would only have to remove them.
                    state.blanks.drain(..).for_each(|blank| blank.discard(&*shared.factory.core.disk));
                    return;
                }
                if state.failed.is_some() {
                    if shared.work.wait_for(&mut state, RETRY).timed_out() {
                        match state.ready {
                            Some(_) => state.failed = None,
                            None => state.retry = true,
                        }
                    }
                } else if shared.work.wait_for(&mut state, readahead::LOOK_INTERVAL).timed_out()
                    && !state.is_urgent()
                {
                    self.read_ahead(&mut state);
                }
                continue;
            };
            match task {
                Task::Name(blank, id) => shared.name(&mut state, blank, id),
                Task::Make(id) => self.make(&mut state, id),
                Task::Seal(job) => {
                    MutexGuard::unlocked(&mut state, || job.seal());
                    self.pool.complete(job.page.id, job.summary.last_time_ns);
                    state.sealing = false;
                }
                Task::Trim(begun) => self.trim(&mut state, begun),
                Task::Blank(id) => match MutexGuard::unlocked(&mut state, || self.pool.make(id)) {
                    Ok(blank) => state.blanks.push(blank),
                    // Somebody may need a page by now: what holds then is what holds for a page that is made.
                    Err(error) => {
                        let waiting = state.waiting() + state.begun.len();
                        if state.ready.is_some() || !self.pool.shrink(waiting, &error) {
                            state.untrimmed = false;
                            state.failed = Some(failure(id, error));
                        }
                    }
                },
            }
            self.pool.count_disk(state.waiting());
            shared.done.notify_all();
        }
    }

    /// Makes the next page from nothing.
    fn make(&mut self, state: &mut MutexGuard<'_, PreparerState>, id: u64) {
        let made = MutexGuard::unlocked(state, || {
            let blank = self.pool.make(id).map_err(|error| failure(id, error))?;
            self.shared.factory.name(blank, id)
        });
        let failed = made.as_ref().err().cloned();
        state.made(made);
        // If the ring becomes smaller then, its oldest pages are trimmed, and nothing has failed.
        let waiting = state.waiting() + state.begun.len();
        if failed.is_some_and(|failure| self.pool.shrink(waiting, failure.io_error())) {
            state.failed = None;
        }
    }

    /// Takes pages that have become active into the ring, and lets the oldest go.
    fn trim(&mut self, state: &mut MutexGuard<'_, PreparerState>, begun: Vec<Arc<Page>>) {
        self.pool.begin(begun);
        self.look_at_clock();
        let (wanted, next_id) = (state.wanted(), state.next_id);
        let (blanks, failed, grown) = MutexGuard::unlocked(state, || {
            let grown = if wanted > 0 { self.pool.grow(next_id) } else { None };
            let (blanks, failed) = self.pool.trim(wanted - usize::from(grown.is_some()));
            (blanks, failed, grown)
        });
        state.blanks.extend(blanks.into_iter().chain(grown));
        if failed.is_some() || state.retry {
            state.retry = false;
            // A writer that has failed makes nothing any more.
            let unfailed = self.shared.factory.core.check_unfailed().is_ok();
            state.untrimmed = failed.is_some() && unfailed;
            state.failed = failed;
        }
    }

    fn look_at_clock(&mut self) {
        self.looked = Some(Instant::now());
        self.pool.look_at_clock(clock::realtime_ns());
    }

    /// Sees to it that what the log is about to reach is in the page cache.
    fn read_ahead(&mut self, state: &mut MutexGuard<'_, PreparerState>) {
        let end = self.shared.factory.core.committed();
        let Some(active) = self.pool.active(end.page()) else { return };
        let range = |page: &Page, from: u64| UpcomingRange {
            file: Arc::clone(&page.file),
            from,
            // Reading bytes that were never written would gain nothing, and would make folios in which small
            // appends are slow.
            to: page.header.geometry().records_limit().min(page.unwritten()),
        };
        let mut ranges = vec![range(active, end.offset().into())];
        ranges.extend(state.ready.as_ref().map(|page| range(page, 0)));
        let distance = self.readahead.distance(end, self.shared.factory.template.geometry.page_len());
        // If the page cannot be read, the append that gets there will report it.
        let may_go_on = || !self.shared.state.lock().is_urgent();
        let read = MutexGuard::unlocked(state, || readahead::read_missing(&ranges, distance, may_go_on));
        match &read {
            Ok(0) => {}
            Ok(read) => tracing::debug!("{read} bytes ahead of the log had left the page cache"),
            Err(error) if self.readahead.failed => {
                tracing::debug!("still cannot read ahead of the log: {error}")
            }
            Err(error) => tracing::warn!("cannot read ahead of the log: {error}"),
        }
        self.readahead.failed = read.is_err();
    }
}

#[cfg(test)]
mod tests;
