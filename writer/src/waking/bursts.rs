//! Detects bursts: publications that come so fast that a wake for each would cost more than it gains.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How many publications in quick succession make a burst.
pub(super) const BURST_LEN: u32 = 16;

/// Tracks the time between publications.
#[derive(Debug)]
pub(super) struct Bursts {
    /// Two publications less than this many nanoseconds apart come in quick succession.
    quick_ns: u64,
    latest: CachePadded<Latest>,
}

/// Publishing threads store these words with each publication, so the words have a cache line of their own.
/// If two threads store at once, losing one update does no harm.
#[derive(Debug, Default)]
struct Latest {
    time_ns: AtomicU64,
    /// How many publications in a row came in quick succession.
    quick: AtomicU32,
}

impl Bursts {
    /// A publication that comes sooner than `interval` after the one before counts as quick.
    pub(super) fn new(interval: Duration) -> Bursts {
        let quick_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Bursts { quick_ns, latest: CachePadded::default() }
    }

    /// Notes a publication at this time, by any clock.
    #[inline]
    pub(super) fn note(&self, now_ns: u64) {
        let latest = &*self.latest;
        let since = now_ns.saturating_sub(latest.time_ns.load(Ordering::Relaxed));
        latest.time_ns.store(now_ns, Ordering::Relaxed);
        let quick =
            if since < self.quick_ns { latest.quick.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
        latest.quick.store(quick, Ordering::Relaxed);
    }

    /// Whether publications come so fast that polling the log costs less than a system call for each
    /// publication.
    pub(super) fn is_burst(&self) -> bool {
        self.latest.quick.load(Ordering::Relaxed) >= BURST_LEN
    }
}
