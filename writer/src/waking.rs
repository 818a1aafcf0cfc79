//! Waking sleeping readers: the whole policy.
//!
//! Readers sleep on the wake words of the control segment. Which thread wakes them depends on how often the
//! writer publishes, and on how many readers sleep:
//!
//! - The notifier is awake: it wakes all sleepers at its next look, in groups with pauses.
//! - The notifier sleeps, and publications are rare: the publishing thread wakes up to [`INLINE_WAKES_MAX`]
//!   sleepers of each word. If it found that many, it rings the notifier for the others.
//! - The notifier sleeps, and publications come in a burst: the publishing thread rings the notifier, which
//!   wakes all sleepers, in groups with pauses.
//! - The writer starts, closes or fails: the thread that does so wakes all sleepers, in groups without
//!   pauses, since nobody appends.
//!
//! The thread that wakes readers also calls the [`Listener`], which stands for the sleepers of the writer's
//! own process.
//!
//! So a publication costs a fence and a load while the notifier is awake, and a system call while it sleeps.
//! That system call pays off, because the reader is then one hop away instead of two.
//!
//! The publishing thread wakes the notifier with the [`Doorbell`](doorbell), [`bursts`] detects a burst, and
//! [`pacing`] has the pauses between groups. The notifier's thread itself is in
//! [`notifier`](crate::notifier).

mod bursts;
mod doorbell;
pub(crate) mod futex;
mod listener;
mod pacing;
#[cfg(test)]
mod tests;

use bursts::Bursts;
use doorbell::Doorbell;
pub use listener::Listener;
pub(crate) use listener::ListenerSlot;
use pacing::GROUP;
pub(crate) use pacing::Pacing;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use waldo_shm_protocol::segment::Publisher;

/// Most sleepers of one wake word that a publishing thread wakes itself while the notifier sleeps. If it
/// found that many, there may be more.
const INLINE_WAKES_MAX: usize = 2;
/// Shortest time between two looks of the notifier at the log. Each look costs a timer wake-up.
const LOOK_INTERVAL_MIN: Duration = Duration::from_micros(50);
/// Consecutive looks without news after which the notifier goes to sleep until it is rung.
const IDLE_LOOKS: u32 = 4;

/// The state that publishing threads and the notifier share to wake readers.
#[derive(Debug)]
pub(crate) struct Waking {
    doorbell: Doorbell,
    bursts: Bursts,
    look_interval: Duration,
    listener: Arc<ListenerSlot>,
}

impl Waking {
    /// A publication that comes at least `min_wake_interval` after the one before is worth a system call.
    pub(crate) fn new(min_wake_interval: Duration) -> Waking {
        Waking {
            doorbell: Doorbell::default(),
            bursts: Bursts::new(min_wake_interval),
            look_interval: min_wake_interval.max(LOOK_INTERVAL_MIN),
            listener: Arc::default(),
        }
    }

    /// Ensures that sleeping readers are woken for records that were appended at `now_ns`. Called by the
    /// appending thread, after it has published the records.
    #[inline]
    pub(crate) fn notify_of_append(&self, publisher: &Publisher<'_>, now_ns: u64) {
        self.bursts.note(now_ns);
        if self.doorbell.notifier_sleeps() {
            self.wake_a_few(publisher, ListenerSlot::rouse_or_defer);
        }
    }

    /// Ensures that sleeping readers are woken for everything published before this call. Any thread.
    #[inline]
    pub(crate) fn notify_readers(&self, publisher: &Publisher<'_>) {
        if self.doorbell.notifier_sleeps() {
            self.wake_a_few(publisher, ListenerSlot::rouse);
        }
    }

    #[cold]
    fn wake_a_few(&self, publisher: &Publisher<'_>, rouse: fn(&ListenerSlot)) {
        if self.bursts.is_burst() {
            self.doorbell.ring();
            return;
        }
        rouse(&self.listener);
        let mut may_be_more = false;
        for n in 0..publisher.segment().wake_words() {
            let woken = futex::wake(publisher.bump_wake(n), INLINE_WAKES_MAX as i32);
            may_be_more |= woken == INLINE_WAKES_MAX;
        }
        if may_be_more {
            self.doorbell.ring();
        }
    }

    /// The process's own listener.
    pub(crate) fn listener(&self) -> &Arc<ListenerSlot> {
        &self.listener
    }

    /// Calls only the process's own listener; another call wakes all other readers.
    pub(crate) fn rouse_listener(&self) {
        self.listener.rouse();
    }

    /// Ends the notifier.
    pub(crate) fn stop(&self) {
        self.doorbell.stop();
    }
}

/// The notifier's side.
impl Waking {
    /// Whether the notifier must end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.doorbell.is_stopped()
    }

    /// Time between two looks at the log while the notifier is awake.
    pub(crate) fn look_interval(&self) -> Duration {
        self.look_interval
    }

    /// How many empty looks the notifier may count in advance after a round that woke `woken` sleepers. Many
    /// sleepers, or a burst of publications, keep it awake; publishing threads can wake a few sleepers
    /// themselves.
    pub(crate) fn looks_after_round(&self, woken: usize) -> u32 {
        if woken > INLINE_WAKES_MAX || self.bursts.is_burst() { 0 } else { IDLE_LOOKS }
    }

    /// Whether this many consecutive empty looks are enough to go to sleep.
    pub(crate) fn may_sleep(&self, empty_looks: u32) -> bool {
        empty_looks >= IDLE_LOOKS
    }

    /// Sleeps until the doorbell rings, for `timeout` at most. Does not sleep if `is_published` says that
    /// something was published of which readers have not been told.
    pub(crate) fn sleep(&self, is_published: impl Fn() -> bool, timeout: Duration) {
        self.doorbell.sleep(is_published, timeout);
    }

    #[cfg(test)]
    pub(crate) fn notifier_is_asleep(&self) -> bool {
        self.doorbell.notifier_is_asleep()
    }
}

/// Wakes all readers that sleep on the segment, in groups. `between` runs between two groups; if it returns
/// `false`, the remaining readers sleep on. Returns how many were woken.
pub(crate) fn wake_sleepers(publisher: &Publisher<'_>, mut between: impl FnMut() -> bool) -> usize {
    let mut all = 0;
    for n in 0..publisher.segment().wake_words() {
        let word = publisher.bump_wake(n);
        loop {
            let woken = futex::wake(word, GROUP);
            all += woken;
            if woken < GROUP as usize {
                break;
            }
            if !between() {
                return all;
            }
        }
    }
    all
}

/// Wakes all readers that sleep on the segment, for an event that happens once in a writer's life. Every
/// woken reader has work to do then, so many readers are woken in groups, and a lone reader at once.
pub(crate) fn wake_everybody(publisher: &Publisher<'_>) {
    wake_sleepers(publisher, || {
        thread::yield_now();
        true
    });
}
