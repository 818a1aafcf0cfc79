//! The thread that wakes sleeping readers and beats the heart, so that the appending thread does neither.

mod pacing;
#[cfg(test)]
mod tests;

use crate::clock;
use crate::futex;
use crate::lock::LockWatch;
use crate::shared_state::Core;
use pacing::{GROUP, Pacing};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::thread;
use std::time::Duration;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::segment::Counter;

/// Shortest time between two looks of the thread at the log: each costs a wake from a timer.
const PACE_MIN: Duration = Duration::from_micros(50);
/// Empty looks in a row after which the thread goes to sleep until the bell rings.
const IDLE_LOOKS: u32 = 4;
/// Sleepers that a publication wakes by itself while the notifier sleeps. If it finds so many, there may be
/// more.
pub(crate) const FEW: usize = 2;
/// Publications in quick succession after which the notifier takes over the waking.
const QUICK_MAX: u32 = 16;

/// How the appending thread gets the notifier's attention.
#[derive(Debug)]
pub(crate) struct Bell {
    /// 1 while the notifier sleeps until it is rung, 0 while it looks by itself.
    asleep: AtomicU32,
    /// Nanoseconds between two publications below which they come in quick succession.
    quick_ns: u64,
    /// Time of the last publication, and how many in a row came in quick succession. Written by publishing
    /// threads only; an update that is lost between two of them does no harm.
    last_ns: AtomicU64,
    quick: AtomicU32,
    stop: AtomicBool,
}

impl Bell {
    /// For publications that, further apart than `interval`, are worth a system call each.
    pub(crate) fn new(interval: Duration) -> Bell {
        Bell {
            asleep: AtomicU32::new(0),
            quick_ns: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            last_ns: AtomicU64::new(0),
            quick: AtomicU32::new(0),
            stop: AtomicBool::new(false),
        }
    }

    /// Notes that something is published at this time, by any clock.
    #[inline]
    pub(crate) fn note(&self, now_ns: u64) {
        let since = now_ns.saturating_sub(self.last_ns.load(Ordering::Relaxed));
        self.last_ns.store(now_ns, Ordering::Relaxed);
        let quick =
            if since < self.quick_ns { self.quick.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
        self.quick.store(quick, Ordering::Relaxed);
    }

    /// Whether publications come so fast that looking now and then costs less than a system call with each.
    pub(crate) fn is_busy(&self) -> bool {
        self.quick.load(Ordering::Relaxed) >= QUICK_MAX
    }

    /// To be called after something was published; `true` if the notifier sleeps. Costs a fence and a load.
    #[inline]
    pub(crate) fn published(&self) -> bool {
        // SYNC(bell): either this load sees that the notifier is going to sleep, or the notifier's last look
        // sees what was published: both sides store, fence, load.
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) == 1
    }

    pub(crate) fn ring(&self) {
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
    lock: LockWatch,
) -> std::io::Result<thread::JoinHandle<()>> {
    // Before the thread runs: nobody rings for what is published from now on, since it counts as awake.
    let told = watermarks(&core);
    thread::Builder::new().name("waldo-notify".into()).spawn(move || run(&core, told, heartbeat, pace, lock))
}

fn watermarks(core: &Core) -> (Position, Position) {
    (core.committed(), core.durable())
}

/// Beats the heart when it is due, and looks on that occasion whether the lock still keeps other writers out.
struct Heart {
    interval: Duration,
    due: u64,
    lock: LockWatch,
}

impl Heart {
    fn look(&mut self, core: &Core) {
        let now = clock::boottime_ns();
        if now >= self.due {
            self.due = now + self.interval.as_nanos() as u64;
            if core.poison.get().is_none()
                && let Some(error) = self.lock.lost()
            {
                core.fail("keeping the ring to itself", error);
            }
            core.control.publisher().beat(now);
            core.control.look_after(&*core.disk);
        }
    }

    fn left(&self) -> Duration {
        Duration::from_nanos(self.due.saturating_sub(clock::boottime_ns()))
    }
}

fn run(core: &Core, mut told: (Position, Position), heartbeat: Duration, pace: Duration, lock: LockWatch) {
    // The default slack of 50 us would double the pace. Without the finer timer waking is slower, not wrong.
    let _ = nix::sys::prctl::set_timerslack(1);
    let processors = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    let pace = pace.max(PACE_MIN);
    let mut pacing = Pacing::new(processors.and_then(|n| n.try_into().ok()).unwrap_or(1));
    let mut heart = Heart { interval: heartbeat, due: 0, lock };
    let mut idle = 0;
    while !core.bell.stop.load(Ordering::Relaxed) {
        heart.look(core);
        let current = watermarks(core);
        if current != told {
            told = current;
            let woken = wake_sleepers(core, &mut pacing, &mut heart);
            // The few that there are can be left to those who publish.
            idle = if woken > FEW || core.bell.is_busy() { 0 } else { IDLE_LOOKS };
            thread::sleep(pace);
        } else if idle < IDLE_LOOKS {
            idle += 1;
            thread::sleep(pace);
        } else {
            core.bell.sleep(|| watermarks(core) != told, heart.left());
        }
    }
}

/// Wakes everybody; returns how many slept.
fn wake_sleepers(core: &Core, pacing: &mut Pacing, heart: &mut Heart) -> usize {
    let mut all = 0;
    let publisher = core.control.publisher();
    pacing.begin();
    for n in 0..publisher.segment().wake_words() {
        let word = publisher.bump_wake(n);
        loop {
            let woken = futex::wake(word, GROUP);
            all += woken;
            if woken < GROUP as usize {
                break;
            }
            // A round of ten thousands takes its time, and who closes the ring wakes all that are left.
            if core.bell.stop.load(Ordering::Relaxed) {
                return all;
            }
            heart.look(core);
            thread::sleep(pacing.pause());
        }
    }
    publisher.add(Counter::Wakes, 1);
    all
}
