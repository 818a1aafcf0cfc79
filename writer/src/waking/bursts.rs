//! Whether publications come so fast that waking with each of them would cost more than it is worth.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Publications in quick succession that make a burst.
pub(super) const BURST_LEN: u32 = 16;

/// How publications follow each other.
#[derive(Debug)]
pub(super) struct Bursts {
    /// Nanoseconds between two publications below which they come in quick succession.
    quick_ns: u64,
    latest: CachePadded<Latest>,
}

/// Stored by publishing threads with each publication, on a cache line of their own; an update that is lost
/// between two of them does no harm.
#[derive(Debug, Default)]
struct Latest {
    time_ns: AtomicU64,
    /// How many publications in a row came in quick succession.
    quick: AtomicU32,
}

impl Bursts {
    /// Publications that come sooner than `interval` after the one before count as quick.
    pub(super) fn new(interval: Duration) -> Bursts {
        let quick_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Bursts { quick_ns, latest: CachePadded::default() }
    }

    /// Notes that something is published at this time, by any clock.
    #[inline]
    pub(super) fn note(&self, now_ns: u64) {
        let latest = &*self.latest;
        let since = now_ns.saturating_sub(latest.time_ns.load(Ordering::Relaxed));
        latest.time_ns.store(now_ns, Ordering::Relaxed);
        let quick =
            if since < self.quick_ns { latest.quick.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
        latest.quick.store(quick, Ordering::Relaxed);
    }

    /// Whether publications come so fast that looking now and then costs less than a system call with each.
    pub(super) fn is_burst(&self) -> bool {
        self.latest.quick.load(Ordering::Relaxed) >= BURST_LEN
    }
}
