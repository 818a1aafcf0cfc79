//! [`Pace`]: what would be told or tried again many times a second, now and then.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// Between two times.
const PAUSE: Duration = Duration::from_secs(10);

/// When something was done last.
#[derive(Debug, Default)]
pub(crate) struct Pace(Option<Instant>);

impl Pace {
    /// Whether the pause is over. Then another one begins.
    pub(crate) fn is_due(&mut self) -> bool {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&mut self, now: Instant) -> bool {
        let due = self.0.is_none_or(|last| now.saturating_duration_since(last) >= PAUSE);
        if due {
            self.0 = Some(now);
        }
        due
    }
}
