//! One thread per ring and process that sleeps for all asynchronous streams of the process together.

use crate::attach::RingInner;
use crate::clock::jittered;
use crate::error::ReadError;
use crate::futex;
use crate::source::{Observed, Source};
use std::collections::HashMap;
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
    streams: usize,
    running: bool,
    next_id: u64,
    wakers: HashMap<u64, Waker>,
}

/// One stream's place among the sleepers.
#[derive(Debug)]
pub(crate) struct Ticket {
    ring: Arc<RingInner>,
    id: u64,
}

impl Ticket {
    pub(crate) fn new(ring: Arc<RingInner>) -> Ticket {
        let mut inner = ring.waiter.lock();
        inner.streams += 1;
        inner.next_id += 1;
        let id = inner.next_id;
        drop(inner);
        Ticket { ring, id }
    }

    /// Has `waker` called once when something about the ring has changed since before this call. The caller
    /// must look for records after it, or a change in between is missed.
    ///
    /// # Errors
    /// [`ReadError::Io`] if the thread cannot be started.
    pub(crate) fn register(&self, waker: &Waker) -> Result<(), ReadError> {
        let mut inner = self.ring.waiter.lock();
        let entry = inner.wakers.entry(self.id).or_insert_with(|| waker.clone());
        entry.clone_from(waker);
        if !inner.running {
            let ring = Arc::downgrade(&self.ring);
            std::thread::Builder::new()
                .name("waldo-waiter".to_owned())
                .spawn(move || run(&ring))
                .map_err(|e| ReadError::io(&self.ring.home, e))?;
            inner.running = true;
        }
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inner = self.ring.waiter.lock();
        inner.streams -= 1;
        let waker = inner.wakers.remove(&self.id);
        drop(inner);
        // Outside the lock: dropping a waker may run code of the runtime, which may drop another stream.
        drop(waker);
    }
}

impl Waiter {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Counts and wakers agree between any two statements.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is nobody left to wait for; the thread must end if so.
    fn finished(&self) -> bool {
        let mut inner = self.lock();
        inner.running = inner.streams > 0;
        !inner.running
    }

    #[cfg(test)]
    pub(crate) fn is_running(&self) -> bool {
        self.lock().running
    }

    fn wake_all(&self) {
        let wakers = std::mem::take(&mut self.lock().wakers);
        for (_, waker) in wakers {
            waker.wake();
        }
    }
}

fn run(ring: &Weak<RingInner>) {
    let mut seen: Option<Observed> = None;
    let mut next_check = Instant::now();
    loop {
        // Held only while awake, so that a sleeping thread does not keep the ring attached.
        let Some(ring) = ring.upgrade() else { return };
        if ring.waiter.finished() {
            return;
        }
        let attachment = ring.current();
        let token = match &attachment.source {
            Source::Control(control) => control.segment().wake_token(std::process::id()),
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
            seen = now;
            ring.waiter.wake_all();
        }
        if attended.is_ok_and(|fresh| fresh.generation != attachment.generation) {
            continue;
        }
        drop(ring);
        match &attachment.source {
            Source::Control(control) => {
                futex::wait(control.segment().wake_word(std::process::id()), token, SLICE);
            }
            Source::Files(files) => std::thread::sleep(files.pause()),
        }
    }
}
