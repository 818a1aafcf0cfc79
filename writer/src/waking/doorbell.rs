//! How a publishing thread gets the notifier's attention: free of charge while the notifier is awake.

use super::futex;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::time::Duration;

/// Rung by publishing threads, answered by the notifier.
#[derive(Debug, Default)]
pub(super) struct Doorbell {
    /// 1 while the notifier sleeps until it is rung, 0 while it looks by itself. On a cache line of its own:
    /// publishing threads load it with each publication, and other words change at their pace.
    asleep: CachePadded<AtomicU32>,
    stop: AtomicBool,
}

impl Doorbell {
    /// Whether the notifier sleeps. To be asked after something was published; costs a fence and a load.
    #[inline]
    pub(super) fn notifier_sleeps(&self) -> bool {
        // SYNC(doorbell): either this load sees that the notifier is going to sleep, or the notifier's last
        // look sees what was published: both sides store, fence, load.
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) == 1
    }

    /// Wakes the notifier if it sleeps.
    pub(super) fn ring(&self) {
        if self.asleep.swap(0, Ordering::Relaxed) == 1 {
            futex::wake(&self.asleep, 1);
        }
    }

    /// Asks the notifier to end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst); // SYNC(doorbell): as in `notifier_sleeps`
        self.ring();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The notifier sleeps until it is rung, for `timeout` at most; not at all if something `is_published`
    /// that it has not told of.
    pub(super) fn sleep(&self, is_published: impl Fn() -> bool, timeout: Duration) {
        self.asleep.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // SYNC(doorbell): see `notifier_sleeps`
        if !is_published() && !self.is_stopped() {
            futex::wait(&self.asleep, 1, timeout);
        }
        self.asleep.store(0, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn notifier_is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed) == 1
    }
}
