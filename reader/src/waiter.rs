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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

/// Longest sleep: how long the thread may outlive the last stream.
const SLICE: Duration = Duration::from_secs(1);

/// The streams of one ring, and the thread that wakes them.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    inner: Mutex<Inner>,
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
    number: usize,
}

impl Ticket {
    pub(crate) fn new(ring: Arc<RingInner>, visibility: Visibility) -> Ticket {
        let number = ring.waiter.lock().sleepers.enter(visibility);
        Ticket { ring, number }
    }

    /// Has `waker` called once when something about the ring has changed since before this call. The caller
    /// must look for records after it, or a change in between is missed.
    ///
    /// # Errors
    /// [`ReadError::Io`] if the thread cannot be started.
    pub(crate) fn register(&self, waker: &Waker) -> Result<(), ReadError> {
        let waker = waker.clone();
        let mut inner = self.ring.waiter.lock();
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

impl Drop for Ticket {
    fn drop(&mut self) {
        let waker = self.ring.waiter.lock().sleepers.leave(self.number);
        // Outside the lock: dropping a waker may run code of the runtime, which may drop another stream.
        drop(waker);
    }
}

impl Waiter {
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
        room.drain(..).for_each(Waker::wake);
    }
}

fn run(ring: &Weak<RingInner>) {
    let mut seen: Option<Observed> = None;
    let mut next_check = Instant::now();
    let mut room = Vec::new();
    loop {
        // Held only while awake, so that a sleeping thread does not keep the ring attached.
        let Some(ring) = ring.upgrade() else { return };
        if ring.waiter.finished() {
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
        let now = attended.as_ref().ok().map(|attachment| attachment.observe());
        // With an error nobody knows what has changed: each stream is to find out by itself.
        if now.is_none() || seen != now {
            let flushed = now.zip(seen).is_some_and(|(now, seen)| now.only_more_is_durable_than(&seen));
            seen = now;
            // A flush is news for few: most streams see records long before.
            let both = [Visibility::Durable, Visibility::Committed];
            ring.waiter.wake(if flushed { &both[..1] } else { &both }, &mut room);
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
