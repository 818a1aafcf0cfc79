//! What another user has left under the name of a ring's control segment.

use crate::permissions::is_root;
use crate::roles::NOBODY;
use crate::support::child::Child;
use crate::support::payload::check_batch;
use crate::support::ring::{Setup, TestRing};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use waldo::reader::{ControlKind, Cursor};

/// A ring was written by root once, say with `sudo waldo append`. The segment that this left belonged to
/// root, in a directory where nobody may remove other people's files, and the service that the ring belongs
/// to did not start any more.
#[test]
fn another_user_s_left_over_does_not_keep_a_service_from_starting() {
    if !is_root() {
        return;
    }
    let setup = Setup::default();
    let ring = TestRing::new();
    ring.open_to_all();
    chown(ring.home(), Some(NOBODY), Some(NOBODY)).unwrap();
    let write = |tip: u64| {
        let mut writer = Child::spawn("writer", setup.args(ring.home()).with("nobody", 1));
        writer.expect("opened");
        assert_ne!(ring.status().control, ControlKind::Files);
        writer.say("append 10 3");
        assert_eq!(writer.numbers("acked"), [tip]);
        writer.say("close");
        writer.expect("closed");
        writer.finish();
    };
    write(10);
    let left = ring.segment();
    chown(&left, Some(0), Some(0)).unwrap();
    for mode in [0o600, 0o666] {
        fs::set_permissions(&left, fs::Permissions::from_mode(mode)).unwrap();
        let before = fs::read(&left).unwrap();
        write(if mode == 0o600 { 20 } else { 30 });
        // It is not written to either, though it might be: its owner could shorten it.
        assert!(fs::read(&left).unwrap() == before && fs::metadata(&left).unwrap().uid() == 0);
        assert_ne!(ring.segment(), left);
    }
    // The other name stays.
    let other = ring.segment();
    write(40);
    assert_eq!(ring.segment(), other);
    let mut reader = ring.reader(Cursor::Oldest);
    let mut last = 0;
    while let Some(batch) = reader.poll().unwrap() {
        last = check_batch(&batch, last, setup.max);
    }
    assert_eq!(last, 40);
    fs::remove_file(left).unwrap();
}
