//! Who wakes sleepers: the appending thread, or the notifier.

use super::bursts::{BURST_LEN, Bursts};
use super::futex::tests::{sleep, wait_until_asleep};
use super::*;
use crate::core::Core;
use crate::testing::{Home, small};
use crate::{Durability, Io, Writer, WriterOptions};
use std::sync::mpsc::channel;
use std::time::Instant;
use waldo_shm_protocol::segment::Counter;

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
    until("the notifier goes to sleep", || core.waking.notifier_is_asleep());
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
    let core = writer.core();
    for sleepers in 0..INLINE_WAKES_MAX {
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
    for sleepers in [INLINE_WAKES_MAX + 1, 5 * INLINE_WAKES_MAX, GROUP as usize + 1] {
        until_notifier_sleeps(&core);
        let before = rounds(&core);
        append_to(sleepers, &core, &mut writer);
        until("the notifier has looked", || rounds(&core) > before);
    }
    writer.close().unwrap();
}

#[test]
fn publications_are_busy_after_a_run_of_quick_ones_and_calm_after_a_pause() {
    let bursts = Bursts::new(Duration::from_nanos(10));
    let mut now = 1_000;
    for quick in [9, 0] {
        now += 10;
        bursts.note(now);
        for n in 0..BURST_LEN {
            assert!(!bursts.is_burst(), "after {n}");
            now += quick;
            bursts.note(now);
        }
        assert!(bursts.is_burst());
    }
    // A clock that was set back is no pause.
    bursts.note(5);
    assert!(bursts.is_burst());
    bursts.note(15);
    assert!(!bursts.is_burst());
}

#[test]
fn appends_in_quick_succession_leave_all_waking_to_the_notifier() {
    let home = Home::new();
    // However slow this machine is, appends come sooner than that.
    let interval = Duration::from_millis(500);
    let mut writer = open(&home, interval);
    let core = writer.core();
    let taken_over = (0..20).any(|_| {
        until_notifier_sleeps(&core);
        // The first one comes after a long pause, the others in a row, unless the machine holds them up.
        for _ in 0..=BURST_LEN {
            writer.append_payloads(&[b"x"]).unwrap();
        }
        !core.waking.notifier_is_asleep()
    });
    assert!(taken_over);
    append_to(1, &core, &mut writer);
    writer.close().unwrap();
}
