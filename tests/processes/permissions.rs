//! Readers that belong to another user.

use crate::roles::writer_append;
use crate::support::child::Child;
use crate::support::ring::{Setup, TestRing};

/// Whether a child can become another user; if not, says so.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: only root can start a process of another user");
    }
    root
}

#[test]
fn another_user_with_read_permission_follows_waits_and_is_woken() {
    if !is_root() {
        return;
    }
    const RECORDS: u64 = 2000;
    // A file of somebody else's cannot be opened with O_NOATIME, which matters where appends are durable.
    for interval_ms in [None, Some(50)] {
        let setup = Setup { mode: Some(0o644), ring_size: 64, interval_ms, ..Setup::default() };
        let ring = TestRing::new();
        ring.open_to_all();
        let mut writer = ring.writer(&setup);
        let args = || setup.args(ring.home()).with("nobody", 1);
        let mut waiter = Child::spawn("waiter", args().with("until", 50));
        waiter.expect("ready");
        for seq_no in 1..=50 {
            writer_append(&mut writer, 1, 1, setup.max);
            assert_eq!(waiter.numbers("got"), [seq_no]);
        }
        waiter.finish();
        let mut follower = Child::spawn("follower", args().with("until", RECORDS));
        follower.expect("ready");
        writer_append(&mut writer, RECORDS - 50, 10, setup.max);
        assert_eq!(follower.skip_to("done"), [RECORDS, 0, RECORDS]);
        follower.finish();

        let mut visitor = Child::spawn("visitor", args());
        visitor.expect("attached");
        visitor.expect("done");
        visitor.finish();
        // It has disturbed nothing.
        writer_append(&mut writer, 10, 1, setup.max);
        writer.close().unwrap();
    }
}

#[test]
fn another_user_without_read_permission_is_refused_in_plain_words() {
    if !is_root() {
        return;
    }
    let setup = Setup { mode: Some(0o600), ..Setup::default() };
    let ring = TestRing::new();
    ring.open_to_all();
    let mut writer = ring.writer(&setup);
    writer_append(&mut writer, 10, 1, setup.max);
    let mut visitor = Child::spawn("visitor", setup.args(ring.home()).with("nobody", 1));
    visitor.expect("refused");
    visitor.expect("done");
    visitor.finish();
}

/// The files have the mode that was asked for, whatever the umask of whoever starts the writer.
#[test]
fn the_umask_neither_takes_nor_gives_permissions() {
    if !is_root() {
        return;
    }
    for umask in [0o000, 0o077, 0o777] {
        for (mode, may_read) in [(0o644, true), (0o600, false)] {
            let setup = Setup { mode: Some(mode), ring_size: 3, ..Setup::default() };
            let ring = TestRing::new();
            ring.open_to_all();
            let mut writer = Child::spawn("writer", setup.args(ring.home()).with("umask", umask));
            writer.expect("opened");
            // Pages that are made later, too.
            writer.say("append 2000 10");
            writer.expect("acked");
            let mut visitor = Child::spawn("visitor", setup.args(ring.home()).with("nobody", 1));
            visitor.expect(if may_read { "attached" } else { "refused" });
            visitor.expect("done");
            visitor.finish();
            if may_read {
                let args = setup.args(ring.home()).with("nobody", 1).with("after", 1990).with("until", 2000);
                let mut follower = Child::spawn("follower", args);
                follower.expect("ready");
                assert_eq!(follower.skip_to("done"), [10, 0, 2000]);
                follower.finish();
            }
        }
    }
}
