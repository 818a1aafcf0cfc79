//! Limits of the process: length of files, number of files, threads, and io_uring that is allowed by half.

use crate::permissions::is_root;
use crate::support::child::Child;
use crate::support::payload::check_batch;
use crate::support::ring::{Setup, TestRing};
use nix::libc;
use waldo::reader::{Cursor, verify};
use waldo::writer::Io;

/// A user of whom there is no other process.
const NOBODY_ELSE: u32 = 61_873;

/// A ring that a writer of that user may make.
fn ring_of(user: u32) -> TestRing {
    let ring = TestRing::new();
    ring.open_to_all();
    std::os::unix::fs::chown(ring.home(), Some(user), Some(user)).unwrap();
    ring
}

fn records(ring: &TestRing, max: usize) -> u64 {
    let mut reader = ring.reader(Cursor::Oldest);
    let mut last = 0;
    while let Some(batch) = reader.poll().unwrap() {
        last = check_batch(&batch, last, max);
    }
    last
}

/// The kernel sends SIGXFSZ with the error, which ended the process. Here the writer is asked at once; in
/// `crash.rs` the limit comes while it runs.
#[test]
fn where_files_may_not_be_as_long_as_a_page_the_ring_does_not_open() {
    for io in Io::ALL {
        let setup = Setup { io, ..Setup::default() };
        let ring = TestRing::new();
        let mut writer = Child::spawn("writer", setup.args(ring.home()).with("fsize", 32 << 10));
        let refusal = writer.expect("refused");
        assert_eq!(refusal[0], "FileLength", "{refusal:?}");
        let text = refusal.join(" ");
        assert!(text.contains("32768") && text.contains("65536") && text.contains("RLIMIT_FSIZE"), "{text}");
        writer.finish();
        ring.writer(&setup).close().unwrap();
    }
}

/// A limit that comes later is met by an append, which says so.
#[test]
fn a_limit_on_files_that_comes_later_is_an_error_and_no_signal() {
    for setup in Setup::all() {
        let ring = TestRing::new();
        let mut writer = Child::spawn("writer", setup.args(ring.home()));
        writer.expect("opened");
        writer.say("append 10 3");
        writer.expect("acked");
        writer.say("fail 40000");
        let failed = writer.numbers("failed");
        assert_eq!(failed[0], libc::EFBIG as u64, "{setup:?}");
        writer.finish();
        assert!(records(&ring, setup.max) >= failed[1]);
        ring.writer(&setup).close().unwrap();
    }
}

/// Many containers let io_uring be set up, and forbid its use by another rule. The measurement at the start
/// met that, and its error was the end.
#[test]
fn where_io_uring_may_be_set_up_but_not_used_the_other_engine_takes_over() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        for interval_ms in [None, Some(20)] {
            let setup = Setup { io: Io::Auto, interval_ms, ..Setup::default() };
            let ring = TestRing::new();
            let mut writer = Child::spawn("writer", setup.args(ring.home()).with("without_enter", errno));
            assert_eq!(writer.expect("opened")[4], "Pwrite");
            writer.say("append 100 10");
            assert_eq!(writer.numbers("acked"), [100]);
            writer.say("close");
            writer.expect("closed");
            assert_eq!(records(&ring, setup.max), 100);
        }
        let setup = Setup { io: Io::Uring, ..Setup::default() };
        let ring = TestRing::new();
        let mut writer = Child::spawn("writer", setup.args(ring.home()).with("without_enter", errno));
        let refusal = writer.expect("refused");
        assert_eq!(refusal[0], "Uring", "{refusal:?}");
        assert!(refusal.join(" ").contains("Io::Auto"), "{refusal:?}");
    }
}

/// Where no thread can be started the kernel cancels what it would need one for. That was taken for a
/// moment's trouble, and tried again for ever.
#[test]
fn without_a_thread_for_io_uring_records_are_written_all_the_same() {
    if !is_root() {
        println!("skipped: only root can become a user of its own");
        return;
    }
    for interval_ms in [None, Some(20)] {
        let setup = Setup { io: Io::Uring, interval_ms, ring_size: 64, ..Setup::default() };
        let ring = ring_of(NOBODY_ELSE);
        let mut writer = Child::spawn("writer", setup.args(ring.home()).with("uid", NOBODY_ELSE));
        writer.expect("opened");
        writer.say("starve 500 50");
        assert_eq!(writer.numbers("acked"), [500]);
        writer.say("close");
        writer.expect("closed");
        assert_eq!(records(&ring, setup.max), 500);
    }
}

/// A start that got its first thread and not the second one left the first at work, without the lock: records
/// that the next writer acknowledged were lost to it.
#[test]
fn a_start_that_gets_too_few_threads_leaves_none() {
    if !is_root() {
        println!("skipped: only root can become a user of its own");
        return;
    }
    for io in Io::ALL {
        for interval_ms in [None, Some(20)] {
            let setup = Setup { io, interval_ms, ..Setup::default() };
            let ring = ring_of(NOBODY_ELSE + 1);
            let mut starved = Child::spawn("starved", setup.args(ring.home()).with("uid", NOBODY_ELSE + 1));
            let mut refusals = Vec::new();
            let last = loop {
                let message = starved.hear();
                if message[0] == "opened" {
                    break message;
                }
                assert_eq!(message[2], "0", "threads are left: {message:?}");
                let expected = if io == Io::Uring { &["Threads", "Uring"][..] } else { &["Threads"] };
                assert!(expected.contains(&message[1].as_str()), "{message:?}");
                refusals.push(message);
            };
            assert!(refusals.len() >= 2, "{refusals:?} {last:?}");
            starved.finish();
        }
    }
}

/// A ring of some thousand pages met the soft limit, and did not open again.
#[test]
fn the_soft_limit_on_files_is_raised_when_it_is_met() {
    let setup = Setup { ring_size: 64, ..Setup::default() };
    let ring = TestRing::new();
    for tip in [10_000, 20_000] {
        let mut writer = Child::spawn("writer", setup.args(ring.home()).with("nofile", 24));
        writer.expect("opened");
        writer.say("append 10000 100");
        assert_eq!(writer.numbers("acked"), [tip]);
        writer.say("close");
        writer.expect("closed");
        writer.finish();
        verify::verify(ring.home(), &mut |_| {}).unwrap();
    }
}

/// Some file systems cannot promise room. There the zeros that are written take it.
#[test]
fn without_fallocate_pages_are_made_all_the_same() {
    for setup in Setup::all() {
        let ring = TestRing::new();
        let mut writer =
            Child::spawn("writer", setup.args(ring.home()).with("without_fallocate", setup.page_len));
        writer.expect("opened");
        writer.say("append 1000 10");
        assert_eq!(writer.numbers("acked"), [1000]);
        writer.say("close");
        writer.expect("closed");
        writer.finish();
        verify::verify(ring.home(), &mut |_| {}).unwrap();
        assert_eq!(ring.writer(&setup).tip(), Some(1000));
    }
}
