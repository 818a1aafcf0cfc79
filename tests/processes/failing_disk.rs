//! A disk that fails for good while a ring is written: the file system is shut down, or goes read-only after
//! an error.
//!
//! A loop device in a mount namespace of its own, as in the tests that cut the power. Needs root; says so
//! where something is missing.

use crate::support::child::Child;
use crate::support::disk_failure::{CASES, Failure, machine, on_own_thread};
use crate::support::payload::check_batch;
use crate::support::ring::{NEVER_MS, Setup, TestRing, careful};
use crate::support::wait::DEADLINE;
use nix::libc;
use waldo::reader::{Cursor, ReadError, Reader, Wakeup, WriterStatus, verify};
use waldo::writer::Io;

/// Reads from the first record on, up to `last` or further; gives the last one read.
fn read_up_to(reader: &mut Reader, last: u64, max: usize) -> u64 {
    let mut seen = 0;
    while seen < last {
        seen = check_batch(&reader.poll().unwrap().unwrap(), seen, max);
    }
    seen
}

fn failure_news(reader: &mut Reader) -> i32 {
    loop {
        match reader.wait(Some(DEADLINE)).unwrap() {
            Wakeup::Writer(WriterStatus::Failed { errno }) => return errno,
            Wakeup::Records => drop(reader.poll().unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

/// The writer stops with the system's error, tells readers, and ends; readers keep what they have; nothing
/// that was acknowledged as durable is lost for the next writer, which does not trust the page cache.
#[test]
fn a_disk_that_fails_stops_the_writer_and_takes_nothing_durable() {
    for (file_system, failure) in CASES {
        on_own_thread(move || {
            let Some(mut machine) = machine(file_system) else { return };
            for (n, (io, interval_ms)) in
                Io::ALL.iter().flat_map(|io| [None, Some(20), Some(NEVER_MS)].map(|ms| (*io, ms))).enumerate()
            {
                let context = format!("{file_system:?} {failure:?} {io:?} {interval_ms:?}");
                machine.mount("defaults").unwrap();
                let setup = Setup { io, interval_ms, ..Setup::default() };
                let ring = TestRing::at(machine.top().join(format!("ring-{n}")));
                let mut writer = Child::spawn("writer", setup.args(ring.home()));
                writer.expect("opened");
                writer.say("append 100 10");
                writer.expect("acked");
                writer.say("sync");
                writer.expect("synced");
                let mut follower = Child::spawn("follower", setup.args(ring.home()).with("report", 1));
                follower.expect("ready");
                while follower.skip_to("at") != [100] {}
                let mut reader = ring.reader(Cursor::Oldest);
                assert_eq!(read_up_to(&mut reader, 100, setup.max), 100);

                failure.happen(&machine);
                writer.say("fail 1000000000");
                let [errno, acked] = writer.numbers("failed")[..] else { panic!() };
                assert!(
                    [libc::EIO, libc::EROFS].map(|errno| errno as u64).contains(&errno),
                    "{context}: {errno}"
                );
                assert!(acked >= 100);
                assert_eq!(failure_news(&mut reader), errno as i32, "{context}");
                // What had been acknowledged is there for whoever has the page; and for all others where
                // files can be opened.
                follower.say(acked);
                assert_eq!(follower.skip_to("done"), [acked, 0, acked], "{context}");
                follower.finish();
                let opened = ring_reader(&ring);
                match failure {
                    Failure::ReadOnly => {
                        assert_eq!(read_up_to(&mut opened.unwrap(), acked, setup.max), acked);
                    }
                    Failure::Shutdown => assert!(opened.is_none(), "{context}"),
                }
                writer.kill();
                drop(reader);
                machine.unmount();

                machine.mount("defaults").unwrap();
                let mut writer = ring.writer(&setup);
                let tip = writer.tip().unwrap();
                assert!(tip >= 100 && (interval_ms.is_some() || tip >= acked), "{context}: {tip} of {acked}");
                crate::roles::writer_append(&mut writer, 200, 10, setup.max);
                writer.close().unwrap();
                verify::verify(ring.home(), &mut |_| {}).unwrap();
                drop(ring);
                machine.unmount();
            }
        });
    }
}

/// A reader, where files can be opened: `None` if the system says EIO.
fn ring_reader(ring: &TestRing) -> Option<Reader> {
    let options = waldo::reader::AttachOptions::default();
    let attached = match waldo::reader::Ring::attach_with(ring.home(), options) {
        Ok(attached) => attached,
        Err(waldo::reader::AttachError::Io { source, .. }) => {
            assert_eq!(source.raw_os_error(), Some(libc::EIO));
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    match attached.reader_with(Cursor::Oldest, careful()) {
        Ok(reader) => Some(reader),
        Err(ReadError::Io { source, .. }) => {
            assert_eq!(source.raw_os_error(), Some(libc::EIO));
            None
        }
        Err(error) => panic!("{error}"),
    }
}
