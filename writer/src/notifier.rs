//! The thread that wakes sleeping readers and beats the heart, so that the appending thread does neither (D3).

use crate::clock;
use crate::futex;
use crate::shared_state::Core;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::thread;
use std::time::Duration;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::segment::Counter;

/// Sleepers woken by one system call. A thread gets the same share of its processor as any other that is runnable
/// there, and an appender at 10,000 appends a second needs a quarter of one: the fewer readers are runnable at a
/// time, the more of its appends are on time. How much groups and pauses of what size do is in docs/BENCHMARKS.md.
const GROUP: i32 = 16;
/// Processor time of one reader's visit to the log, roughly: context switch, some hundred small records, back to
/// sleep (measured: 50 us each with thousands of reader processes). Groups follow one another as fast as the
/// processors can be done with them, not faster.
const VISIT: Duration = Duration::from_micros(60);
/// The first pauses of a round are shorter, each longer than the one before by this much: what fills a run queue is a
/// large crowd, and the readers of a small one need not wait.
const PAUSE_STEP: Duration = Duration::from_micros(10);
/// Empty looks in a row after which the thread goes to sleep until the bell rings.
const IDLE_LOOKS: u32 = 4;
/// Publications without a sleeper after which the notifier takes over the looking.
const NOBODY_MAX: u32 = 16;

/// How the appending thread gets the notifier's attention.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// 1 while the notifier sleeps until it is rung, 0 while it looks by itself.
    asleep: AtomicU32,
    /// Publications in a row that found the notifier asleep and no sleeper to wake.
    nobody: AtomicU32,
    stop: AtomicBool,
}

impl Bell {
    /// To be called after something was published. Costs a fence and a load while the notifier is awake.
    #[inline]
    pub(crate) fn published(&self) -> bool {
        // SYNC(bell): either this load sees that the notifier is going to sleep, or the notifier's last look sees
        // what was published: both sides store, fence, load.
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) == 1
    }

    /// Counts a publication that woke nobody; `true` if there were many.
    pub(crate) fn nobody_again(&self) -> bool {
        // Only the publishing thread counts; the notifier resets it, and an update lost to that does no harm.
        let count = self.nobody.load(Ordering::Relaxed) + 1;
        self.nobody.store(count, Ordering::Relaxed);
        count >= NOBODY_MAX
    }

    pub(crate) fn ring(&self) {
        self.nobody.store(0, Ordering::Relaxed);
        if self.asleep.swap(0, Ordering::Relaxed) == 1 {
            futex::wake(&self.asleep, 1);
        }
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst); // SYNC(bell): as in `published`
        self.ring();
    }

    fn sleep(&self, published: impl Fn() -> bool, timeout: Duration) {
        self.asleep.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // SYNC(bell): see `published`
        if !published() && !self.stop.load(Ordering::Relaxed) {
            futex::wait(&self.asleep, 1, timeout);
        }
        self.asleep.store(0, Ordering::Relaxed);
    }
}

/// Starts the thread.
pub(crate) fn start(
    core: Arc<Core>,
    heartbeat: Duration,
    pace: Duration,
) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("waldo-notify".into()).spawn(move || run(&core, heartbeat, pace))
}

fn watermarks(core: &Core) -> (Position, Position) {
    let segment = core.control.publisher().segment();
    (segment.committed(), segment.durable())
}

/// The pauses between the groups of one round.
#[derive(Clone, Copy, Debug)]
struct Breath {
    next: Duration,
    longest: Duration,
}

impl Breath {
    /// For a machine with so many processors.
    fn new(processors: usize) -> Breath {
        let visits = GROUP.unsigned_abs().div_ceil(u32::try_from(processors).unwrap_or(u32::MAX).max(1));
        Breath { next: PAUSE_STEP, longest: VISIT * visits }
    }
}

impl Iterator for Breath {
    type Item = Duration;

    /// How long to let the group run that has just been woken.
    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause + PAUSE_STEP).min(self.longest);
        Some(pause)
    }
}

fn run(core: &Core, heartbeat: Duration, pace: Duration) {
    // The default slack of 50 us would double the pace. Without the finer timer waking is slower, not wrong.
    let _ = nix::sys::prctl::set_timerslack(1);
    let mut told = watermarks(core);
    let breath = Breath::new(thread::available_parallelism().map_or(1, |n| n.get()));
    let mut idle = 0;
    let mut beat_due = 0;
    while !core.bell.stop.load(Ordering::Relaxed) {
        let now = clock::boottime_ns();
        if now >= beat_due {
            core.control.publisher().beat(now);
            beat_due = now + heartbeat.as_nanos() as u64;
        }
        let current = watermarks(core);
        if current != told {
            told = current;
            idle = 0;
            wake_sleepers(core, breath);
            thread::sleep(pace);
        } else if idle < IDLE_LOOKS {
            idle += 1;
            thread::sleep(pace);
        } else {
            let left = Duration::from_nanos(beat_due.saturating_sub(clock::boottime_ns()));
            core.bell.sleep(|| watermarks(core) != told, left);
        }
    }
}

fn wake_sleepers(core: &Core, mut breath: Breath) {
    let publisher = core.control.publisher();
    for n in 0..publisher.segment().wake_words() {
        let word = publisher.bump_wake(n);
        while futex::wake(word, GROUP) == GROUP as usize {
            thread::sleep(breath.next().unwrap_or_default());
        }
    }
    publisher.add(Counter::Wakes, 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_crowds_are_woken_at_once_and_large_ones_as_fast_as_they_can_run() {
        let breath = Breath::new(2);
        assert_eq!(breath.take(4).sum::<Duration>(), PAUSE_STEP * 10);
        assert_eq!(breath.take(1000).last(), Some(VISIT * 8));
        let many = Breath::new(64);
        assert_eq!(many.take(1000).last(), Some(VISIT));
    }
}
