//! One thread per ring and process, which sleeps on behalf of all asynchronous streams of the process.

pub(crate) mod process_waiter;
pub(crate) mod sleepers;

use crate::clock::jittered;
use crate::error::ReadError;
use crate::options::Visibility;
use crate::source::Observed;
use crate::source::attached_ring::AttachedRing;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

/// Longest sleep: how long the thread may outlive the last stream, and how late a stream learns of something
/// that ended by time alone, which nobody is woken for.
const SLICE: Duration = Duration::from_secs(1);

/// One stream's place among the sleepers.
#[derive(Debug)]
pub(crate) struct Ticket {
    ring: Arc<AttachedRing>,
    visibility: Visibility,
    /// The place, and the process that it is a place in.
    number: usize,
    pid: u32,
}

impl Ticket {
    pub(crate) fn new(ring: Arc<AttachedRing>, visibility: Visibility) -> Ticket {
        let (number, pid) = enter(&ring, visibility);
        Ticket { ring, visibility, number, pid }
    }

    /// Calls `waker` once when the ring has changed since before this call. The caller must look for records
    /// after this call, or it misses a change in between.
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
            let thread = std::thread::Builder::new()
                .name("waldo-waiter".to_owned())
                .spawn(move || run(&ring))
                .map_err(|e| ReadError::io(&self.ring.home, e))?;
            inner.thread = Some(thread.thread().clone());
            inner.running = true;
        }
        waiter.count_those_who_wait(&inner);
        // SYNC(told-streams): as in `Waiter::tell`.
        fence(Ordering::SeqCst);
        drop(inner);
        // As in `drop`.
        drop(before);
        Ok(())
    }
}

fn enter(ring: &AttachedRing, visibility: Visibility) -> (usize, u32) {
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
        let mut inner = waiter.lock();
        let waker = inner.sleepers.leave(self.number);
        waiter.count_those_who_wait(&inner);
        drop(inner);
        // Outside the lock: dropping a waker may run code of the runtime, which may drop another stream.
        drop(waker);
    }
}

/// Everything that a stream may have to be woken for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Watched {
    observed: Observed,
    /// Whether the writer has been seen alive lately: a stream that waits for a writer to mend the files goes
    /// on without it once that writer has died. Nothing in the segment changes then; time passes.
    alive: bool,
}

impl Watched {
    fn only_more_is_durable_than(&self, before: &Watched) -> bool {
        self.alive == before.alive && self.observed.only_more_is_durable_than(&before.observed)
    }
}

fn run(ring: &Weak<AttachedRing>) {
    let mut seen: Option<Watched> = None;
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
        let token = attachment.wake_token();
        let mut attended = ring.attend(&attachment);
        if attended.is_ok() && Instant::now() >= next_check {
            next_check = Instant::now() + jittered(ring.options.check_interval);
            attended = ring.refresh(&attachment);
        }
        let now = attended
            .as_ref()
            .ok()
            .map(|attached| Watched { observed: attached.observe(), alive: attached.alive(&ring.options) });
        // After an error it is unknown what has changed: each stream has to find out by itself.
        if now.is_none() || seen != now {
            let flushed = now.zip(seen).is_some_and(|(now, seen)| now.only_more_is_durable_than(&seen));
            seen = now;
            // A flush is news for few streams: most have seen the records long before.
            let both = [Visibility::Durable, Visibility::Committed];
            waiter.wake(if flushed { &both[..1] } else { &both }, &mut room);
        }
        if attended.is_ok_and(|fresh| fresh.generation != attachment.generation) {
            continue;
        }
        // Who was told in the process that this one was forked from is not told here.
        let is_told = ring.options.streams_are_told && std::ptr::eq(waiter, &ring.waiter);
        drop(ring);
        if is_told {
            std::thread::park_timeout(SLICE);
        } else {
            attachment.sleep(token, SLICE, None);
        }
    }
}
