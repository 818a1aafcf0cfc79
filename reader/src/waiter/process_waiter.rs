//! The streams of one ring in one process, and whether the thread that wakes them runs.

use super::sleepers::Sleepers;
use crate::options::Visibility;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::thread::Thread;

/// The streams of one ring, and the thread that wakes them, in one process.
///
/// A child process gets a copy of this memory by `fork`, but no copy of the thread, and the mutex may have
/// been locked by a thread that the child does not have. So a child never touches its parent's entry: it
/// finds, or makes, the entry of its own process at the end of the chain.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// The process that this belongs to.
    pub(super) pid: u32,
    inner: Mutex<WaiterState>,
    /// Number of waiting streams, readable without the lock.
    waiting: AtomicUsize,
    /// That of a child process; only ever set in the memory of the child.
    child: OnceLock<Box<Waiter>>,
}

#[derive(Debug, Default)]
pub(super) struct WaiterState {
    pub(super) running: bool,
    /// The thread that was started last.
    pub(super) thread: Option<Thread>,
    pub(super) sleepers: Sleepers,
}

impl Default for Waiter {
    fn default() -> Waiter {
        Waiter {
            pid: process::id(),
            inner: Mutex::default(),
            waiting: AtomicUsize::new(0),
            child: OnceLock::new(),
        }
    }
}

impl Waiter {
    /// The one of this process.
    pub(super) fn here(&self) -> &Waiter {
        let (pid, mut waiter) = (process::id(), self);
        while waiter.pid != pid {
            waiter = waiter.child.get_or_init(Box::default);
        }
        waiter
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WaiterState> {
        // Nothing that is done under the lock can fail half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no stream is left; the thread must end if so.
    pub(super) fn finished(&self) -> bool {
        let mut inner = self.lock();
        inner.running = inner.sleepers.streams() > 0;
        !inner.running
    }

    #[cfg(test)]
    pub(crate) fn is_running(&self) -> bool {
        self.lock().running
    }

    /// Streams that wait now.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().sleepers.waiting()
    }

    /// Wakes the streams that can see these records. `room` is empty, before and after.
    pub(super) fn wake(&self, visibilities: &[Visibility], room: &mut Vec<Waker>) {
        let mut inner = self.lock();
        visibilities.iter().for_each(|visibility| inner.sleepers.take(*visibility, usize::MAX, room));
        self.count_those_who_wait(&inner);
        drop(inner);
        room.drain(..).for_each(wake);
    }

    /// Wakes up to `max` waiting streams on this thread, and leaves the others, if there are any, to the
    /// waiting thread. Costs one fence and one load if no stream waits. Returns whether this thread woke any.
    pub(crate) fn tell(&self, max: usize) -> bool {
        // SYNC(told-streams): either this load sees a stream that has registered, or the stream's look after
        // that sees what was published before: both sides store, fence, load.
        fence(Ordering::SeqCst);
        self.waiting.load(Ordering::Relaxed) > 0 && self.here().wake_a_few(max)
    }

    #[cold]
    fn wake_a_few(&self, max: usize) -> bool {
        let mut few = Vec::with_capacity(max);
        let mut inner = self.lock();
        inner.sleepers.take(Visibility::Committed, max, &mut few);
        self.count_those_who_wait(&inner);
        // Those who wait for durable records, too: the thread knows whether this is news for them.
        let thread = (inner.sleepers.waiting() > 0).then(|| inner.thread.clone()).flatten();
        drop(inner);
        if let Some(thread) = thread {
            thread.unpark();
        }
        let any = !few.is_empty();
        few.into_iter().for_each(wake);
        any
    }

    /// Must be called before the lock is released, by a thread that has changed the number of waiting
    /// streams.
    pub(super) fn count_those_who_wait(&self, state: &WaiterState) {
        self.waiting.store(state.sleepers.waiting(), Ordering::Relaxed);
    }
}

/// A waker is the client's code. One that panics must not take the thread from all other streams.
fn wake(waker: Waker) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        // The panic hook has reported it. The payload is the client's too: its destructor might panic again.
        std::mem::forget(panic);
    }
}
