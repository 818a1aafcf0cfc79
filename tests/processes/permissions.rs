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
        let setup = Setup { mode: 0o644, ring_size: 64, interval_ms, ..Setup::default() };
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
    let setup = Setup { mode: 0o600, ..Setup::default() };
    let ring = TestRing::new();
    ring.open_to_all();
    let mut writer = ring.writer(&setup);
    writer_append(&mut writer, 10, 1, setup.max);
    let mut visitor = Child::spawn("visitor", setup.args(ring.home()).with("nobody", 1));
    visitor.expect("refused");
    visitor.expect("done");
    visitor.finish();
}
