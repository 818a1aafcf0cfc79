//! The thread that wakes sleeping readers and stores the heartbeat, so that the appending thread does
//! neither. The policy, which readers to wake when and in which groups, is in [`waking`].

use crate::clock;
use crate::core::Core;
use crate::lock::LockWatch;
use crate::waking::{self, Pacing};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::segment::Counter;

/// Starts the thread.
pub(crate) fn start(
    core: Arc<Core>,
    heartbeat: Duration,
    lock: LockWatch,
) -> std::io::Result<thread::JoinHandle<()>> {
    // Load this before the thread runs. Until then the notifier counts as awake, so no thread rings it for
    // later publications: its first look has to find them.
    let told = watermarks(&core);
    let heartbeat = Heartbeat { interval: heartbeat, due_ns: 0, lock };
    thread::Builder::new().name("waldo-notify".into()).spawn(move || run(&core, told, heartbeat))
}

fn watermarks(core: &Core) -> (Position, Position) {
    (core.committed(), core.durable())
}

/// Stores the heartbeat when it is due, and then checks whether the lock still keeps other writers out.
struct Heartbeat {
    interval: Duration,
    due_ns: u64,
    lock: LockWatch,
}

impl Heartbeat {
    fn beat_if_due(&mut self, core: &Core) {
        let now_ns = clock::boottime_ns();
        if now_ns >= self.due_ns {
            self.due_ns = now_ns + self.interval.as_nanos() as u64;
            if core.poison.get().is_none()
                && let Some(error) = self.lock.lost()
            {
                core.fail("keeping the ring to itself", error);
            }
            core.control.publisher().beat(now_ns);
            core.control.look_after(&*core.disk);
        }
    }

    fn time_left(&self) -> Duration {
        Duration::from_nanos(self.due_ns.saturating_sub(clock::boottime_ns()))
    }
}

fn run(core: &Core, mut told: (Position, Position), mut heartbeat: Heartbeat) {
    // The default slack of 50 us would double the time between two looks. Without the finer timer waking is
    // slower, not wrong.
    let _ = nix::sys::prctl::set_timerslack(1);
    let processors = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    let mut pacing = Pacing::new(processors.and_then(|n| n.try_into().ok()).unwrap_or(1));
    let waking = &core.waking;
    let mut empty_looks = 0;
    while !waking.is_stopped() {
        heartbeat.beat_if_due(core);
        let current = watermarks(core);
        if current != told {
            told = current;
            let woken = wake_sleepers(core, &mut pacing, &mut heartbeat);
            empty_looks = waking.looks_after_round(woken);
            thread::sleep(waking.look_interval());
        } else if !waking.may_sleep(empty_looks) {
            empty_looks += 1;
            thread::sleep(waking.look_interval());
        } else {
            waking.sleep(|| watermarks(core) != told, heartbeat.time_left());
        }
    }
}

/// One round: wakes all sleeping readers, at the pace that the processors allow. Returns how many slept.
fn wake_sleepers(core: &Core, pacing: &mut Pacing, heartbeat: &mut Heartbeat) -> usize {
    let publisher = core.control.publisher();
    core.waking.rouse_listener();
    pacing.begin_round();
    let woken = waking::wake_sleepers(publisher, || {
        // A round of tens of thousands takes time, and the thread that closes the ring wakes all that are
        // left.
        if core.waking.is_stopped() {
            return false;
        }
        heartbeat.beat_if_due(core);
        thread::sleep(pacing.pause());
        true
    });
    publisher.add(Counter::Wakes, 1);
    woken
}
