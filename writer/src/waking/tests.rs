//! Who wakes sleepers: the appending thread, or the notifier.

use super::bursts::{BURST_LEN, Bursts};
use super::futex::tests::{sleep, wait_until_asleep};
use super::*;
use crate::core::Core;
use crate::testing::{Home, small};
use crate::{Durability, Io, SharedWriter, Writer, WriterOptions};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
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

/// Counts how often it is roused.
struct Count(Arc<AtomicU64>);

impl Listener for Count {
    fn rouse(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn listen(writer: &Writer) -> Arc<AtomicU64> {
    let told = Arc::new(AtomicU64::new(0));
    writer.set_listener(Box::new(Count(Arc::clone(&told))));
    told
}

/// Appends by itself when it is told, which whoever is told may do.
struct Appending(Arc<OnceLock<SharedWriter>>, Sender<Option<u64>>);

impl Listener for Appending {
    fn rouse(&self) {}

    fn tell(&self) -> bool {
        if let Some(writer) = self.0.get()
            && writer.tip() == Some(1)
        {
            writer.append_payloads(&[b"another's"]).unwrap();
            self.1.send(writer.tip()).unwrap();
        }
        false
    }
}

/// Wakers are programs' code, and one that appended while the writer was held would wait for itself.
#[test]
fn who_appends_tells_the_listener_when_the_writer_is_free_again() {
    let home = Home::new();
    let writer = open(&home, Duration::from_nanos(1));
    let (shared, (tell, told)) = (Arc::new(OnceLock::new()), channel());
    writer.set_listener(Box::new(Appending(Arc::clone(&shared), tell)));
    let core = writer.core();
    let writer = SharedWriter::new(writer);
    assert!(shared.set(writer.clone()).is_ok());
    until_notifier_sleeps(&core);
    let appending = thread::spawn(move || writer.append_payloads(&[b"one"]).map(|_| ()));
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Some(2)));
    appending.join().unwrap().unwrap();
    // Each has the other until here.
    shared.get().unwrap().close().unwrap();
}

#[test]
fn a_listener_is_told_of_each_append_of_a_few_and_of_a_burst_by_the_notifier() {
    let home = Home::new();
    for (min_wake_interval, ahead) in [(Duration::from_nanos(1), 0), (Duration::from_millis(200), BURST_LEN)]
    {
        let mut writer = open(&home, min_wake_interval);
        let (core, told) = (writer.core(), listen(&writer));
        for _ in 0..3 {
            // Enough for a burst, or none.
            for _ in 0..=ahead {
                writer.append_payloads(&[b"x"]).unwrap();
            }
            let before = told.load(Ordering::Relaxed);
            writer.append_payloads(&[b"x"]).unwrap();
            until("the listener is told of an append", || told.load(Ordering::Relaxed) > before);
        }
        until_notifier_sleeps(&core);
        let before = told.load(Ordering::Relaxed);
        writer.close().unwrap();
        assert!(told.load(Ordering::Relaxed) > before, "the end is told before the writer is closed");
    }
}

#[test]
fn a_listener_is_told_when_the_log_becomes_durable_and_when_the_writer_fails() {
    let home = Home::new();
    let mut writer = open(&home, Duration::from_nanos(1));
    let (core, told) = (writer.core(), listen(&writer));
    let second = listen(&writer);
    writer.append_payloads(&[b"x"]).unwrap();
    until_notifier_sleeps(&core);
    let before = told.load(Ordering::Relaxed);
    writer.sync().unwrap();
    until("the listener is told of the flush", || told.load(Ordering::Relaxed) > before);
    until_notifier_sleeps(&core);
    let before = told.load(Ordering::Relaxed);
    core.fail("failing in a test", std::io::ErrorKind::Other.into());
    assert!(told.load(Ordering::Relaxed) > before);
    assert_eq!(second.load(Ordering::Relaxed), 0, "the first one stays");
}
