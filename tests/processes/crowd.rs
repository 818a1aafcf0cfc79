//! Many reader processes at once.

use crate::roles::writer_append;
use crate::support::child::Child;
use crate::support::crowd::{Crowd, size};
use crate::support::payload::END;
use crate::support::ring::{NEVER_MS, Setup, TestRing};
use crate::support::wait::wait_until;
use std::time::Instant;

const READERS: usize = 100;
const RECORDS: u64 = 1500;

#[test]
fn a_hundred_processes_each_see_every_record() {
    let setup = Setup { ring_size: 64, ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    let args = || setup.args(ring.home()).with("until", RECORDS);
    let mut readers: Vec<Child> = (0..READERS).map(|_| Child::spawn("follower", args())).collect();
    for reader in &mut readers {
        reader.expect("ready");
    }
    writer_append(&mut writer, RECORDS, 10, setup.max);
    for mut reader in readers {
        assert_eq!(reader.skip_to("done"), [RECORDS, 0, RECORDS]);
        reader.finish();
    }
}

#[test]
fn sleepers_are_woken_by_every_append_and_by_nothing_else() {
    const SLEEPERS: usize = 20;
    const ROUNDS: u64 = 20;
    let setup = Setup { ring_size: 64, ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    let args = || setup.args(ring.home()).with("until", ROUNDS);
    let mut sleepers: Vec<Child> = (0..SLEEPERS).map(|_| Child::spawn("waiter", args())).collect();
    for sleeper in &mut sleepers {
        sleeper.expect("ready");
    }
    for seq_no in 1..=ROUNDS {
        writer_append(&mut writer, 1, 1, setup.max);
        for sleeper in &mut sleepers {
            assert_eq!(sleeper.numbers("got"), [seq_no]);
        }
    }
    sleepers.into_iter().for_each(Child::finish);
}

#[test]
fn a_change_wakes_every_sleeper_of_a_crowd_once() {
    const APPENDS: u64 = 10;
    // No flush comes in between, which would be a change as well.
    let setup = Setup { ring_size: 64, interval_ms: Some(NEVER_MS), ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    let attached = ring.attach();
    let mut crowd = Crowd::new("member");
    for _ in 0..size(2 * READERS) {
        crowd.start(setup.args(ring.home()).with("report", 1));
    }
    let numbers = crowd.numbers();
    crowd.expect(&numbers, "ready");
    let switches = |crowd: &Crowd| numbers.iter().map(|n| crowd.sleeps(*n)).collect::<Vec<_>>();
    let before = switches(&crowd);
    for seq_no in 1..=APPENDS {
        writer_append(&mut writer, 1, 1, setup.max);
        for answer in crowd.expect(&numbers, "at") {
            assert_eq!(answer, [seq_no]);
        }
        // The thread that wakes them beats the heart: it has come to an end with waking.
        let read = Instant::now();
        wait_until("the heart beats", || attached.status().unwrap().heartbeat_age.unwrap() < read.elapsed());
    }
    let all: u64 = switches(&crowd).iter().zip(before).map(|(after, before)| after - before).sum();
    let each = all / numbers.len() as u64;
    println!("{} readers went to sleep {each} times each for {APPENDS} appends", numbers.len());
    // Now and then one waits for its turn to tell of it.
    assert!(each <= 2 * APPENDS, "{each}");
    writer.append_payloads(&[END]).unwrap();
    crowd.expect(&numbers, "done");
    crowd.finish();
}
