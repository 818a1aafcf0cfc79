//! Machines and containers where io_uring is not to be had, or not all of it.

use crate::permissions::is_root;
use crate::roles::NOBODY;
use crate::support::args::Args;
use crate::support::child::Child;
use crate::support::payload::check_batch;
use crate::support::ring::{Setup, TestRing};
use waldo::reader::Cursor;
use waldo::writer::Io;

const RECORDS: u64 = 1000;

/// Has a child write with `args`; returns the engine it found.
fn write(ring: &TestRing, setup: &Setup, args: Args) -> String {
    let mut writer = Child::spawn("writer", args);
    let opened = writer.expect("opened");
    writer.say(format!("append {RECORDS} 30"));
    assert_eq!(writer.numbers("acked"), [RECORDS]);
    writer.say("close");
    writer.expect("closed");
    writer.finish();
    let mut reader = ring.reader(Cursor::Oldest);
    let mut last = 0;
    while let Some(batch) = reader.poll().unwrap() {
        last = check_batch(&batch, last, setup.max);
    }
    assert_eq!(last, RECORDS);
    opened[4].clone()
}

#[test]
fn where_io_uring_is_forbidden_the_other_engine_takes_over() {
    for interval_ms in [None, Some(20)] {
        let setup = Setup { io: Io::Auto, ring_size: 64, interval_ms, ..Setup::default() };
        let ring = TestRing::new();
        assert_eq!(write(&ring, &setup, setup.args(ring.home()).with("without_uring", 1)), "Pwrite");
    }
}

#[test]
fn where_io_uring_is_forbidden_asking_for_it_is_an_error() {
    let setup = Setup { io: Io::Uring, ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = Child::spawn("writer", setup.args(ring.home()).with("without_uring", 1));
    let refusal = writer.expect("refused");
    assert_eq!(refusal[0], "Uring");
    assert!(refusal.join(" ").contains("Io::Auto"), "{refusal:?}");
    writer.finish();
    // Nothing of it is in the way of the next one.
    ring.writer(&Setup { io: Io::Pwrite, ..setup }).close().unwrap();
}

/// A ring that a writer of user `nobody` may make.
fn ring_of_nobody() -> TestRing {
    let ring = TestRing::new();
    ring.open_to_all();
    std::os::unix::fs::chown(ring.home(), Some(NOBODY), Some(NOBODY)).unwrap();
    ring
}

#[test]
fn little_locked_memory_is_enough_for_io_uring() {
    // Root is not bound by the limit.
    if !is_root() {
        return;
    }
    for io in [Io::Uring, Io::Auto] {
        let setup = Setup { io, ring_size: 64, ..Setup::default() };
        let ring = ring_of_nobody();
        // The buffers alone take this much, so they cannot be registered.
        let args = setup.args(ring.home()).with("nobody", 1).with("memlock", 64 << 10);
        assert_ne!(write(&ring, &setup, args), "Pwrite", "{io:?}");
    }
}

#[test]
fn no_locked_memory_is_needed() {
    if !is_root() {
        return;
    }
    // Some kernels charge the ring itself, so that there is no io_uring then.
    let setup = Setup { io: Io::Auto, ring_size: 64, ..Setup::default() };
    let ring = ring_of_nobody();
    write(&ring, &setup, setup.args(ring.home()).with("nobody", 1).with("memlock", 0));

    let setup = Setup { io: Io::Uring, ..setup };
    let ring = ring_of_nobody();
    let mut writer = Child::spawn("writer", setup.args(ring.home()).with("nobody", 1).with("memlock", 0));
    let answer = writer.hear();
    assert!(answer[0] == "opened" || answer[..2] == ["refused", "Uring"], "{answer:?}");
}
