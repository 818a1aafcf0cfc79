//! Clocks and random numbers.

use nix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds of CLOCK_BOOTTIME, the clock of heartbeats. 0 if the system has no such clock.
pub(crate) fn boottime_ns() -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_BOOTTIME) else { return 0 };
    let now = Duration::from(now);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Time of CLOCK_MONOTONIC. Zero if the system has no such clock.
pub(crate) fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Milliseconds of CLOCK_MONOTONIC_COARSE, which costs two or three loads, whatever the machine's clock
/// source. 0 if the system has no such clock.
#[inline]
pub(crate) fn coarse_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// A number that differs between most processes: the process id, read once, because reading it is a system
/// call. A child made by a fork keeps its parent's number, which is no worse than a random one.
pub(crate) fn process_number() -> u32 {
    static NUMBER: OnceLock<u32> = OnceLock::new();
    *NUMBER.get_or_init(std::process::id)
}

/// Nanoseconds since 1970; 0 for times before, `u64::MAX` for times after the year 2554.
pub(crate) fn unix_ns(time: SystemTime) -> u64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        Err(_) => 0,
    }
}

/// `base` plus or minus up to half of it, so that readers that fell asleep together do not wake together.
pub(crate) fn jittered(base: Duration) -> Duration {
    // The low bits of the clock are as good as a random number here, and mixing in the process id keeps
    // processes apart that one wake made run in lockstep.
    let mut x = boottime_ns() ^ (u64::from(process_number()) << 32);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    let permille = 500 + (x % 1000);
    let nanos = (base.as_nanos().saturating_mul(u128::from(permille))) / 1000;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_half() {
        let base = Duration::from_secs(4);
        for _ in 0..1000 {
            let t = jittered(base);
            assert!(t >= base / 2 && t < base * 3 / 2, "{t:?}");
        }
    }

    #[test]
    fn times_out_of_range_saturate() {
        assert_eq!(unix_ns(UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(unix_ns(UNIX_EPOCH + Duration::from_nanos(7)), 7);
    }
}
