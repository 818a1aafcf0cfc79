//! One thread per ring and process that sleeps for all asynchronous streams of the process together.

mod sleepers;

use crate::attach::RingInner;
use crate::clock;
use crate::clock::jittered;
use crate::error::ReadError;
use crate::futex;
use crate::options::Visibility;
use crate::source::{Observed, Source};
use sleepers::Sleepers;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

/// Longest sleep: how long the thread may outlive the last stream, and how late a stream learns of something
/// that ended by time alone, which nobody is woken for.
const SLICE: Duration = Duration::from_secs(1);

/// The streams of one ring, and the thread that wakes them, in one process.
///
/// A child process gets a copy of this memory by `fork`, but no copy of the thread, and the mutex may have
/// been locked by a thread that the child does not have. So a child never touches what belongs to its parent:
/// it finds, or makes, the entry of its own process at the end of the chain.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// The process that this belongs to.
    pid: u32,
    inner: Mutex<Inner>,
    /// That of a child process; only ever set in the memory of the child.
    child: OnceLock<Box<Waiter>>,
}

#[derive(Debug, Default)]
struct Inner {
    running: bool,
    sleepers: Sleepers,
}

/// One stream's place among the sleepers.
#[derive(Debug)]
pub(crate) struct Ticket {
    ring: Arc<RingInner>,
    visibility: Visibility,
    /// The place, and the process that it is a place in.
    number: usize,
    pid: u32,
}

impl Ticket {
    pub(crate) fn new(ring: Arc<RingInner>, visibility: Visibility) -> Ticket {
        let (number, pid) = enter(&ring, visibility);
        Ticket { ring, visibility, number, pid }
    }

    /// Has `waker` called once when something about the ring has changed since before this call. The caller
    /// must look for records after it, or a change in between is missed.
    ///
    /// # Errors
    /// [`ReadError::Io`] if the thread cannot be started.
    pub(crate) fn register(&mut self, waker: &Waker) -> Result<(), ReadError> {
        let waker = waker.clone();
        let waiter = self.ring.waiter.here();
        if waiter.pid != self.pid {
            // The stream has come here by a fork.
            (self.number, self.pid) = enter(&self.ring, self.visibility);
        }
        let mut inner = waiter.lock();
        let before = inner.sleepers.wait(self.number, waker);
        if !inner.running {
            let ring = Arc::downgrade(&self.ring);
            std::thread::Builder::new()
                .name("waldo-waiter".to_owned())
                .spawn(move || run(&ring))
                .map_err(|e| ReadError::io(&self.ring.home, e))?;
            inner.running = true;
        }
        drop(inner);
        // As in `drop`.
        drop(before);
        Ok(())
    }
}

fn enter(ring: &RingInner, visibility: Visibility) -> (usize, u32) {
    let waiter = ring.waiter.here();
    (waiter.lock().sleepers.enter(visibility), waiter.pid)
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let waiter = self.ring.waiter.here();
        if waiter.pid != self.pid {
            // The place is in the memory of the parent process.
            return;
        }
        let waker = waiter.lock().sleepers.leave(self.number);
        // Outside the lock: dropping a waker may run code of the runtime, which may drop another stream.
        drop(waker);
    }
}

impl Default for Waiter {
    fn default() -> Waiter {
        Waiter { pid: process::id(), inner: Mutex::default(), child: OnceLock::new() }
    }
}

impl Waiter {
    /// The one of this process.
    fn here(&self) -> &Waiter {
        let (pid, mut waiter) = (process::id(), self);
        while waiter.pid != pid {
            waiter = waiter.child.get_or_init(Box::default);
        }
        waiter
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that is done under the lock can fail half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is nobody left to wait for; the thread must end if so.
    fn finished(&self) -> bool {
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

    /// Wakes those who see these records. `room` is empty, before and after.
    fn wake(&self, visibilities: &[Visibility], room: &mut Vec<Waker>) {
        let mut inner = self.lock();
        visibilities.iter().for_each(|visibility| inner.sleepers.take(*visibility, room));
        drop(inner);
        for waker in room.drain(..) {
            // A waker is the client's code. One that panics must not take the thread from all other streams.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                // The panic hook has reported it. The payload is the client's too: its destructor might panic
                // again.
                std::mem::forget(panic);
            }
        }
    }
}

/// Everything that a stream may have to be woken for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    observed: Observed,
    /// Whether the writer has been seen alive lately: a stream that waits for a writer to mend the files goes
    /// on without it once that writer has died. Nothing in the segment changes then; time passes.
    alive: bool,
}

impl Seen {
    fn only_more_is_durable_than(&self, before: &Seen) -> bool {
        self.alive == before.alive && self.observed.only_more_is_durable_than(&before.observed)
    }
}

fn run(ring: &Weak<RingInner>) {
    let mut seen: Option<Seen> = None;
    let mut next_check = Instant::now();
    let mut room = Vec::new();
    loop {
        // Held only while awake, so that a sleeping thread does not keep the ring attached.
        let Some(ring) = ring.upgrade() else { return };
        let waiter = ring.waiter.here();
        if waiter.finished() {
            return;
        }
        let attachment = ring.current();
        let token = match &attachment.source {
            Source::Control(control) => control.segment().wake_token(clock::process_number()),
            Source::Files(_) => 0,
        };
        let mut attended = ring.attend(&attachment);
        if attended.is_ok() && Instant::now() >= next_check {
            next_check = Instant::now() + jittered(ring.options.check_interval);
            attended = ring.refresh(&attachment);
        }
        let now = attended
            .as_ref()
            .ok()
            .map(|attached| Seen { observed: attached.observe(), alive: attached.alive(&ring.options) });
        // With an error nobody knows what has changed: each stream is to find out by itself.
        if now.is_none() || seen != now {
            let flushed = now.zip(seen).is_some_and(|(now, seen)| now.only_more_is_durable_than(&seen));
            seen = now;
            // A flush is news for few: most streams see records long before.
            let both = [Visibility::Durable, Visibility::Committed];
            waiter.wake(if flushed { &both[..1] } else { &both }, &mut room);
        }
        if attended.is_ok_and(|fresh| fresh.generation != attachment.generation) {
            continue;
        }
        drop(ring);
        match &attachment.source {
            Source::Control(control) => {
                let word = control.segment().wake_word(clock::process_number());
                futex::wait(word, token, attachment.slice(SLICE));
            }
            Source::Files(files) => std::thread::sleep(files.pause()),
        }
    }
}
