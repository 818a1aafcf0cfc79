//! Writers that are killed and started again under a crowd of sleeping readers.

use crate::support::child::Child;
use crate::support::crowd::{Crowd, size};
use crate::support::ring::{Setup, TestRing};
use crate::support::wait::wait_until;
use std::fs;
use std::time::Instant;

const READERS: usize = 100;

/// A crowd of readers asleep behind the last record, and the dead writer they are waiting for.
fn crowd(ring: &TestRing, setup: &Setup, count: usize) -> Crowd {
    let mut writer = Child::spawn("writer", setup.args(ring.home()));
    writer.expect("opened");
    writer.say("append 500 50");
    assert_eq!(writer.numbers("acked"), [500]);
    let mut crowd = Crowd::new("member");
    for _ in 0..count {
        crowd.start(setup.args(ring.home()).with("report", 500));
    }
    let numbers = crowd.numbers();
    for _ in 0..2 * count {
        let (_, words) = crowd.hear();
        assert!(words[0] == "ready" || words == ["at", "500"], "{words:?}");
    }
    all_fall_asleep(&crowd, numbers);
    writer.kill();
    crowd
}

/// Waits until each reader has been seen asleep. Not all at one moment: each looks around now and then.
fn all_fall_asleep(crowd: &Crowd, mut awake: Vec<usize>) {
    wait_until("readers fall asleep", || {
        awake.retain(|number| !crowd.asleep(*number));
        awake.is_empty()
    });
}

/// Reads that process `pid` has made with system calls.
fn reads(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    io.lines().find_map(|line| line.strip_prefix("syscr: ")).unwrap().parse().unwrap()
}

/// Restarts the writer `rounds` times, each time with `next(round)`; everybody must go on, with few system
/// calls.
fn restarts(rounds: u64, next: impl Fn(u64) -> Setup) {
    let ring = TestRing::new();
    let setup = next(0);
    let count = size(READERS);
    let mut crowd = crowd(&ring, &setup, count);
    let numbers = crowd.numbers();
    let mut tip = 500;
    for round in 1..=rounds {
        let before: Vec<u64> = numbers.iter().map(|number| reads(crowd.pid(*number))).collect();
        let start = Instant::now();
        let mut writer = Child::spawn("writer", next(round).args(ring.home()));
        writer.expect("opened");
        let opened = start.elapsed();
        writer.say("append 500 50");
        tip += 500;
        assert_eq!(writer.numbers("acked"), [tip]);
        let appended = start.elapsed();
        for answer in crowd.expect(&numbers, "at") {
            assert_eq!(answer, [tip]);
        }
        let all = start.elapsed();
        all_fall_asleep(&crowd, numbers.clone());
        let most = numbers.iter().zip(before).map(|(n, before)| reads(crowd.pid(*n)) - before).max().unwrap();
        println!(
            "{count} readers, restart {round}: opened after {opened:?}, appended {appended:?}, all read {all:?}; \
             at most {most} reads each"
        );
        // Metadata, link, page header; and a look at the link whenever a sleep of 1.5 s or more ends by
        // itself.
        let looks = start.elapsed().as_secs() * 2 / 3 + 1;
        assert!(most <= 16 + 2 * looks, "{most} reads");
        if round == rounds {
            writer.say("end");
            writer.expect("acked");
            for answer in crowd.expect(&numbers, "done") {
                assert_eq!(answer, [1, tip + 1, 0, tip + 1]);
            }
        }
        writer.kill();
    }
    crowd.finish();
}

fn setup() -> Setup {
    Setup { ring_size: 256, max: 200, interval_ms: Some(20), ..Setup::default() }
}

#[test]
fn sleeping_readers_go_on_with_the_next_writer() {
    restarts(3, |_| setup());
}

#[test]
fn sleeping_readers_go_on_when_the_segment_had_to_be_replaced() {
    restarts(3, |round| Setup { ring_size: 256 + round as u32, ..setup() });
}
