//! Following a writer in another process, across many pages.

use crate::roles::writer_append;
use crate::support::child::Child;
use crate::support::payload::check_batch;
use crate::support::ring::{Setup, TestRing, counter};
use waldo::reader::Cursor;

const RECORDS: u64 = 4000;

fn follower(ring: &TestRing, setup: &Setup) -> Child {
    Child::spawn("follower", setup.args(ring.home()).with("until", RECORDS))
}

/// Enough pages that nobody is lapped: what is tested here is crossing from page to page.
fn roomy(setup: Setup) -> Setup {
    Setup { ring_size: 64, ..setup }
}

#[test]
fn a_reader_process_follows_a_writer_with_both_engines_and_durabilities() {
    for setup in Setup::all().into_iter().map(roomy) {
        let ring = TestRing::new();
        let mut writer = ring.writer(&setup);
        let mut follower = follower(&ring, &setup);
        follower.expect("ready");
        writer_append(&mut writer, RECORDS, 16, setup.max);
        assert_eq!(follower.expect("at"), ["1"]);
        assert_eq!(follower.numbers("done"), [RECORDS, 0, RECORDS], "{setup:?}");
        follower.finish();
        let status = ring.status();
        assert!(counter(&status, "rotations") > 10, "{status:?}");
        writer.close().unwrap();
    }
}

#[test]
fn a_writer_process_is_followed_with_both_engines_and_durabilities() {
    for setup in Setup::all().into_iter().map(roomy) {
        let ring = TestRing::new();
        let mut writer = Child::spawn("writer", setup.args(ring.home()));
        writer.expect("opened");
        let mut reader = ring.reader(Cursor::Tip);
        writer.say(format!("append {RECORDS} 7"));
        let mut last = 0;
        while last < RECORDS {
            let batch = reader.recv(Some(crate::support::wait::DEADLINE)).unwrap().expect("records");
            last = check_batch(&batch, last, setup.max);
        }
        assert_eq!(writer.numbers("acked"), [RECORDS]);
        assert_eq!(ring.status().writer_pid, writer.pid());
        writer.say("close");
        writer.expect("closed");
        writer.finish();
    }
}
