//! Whether a writer is alive, judged by its heartbeat.
//!
//! A heartbeat is a time of CLOCK_BOOTTIME as the writer's process reads it. Processes in other time
//! namespaces read another time at the same moment. So the heartbeat alone says "not long ago" or "long ago"
//! only to processes that share the clock; a heartbeat in the future says nothing. A process that sees the
//! heartbeat change knows by its own clock that the writer was alive meanwhile, whatever the value is.

use crate::clock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A heartbeat may be this far ahead of our clock without being from another clock.
const AHEAD_MAX: Duration = Duration::from_millis(10);
/// No change has been seen.
const NEVER: u64 = 0;

/// What this process has seen of one writer's heartbeat. Each field is a hint by itself.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// The heartbeat as it was seen last.
    beat: AtomicU64,
    /// When it was first seen to be that, if that was a change; [`NEVER`] otherwise. Milliseconds of our
    /// clock.
    changed: AtomicU64,
    /// When it was looked at for the first time. Milliseconds of our clock.
    since: u64,
}

/// How long ago a writer was seen alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// For this long.
    Ago(Duration),
    /// It has not been seen alive at all in the time that it has been watched, which is this long.
    Never(Duration),
}

impl Seen {
    /// Whether it was seen alive at most this long ago.
    pub(crate) fn within(self, limit: Duration) -> bool {
        matches!(self, Seen::Ago(age) if age <= limit)
    }

    /// The time for people to read.
    pub(crate) fn for_people(self) -> Duration {
        match self {
            Seen::Ago(age) | Seen::Never(age) => age,
        }
    }
}

impl Pulse {
    /// Of a writer whose heartbeat is this now.
    pub(crate) fn new(beat: u64) -> Pulse {
        Pulse { beat: AtomicU64::new(beat), changed: AtomicU64::new(NEVER), since: clock::coarse_ms() }
    }

    /// How long ago the writer was seen alive whose heartbeat is `beat` now.
    pub(crate) fn look(&self, beat: u64) -> Seen {
        let now_ms = clock::coarse_ms();
        // A clock does not go back: a lower number is another writer's, of whom nothing is known yet.
        match self.beat.swap(beat, Ordering::Relaxed).cmp(&beat) {
            std::cmp::Ordering::Less => self.changed.store(now_ms.max(NEVER + 1), Ordering::Relaxed),
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => self.changed.store(NEVER, Ordering::Relaxed),
        }
        let changed = self.changed.load(Ordering::Relaxed);
        let by_change = (changed != NEVER).then(|| Duration::from_millis(now_ms.saturating_sub(changed)));
        // Loaded after the heartbeat: on one clock it is not older.
        let now = clock::boottime_ns();
        let comparable = beat.saturating_sub(now) <= AHEAD_MAX.as_nanos() as u64;
        let by_clock = comparable.then(|| Duration::from_nanos(now.saturating_sub(beat)));
        match (by_change, by_clock) {
            (Some(a), Some(b)) => Seen::Ago(a.min(b)),
            (Some(age), None) | (None, Some(age)) => Seen::Ago(age),
            (None, None) => Seen::Never(Duration::from_millis(now_ms.saturating_sub(self.since))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_NS: u64 = 3_600_000_000_000;
    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn a_heartbeat_on_our_clock_is_as_old_as_it_says() {
        let now = clock::boottime_ns();
        let pulse = Pulse::new(now);
        assert!(pulse.look(now).within(LIMIT));
        let old = now.saturating_sub(10 * LIMIT.as_nanos() as u64);
        let Seen::Ago(age) = Pulse::new(old).look(old) else { panic!("the clock is ours") };
        assert!(age >= LIMIT);
    }

    #[test]
    fn a_heartbeat_from_another_clock_is_believed_once_it_moves() {
        for beat in [clock::boottime_ns() + HOUR_NS, u64::MAX - 1, 1] {
            let pulse = Pulse::new(beat);
            assert!(!pulse.look(beat).within(LIMIT), "{beat}");
            assert!(pulse.look(beat + 1).within(LIMIT), "{beat}");
            assert!(pulse.look(beat + 1).within(LIMIT), "{beat}");
            assert!(!pulse.look(beat).within(LIMIT), "{beat}: it has gone back");
        }
    }
}
