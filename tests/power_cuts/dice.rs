//! Chance that can be had again: the same seed gives the same throws.

use std::ops::RangeInclusive;
use std::time::Duration;

/// SplitMix64, which has no bad seeds.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (first, last) = range.into_inner();
        first + self.next() % (last - first + 1)
    }

    /// True `per_cent` times in a hundred.
    pub fn chance(&mut self, per_cent: u64) -> bool {
        self.next() % 100 < per_cent
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize]
    }

    pub fn time(&mut self, longest: Duration) -> Duration {
        Duration::from_nanos(self.within(0..=longest.as_nanos() as u64))
    }
}

/// A number without pattern for every number.
pub fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The seed of a run: the one that the environment variable `name` gives, or another each time. The caller
/// prints it.
pub fn seed(name: &str) -> u64 {
    let given = std::env::var(name).ok().map(|text| text.parse().expect("a seed is a number"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    given.unwrap_or_else(|| mix(now.as_nanos() as u64) >> 16)
}
