//! Who wakes sleepers: the appending thread, or the notifier.

use super::*;
use crate::futex::tests::{sleep, wait_until_asleep};
use crate::testing::{Home, small};
use crate::{Durability, Io, Writer, WriterOptions};
use std::sync::mpsc::channel;
use std::time::Instant;

fn open(home: &Home, min_wake_interval: Duration) -> Writer {
    let durability = Durability::Interval(Duration::from_secs(60));
    // A heart that beats has the notifier look around.
    let heartbeat = Duration::from_secs(10);
    home.open(&WriterOptions { min_wake_interval, heartbeat, ..small(Io::Pwrite, durability) })
}

/// Less than a heartbeat, after which the notifier looks around in any case.
const PATIENCE: Duration = Duration::from_secs(5);

fn until(what: &str, mut there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !there() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
    }
}

/// Rounds of the notifier so far.
fn rounds(core: &Core) -> u64 {
    core.control.publisher().segment().counters().get(Counter::Wakes)
}

fn until_notifier_sleeps(core: &Core) {
    until("the notifier goes to sleep", || core.bell.asleep.load(Ordering::Relaxed) == 1);
}

/// Appends one record while so many sleep; returns when all of them are awake.
fn append_to(sleepers: usize, core: &Core, writer: &mut Writer) {
    let segment = core.control.publisher().segment();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..sleepers)
            .map(|_| {
                let (tell, told) = channel();
                let sleeper = scope.spawn(move || sleep(segment.wake_word(0), tell));
                wait_until_asleep(told.recv().unwrap());
                sleeper
            })
            .collect();
        writer.append_payloads(&[b"x"]).unwrap();
        until("all sleepers are woken", || threads.iter().all(|thread| thread.is_finished()));
    });
}

#[test]
fn a_few_sleepers_are_woken_without_the_notifier_and_more_with_it() {
    let home = Home::new();
    let mut writer = open(&home, Duration::from_nanos(1));
    let core = writer.shared_state();
    for sleepers in 0..FEW {
        // An append that comes at the moment of its falling asleep wakes it all the same.
        let alone = (0..20).any(|_| {
            until_notifier_sleeps(&core);
            let before = rounds(&core);
            append_to(sleepers, &core, &mut writer);
            // Who has been rung is awake until it has gone round.
            until_notifier_sleeps(&core);
            rounds(&core) == before
        });
        assert!(alone, "{sleepers} sleepers");
    }
    for sleepers in [FEW + 1, 5 * FEW, GROUP as usize + 1] {
        until_notifier_sleeps(&core);
        let before = rounds(&core);
        append_to(sleepers, &core, &mut writer);
        until("the notifier has looked", || rounds(&core) > before);
    }
    writer.close().unwrap();
}

#[test]
fn publications_are_busy_after_a_run_of_quick_ones_and_calm_after_a_pause() {
    let bell = Bell::new(Duration::from_nanos(10));
    let mut now = 1_000;
    for quick in [9, 0] {
        now += 10;
        bell.note(now);
        for n in 0..QUICK_MAX {
            assert!(!bell.is_busy(), "after {n}");
            now += quick;
            bell.note(now);
        }
        assert!(bell.is_busy());
    }
    // A clock that was set back is no pause.
    bell.note(5);
    assert!(bell.is_busy());
    bell.note(15);
    assert!(!bell.is_busy());
}

#[test]
fn appends_in_quick_succession_leave_all_waking_to_the_notifier() {
    let home = Home::new();
    // However slow this machine is, appends come sooner than that.
    let interval = Duration::from_millis(500);
    let mut writer = open(&home, interval);
    let core = writer.shared_state();
    let taken_over = (0..20).any(|_| {
        until_notifier_sleeps(&core);
        // The first one comes after a long pause, the others in a row, unless the machine holds them up.
        for _ in 0..=QUICK_MAX {
            writer.append_payloads(&[b"x"]).unwrap();
        }
        core.bell.asleep.load(Ordering::Relaxed) == 0
    });
    assert!(taken_over);
    append_to(1, &core, &mut writer);
    writer.close().unwrap();
}
