//! How often to make a look that may take long: the longer a look takes, the more seldom.

use std::time::{Duration, Instant};

/// Of its time, the part that a look may take is one in this many.
const SHARE: u32 = 10;

/// When the next look is due.
#[derive(Debug)]
pub struct Turn {
    next: Option<Instant>,
    at_least: Duration,
}

impl Turn {
    /// No sooner than `at_least` after the last look.
    pub fn new(at_least: Duration) -> Turn {
        Turn { next: None, at_least }
    }

    /// Whether there should be a look at `now`.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    /// When the next look is due: `now`, if it was due before that.
    pub fn due(&self, now: Instant) -> Instant {
        self.next.map_or(now, |next| next.max(now))
    }

    /// Has the next look be due at once.
    pub fn hasten(&mut self) {
        self.next = None;
    }

    /// A look has been made from `begun` to `ended`.
    pub fn note(&mut self, begun: Instant, ended: Instant) {
        let rest = ended.saturating_duration_since(begun).saturating_mul(SHARE - 1).max(self.at_least);
        self.next = ended.checked_add(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_looked_at_seldom() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut turn = Turn::new(second);
        assert!(turn.is_due(start));
        turn.note(start, start);
        assert!(!turn.is_due(start + second / 2) && turn.is_due(start + second));
        turn.note(start, start + second);
        assert!(!turn.is_due(start + second * 9) && turn.is_due(start + second * 10));
        turn.hasten();
        assert!(turn.is_due(start));
    }
}
