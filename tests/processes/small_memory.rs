//! Shared memory that is too small, as in containers with a small `/dev/shm`.

use crate::support::child::Child;
use crate::support::namespaces::can_unshare;
use crate::support::payload::check_batch;
use crate::support::ring::{Setup, TestRing};
use waldo::reader::Cursor;

/// Memory that is promised and not there would be a SIGBUS at the first touch. So it is taken at the start,
/// or the start says what is missing, and what is too small.
#[test]
fn a_shared_memory_that_is_too_small_is_an_error_of_the_start_and_no_signal() {
    if !can_unshare(&["-m"]) {
        return;
    }
    for interval_ms in [None, Some(20)] {
        let setup = Setup { interval_ms, ..Setup::default() };
        let (mut refused, mut opened) = (0, 0);
        for size in ["4k", "8k", "12k", "16k", "32k", "64k", "256k", "64m"] {
            let ring = TestRing::new();
            let script = format!("mount -t tmpfs -o size={size} waldo-test /dev/shm");
            let mut writer = Child::spawn_within(&["-m"], &script, "writer", setup.args(ring.home()));
            let message = writer.hear();
            if message[0] == "refused" {
                refused += 1;
                assert_eq!(message[1], "Control", "{size}: {message:?}");
                let text = message.join(" ");
                assert!(text.contains("No space left") && text.contains("/dev/shm"), "{size}: {text}");
                assert_eq!(opened, 0, "{size}: less was enough");
                // Nothing is left that would keep the next one out.
                ring.writer(&setup).close().unwrap();
                continue;
            }
            assert_eq!(message[0], "opened", "{message:?}");
            opened += 1;
            writer.say("append 2000 50");
            assert_eq!(writer.numbers("acked"), [2000]);
            writer.say("close");
            writer.expect("closed");
            writer.finish();
            let mut reader = ring.reader(Cursor::Oldest);
            let batch = reader.poll().unwrap().unwrap();
            assert!(check_batch(&batch, batch.first_seq_no() - 1, setup.max) <= 2000);
        }
        assert!(refused > 0 && opened > 0, "{refused} {opened}");
    }
}
