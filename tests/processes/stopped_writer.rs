//! A writer that is stopped for long: by a debugger, by `docker pause`, by a snapshot of its virtual machine.

use crate::support::child::Child;
use crate::support::payload::check_batch;
use crate::support::ring::{Setup, TestRing};
use crate::support::wait::{DEADLINE, wait_until};
use std::time::Duration;
use waldo::reader::{AttachOptions, Cursor, Ring, Wakeup, WriterStatus};
use waldo::writer::Io;

/// Nobody takes the ring over because of time that has passed: the lock says whether the writer lives, no
/// clock does. Readers are told that the writer is not to be seen alive, and go on with it when it is back.
#[test]
fn a_writer_that_is_stopped_for_long_keeps_its_ring() {
    for io in Io::ALL {
        let setup = Setup { io, ..Setup::default() };
        let ring = TestRing::new();
        let mut first = Child::spawn("writer", setup.args(ring.home()));
        first.expect("opened");
        first.say("append 10 3");
        first.expect("acked");
        let mut follower = Child::spawn("follower", setup.args(ring.home()));
        follower.expect("ready");
        let stalled_after = Duration::from_millis(300);
        let options =
            AttachOptions::default().check_interval(Duration::from_millis(50)).stalled_after(stalled_after);
        let mut reader = Ring::attach_with(ring.home(), options).unwrap().reader(Cursor::Oldest).unwrap();
        assert_eq!(check_batch(&reader.poll().unwrap().unwrap(), 0, setup.max), 10);

        first.stop();
        let (mut refusals, mut told) = (0, None);
        wait_until("the reader is told, and a second writer has tried before and after", || {
            let mut second = Child::spawn("writer", setup.args(ring.home()));
            let refusal = second.expect("refused");
            assert_eq!(refusal[0], "Locked", "{refusal:?}");
            assert!(refusal.join(" ").contains(&format!("process {} ", first.pid())), "{refusal:?}");
            second.finish();
            refusals += 1;
            // Readers are told once.
            if let Wakeup::Writer(WriterStatus::Stalled { .. }) =
                reader.wait(Some(Duration::from_millis(1))).unwrap()
            {
                told = Some(refusals);
            }
            told.is_some_and(|told| refusals > told + 1)
        });

        first.resume();
        first.say("append 10 3");
        assert_eq!(first.numbers("acked"), [20]);
        let batch = reader.recv(Some(DEADLINE)).unwrap().unwrap();
        assert!(check_batch(&batch, 10, setup.max) <= 20);
        wait_until("the writer is seen alive again", || ring.status().writer == WriterStatus::Live);
        follower.say(20);
        assert_eq!(follower.skip_to("done"), [20, 0, 20]);
        follower.finish();
    }
}
