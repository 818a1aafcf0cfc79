//! Waiting for something that must happen.

use std::time::{Duration, Instant};

/// How long anything may take before the test counts as failed. Never part of what is asserted.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Looks until `condition` holds; panics at the deadline.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        // Between two looks only: nothing depends on its length.
        std::thread::sleep(Duration::from_millis(1));
    }
}
