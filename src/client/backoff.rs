//! Times between attempts to connect.

use super::ProducerOptions;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Doubled each time, and blurred so that a thousand producers do not come at once.
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
    seed: RandomState,
    attempts: u64,
}

impl Backoff {
    pub(super) fn new(options: &ProducerOptions) -> Backoff {
        let (next, max) = (options.backoff_min, options.backoff_max);
        Backoff { next, max, seed: RandomState::new(), attempts: 0 }
    }

    pub(super) fn next(&mut self) -> Duration {
        let time = self.next;
        self.next = (time * 2).min(self.max);
        self.attempts += 1;
        // Half to all of it.
        let share = (self.seed.hash_one(self.attempts) % 512 + 512) as u32;
        time * share / 1024
    }
}
