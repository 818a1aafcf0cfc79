//! How fast many sleepers are woken: as fast as the processors can run them, and not faster.

use std::time::{Duration, Instant};

/// Sleepers woken by one system call. A thread gets the same share of its processor as any other thread that
/// is runnable there, and an appending thread at 10,000 appends a second needs a quarter of a processor. So
/// the fewer readers are runnable at once, the more appends are on time. docs/runs/2026-11-22-to-26.md has
/// the effect of other group sizes and pauses.
pub(super) const GROUP: i32 = 16;
/// The first pauses of a round are short, each longer than the one before by this much. Only many readers
/// fill a run queue; a few need not wait.
const PAUSE_STEP: Duration = Duration::from_micros(10);
/// Processor time of one reader's visit to the log: context switch, new records, back to sleep. Measured with
/// thousands of reader processes: 20 us for a few records, 55 us for a thousand. The estimate is adapted to
/// how long the processors are idle.
const VISIT_MIN: Duration = Duration::from_micros(15);
const VISIT_MAX: Duration = Duration::from_micros(60);
/// Time between two looks at how long the processors were idle.
const LOOK: Duration = Duration::from_millis(50);
/// The processors should be idle for a share of the time between these two.
const IDLE_LOW: f64 = 0.04;
const IDLE_HIGH: f64 = 0.10;

/// The pauses between groups.
#[derive(Debug)]
pub(crate) struct Pacing {
    visit: Duration,
    processors: u32,
    /// Groups of this round.
    groups: u32,
    /// When the idle time was last read, and the total idle time of all processors then.
    looked: Option<(Instant, Duration)>,
}

impl Pacing {
    /// For a machine with this many processors.
    pub(crate) fn new(processors: u32) -> Pacing {
        Pacing { visit: VISIT_MAX / 2, processors: processors.max(1), groups: 0, looked: None }
    }

    /// A round begins.
    pub(crate) fn begin_round(&mut self) {
        self.groups = 0;
    }

    /// How long to let the group run that was just woken.
    pub(crate) fn pause(&mut self) -> Duration {
        self.groups = self.groups.saturating_add(1);
        self.look();
        (PAUSE_STEP * self.groups).min(self.longest())
    }

    fn longest(&self) -> Duration {
        self.visit * GROUP.unsigned_abs().div_ceil(self.processors)
    }

    fn look(&mut self) {
        let now = Instant::now();
        if self.looked.is_some_and(|(at, _)| now.duration_since(at) < LOOK) {
            return;
        }
        // Without the idle time the pauses stay as they are.
        let Some(idle) = idle_time() else { return };
        if let Some((at, before)) = self.looked.replace((now, idle)) {
            let all = now.duration_since(at).as_secs_f64() * f64::from(self.processors);
            self.learn(idle.saturating_sub(before).as_secs_f64() / all);
        }
    }

    fn learn(&mut self, idle: f64) {
        let visit = match idle {
            idle if idle > IDLE_HIGH => self.visit * 3 / 4,
            idle if idle < IDLE_LOW => self.visit * 5 / 4,
            _ => self.visit,
        };
        self.visit = visit.clamp(VISIT_MIN, VISIT_MAX);
    }
}

/// Total time that the processors have been idle since the machine started; see proc_uptime(5).
fn idle_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(text.split_whitespace().nth(1)?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_crowds_are_woken_at_once_and_large_ones_as_fast_as_they_can_run() {
        let mut pacing = Pacing::new(2);
        // Nothing is learned within this test.
        pacing.looked = Some((Instant::now() + Duration::from_secs(3600), Duration::ZERO));
        assert_eq!((0..4).map(|_| pacing.pause()).sum::<Duration>(), PAUSE_STEP * 10);
        assert_eq!((0..1000).map(|_| pacing.pause()).last(), Some(VISIT_MAX / 2 * 8));
        pacing.begin_round();
        assert_eq!(pacing.pause(), PAUSE_STEP);
        assert_eq!(Pacing::new(64).longest(), VISIT_MAX / 2);
        assert!(Pacing::new(0).longest() > Duration::ZERO);
    }

    #[test]
    fn pauses_follow_what_stays_idle() {
        let mut pacing = Pacing::new(2);
        (0..20).for_each(|_| pacing.learn(0.5));
        assert_eq!(pacing.visit, VISIT_MIN);
        (0..20).for_each(|_| pacing.learn(0.0));
        assert_eq!(pacing.visit, VISIT_MAX);
        pacing.learn(0.07);
        assert_eq!(pacing.visit, VISIT_MAX);
        assert!(idle_time().is_some());
    }
}
