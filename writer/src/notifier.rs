//! The thread that wakes sleeping readers and beats the heart, so that the appending thread does neither (D3).

mod pacing;

use crate::clock;
use crate::futex;
use crate::shared_state::Core;
use pacing::{GROUP, Pacing};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::thread;
use std::time::Duration;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::segment::Counter;

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

/// Beats the heart when it is due.
struct Heart {
    interval: Duration,
    due: u64,
}

impl Heart {
    fn look(&mut self, core: &Core) {
        let now = clock::boottime_ns();
        if now >= self.due {
            core.control.publisher().beat(now);
            self.due = now + self.interval.as_nanos() as u64;
        }
    }

    fn left(&self) -> Duration {
        Duration::from_nanos(self.due.saturating_sub(clock::boottime_ns()))
    }
}

fn run(core: &Core, heartbeat: Duration, pace: Duration) {
    // The default slack of 50 us would double the pace. Without the finer timer waking is slower, not wrong.
    let _ = nix::sys::prctl::set_timerslack(1);
    let processors = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    let mut pacing = Pacing::new(processors.and_then(|n| n.try_into().ok()).unwrap_or(1));
    let mut heart = Heart { interval: heartbeat, due: 0 };
    let mut told = watermarks(core);
    let mut idle = 0;
    while !core.bell.stop.load(Ordering::Relaxed) {
        heart.look(core);
        let current = watermarks(core);
        if current != told {
            told = current;
            idle = 0;
            wake_sleepers(core, &mut pacing, &mut heart);
            thread::sleep(pace);
        } else if idle < IDLE_LOOKS {
            idle += 1;
            thread::sleep(pace);
        } else {
            core.bell.sleep(|| watermarks(core) != told, heart.left());
        }
    }
}

fn wake_sleepers(core: &Core, pacing: &mut Pacing, heart: &mut Heart) {
    let publisher = core.control.publisher();
    pacing.begin();
    for n in 0..publisher.segment().wake_words() {
        let word = publisher.bump_wake(n);
        while futex::wake(word, GROUP) == GROUP as usize {
            // A round of ten thousands takes its time, and who closes the ring wakes all that are left.
            if core.bell.stop.load(Ordering::Relaxed) {
                return;
            }
            heart.look(core);
            thread::sleep(pacing.pause());
        }
    }
    publisher.add(Counter::Wakes, 1);
}
