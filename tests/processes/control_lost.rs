//! A control segment that goes while readers use it. It is a cache: nobody loses a record.

use crate::support::child::Child;
use crate::support::ring::{Setup, TestRing};
use std::fs;
use waldo::protocol::names;
use waldo::reader::ControlKind;

#[test]
fn readers_outlive_the_control_segment_and_find_the_next_one() {
    for (object, kill) in [(true, false), (true, true), (false, false), (false, true)] {
        let context = format!("object: {object}, kill: {kill}");
        let setup = Setup { ring_size: 64, ..Setup::default() };
        let ring = TestRing::new();
        let mut writer = Child::spawn("writer", setup.args(ring.home()));
        writer.expect("opened");
        writer.say("append 10 3");
        writer.expect("acked");
        let follower = || {
            let mut child = Child::spawn("follower", setup.args(ring.home()).with("report", 1));
            child.expect("ready");
            child
        };
        let mut early = follower();
        early.skip_to("at");

        let ControlKind::Posix(name) = ring.status().control else { panic!("{context}") };
        if object {
            nix::sys::mman::shm_unlink(name.as_str()).unwrap();
        } else {
            fs::remove_file(ring.home().join(names::LINK)).unwrap();
        }
        assert_eq!(ring.status().control, ControlKind::Files, "{context}");
        let mut late = follower();
        writer.say("append 500 5");
        assert_eq!(writer.numbers("acked"), [510]);
        for reader in [&mut early, &mut late] {
            while reader.skip_to("at") != [510] {}
        }

        if kill {
            writer.kill();
        } else {
            writer.say("close");
            writer.expect("closed");
        }
        let mut writer = Child::spawn("writer", setup.args(ring.home()));
        writer.expect("opened");
        assert_ne!(ring.status().control, ControlKind::Files, "{context}");
        writer.say("append 500 5");
        assert_eq!(writer.numbers("acked"), [1010]);
        for mut reader in [early, late, follower()] {
            reader.say(1010);
            assert_eq!(reader.skip_to("done"), [1010, 0, 1010], "{context}");
            reader.finish();
        }
        // A link that was lost leaves its object behind if the next writer does not take it over.
        let _ = nix::sys::mman::shm_unlink(name.as_str());
    }
}
