//! How a publishing thread wakes the notifier: free of charge while the notifier is awake.

use super::futex;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::time::Duration;

/// Rung by publishing threads, answered by the notifier.
#[derive(Debug, Default)]
pub(super) struct Doorbell {
    /// 1 while the notifier sleeps until it is rung, 0 while it looks by itself. The word has a cache line of
    /// its own, because publishing threads load it with each publication, and neighbouring words change
    /// often.
    asleep: CachePadded<AtomicU32>,
    stop: AtomicBool,
}

impl Doorbell {
    /// Whether the notifier sleeps. Must be called after publishing; costs a fence and a load.
    #[inline]
    pub(super) fn notifier_sleeps(&self) -> bool {
        // SYNC(doorbell): both sides store, fence, load. So either this load sees that the notifier is going
        // to sleep, or the notifier's last look sees what was published.
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

    /// The notifier sleeps until it is rung, for `timeout` at most. It does not sleep if `is_published` says
    /// that something was published of which it has not told readers.
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
