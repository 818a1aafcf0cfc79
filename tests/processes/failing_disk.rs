//! A disk that fails for good while a ring is written: the file system is shut down, or goes read-only after
//! an error.
//!
//! A loop device in a mount namespace of its own, as in the tests that cut the power. Needs root; says so
//! where something is missing.

use crate::machine::{FileSystem, Machine};
use crate::support::child::Child;
use crate::support::payload::check_batch;
use crate::support::ring::{NEVER_MS, Setup, TestRing, careful};
use crate::support::wait::{DEADLINE, wait_until};
use nix::libc;
use std::io::Write;
use std::process::{Command, Stdio};
use waldo::reader::{Cursor, ReadError, Reader, Wakeup, WriterStatus, verify};
use waldo::writer::Io;

/// How the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// EIO of everything: writes, flushes, and the opening of files.
    Shutdown,
    /// EROFS of every change, as after `errors=remount-ro`.
    ReadOnly,
}

impl Failure {
    fn happen(self, machine: &Machine) {
        match self {
            Failure::Shutdown => machine.cut(),
            Failure::ReadOnly => {
                let done =
                    Command::new("mount").args(["-o", "remount,abort"]).arg(machine.top()).output().unwrap();
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            }
        }
    }
}

const CASES: [(FileSystem, Failure); 3] = [
    (FileSystem::Ext4, Failure::Shutdown),
    (FileSystem::Ext4, Failure::ReadOnly),
    (FileSystem::Xfs, Failure::Shutdown),
];

/// A machine for one case; `None`, and a word about it, where there is none.
fn machine(file_system: FileSystem) -> Option<Machine> {
    Machine::new(file_system).inspect_err(|why| println!("skipped: {why}")).ok()
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

/// Runs `test` on a thread of its own, which goes into a mount namespace of its own.
fn on_own_thread(test: impl FnOnce() + Send + 'static) {
    if let Err(panic) = std::thread::spawn(test).join() {
        std::panic::resume_unwind(panic);
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
                let mut reader = ring.reader(Cursor::Trim);
                assert_eq!(check_batch(&reader.poll().unwrap().unwrap(), 0, setup.max), 100);

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
                        assert_eq!(
                            check_batch(&opened.unwrap().poll().unwrap().unwrap(), 0, setup.max),
                            acked
                        );
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
    match attached.reader_with(Cursor::Trim, careful()) {
        Ok(reader) => Some(reader),
        Err(ReadError::Io { source, .. }) => {
            assert_eq!(source.raw_os_error(), Some(libc::EIO));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Scripts go by the exit status.
#[test]
fn the_command_ends_with_an_error_when_the_disk_fails() {
    for (file_system, failure) in CASES {
        on_own_thread(move || {
            let Some(mut machine) = machine(file_system) else { return };
            for how in [&["--no-sync"][..], &["--sync-interval", "20"], &[]] {
                machine.mount("defaults").unwrap();
                let home = machine.top().join(format!("ring{}", how.len()));
                let mut command = Command::new(env!("CARGO_BIN_EXE_waldo"));
                command.args(["append", "--page-size", "1M", "--ring-size", "4"]).args(how).arg(&home);
                let mut process = command
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap();
                let mut input = process.stdin.take().unwrap();
                input.write_all(b"one\n").unwrap();
                let mut seen = None;
                wait_until("the first record is there, or the command has ended", || {
                    let status = waldo::reader::Ring::attach(&home).map(|ring| ring.status());
                    seen = Some(format!("{status:?}"));
                    matches!(status, Ok(Ok(status)) if status.tip_seq_no == Some(1))
                        || process.try_wait().unwrap().is_some()
                });
                assert!(process.try_wait().unwrap().is_none(), "{seen:?}");
                failure.happen(&machine);
                wait_until("the command ends", || {
                    // The pipe breaks when it has.
                    let _ = input.write_all(b"more\n");
                    process.try_wait().unwrap().is_some()
                });
                let output = process.wait_with_output().unwrap();
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(1), "{file_system:?} {failure:?} {how:?}: {text}");
                assert!(text.contains("the writer has stopped after an error"), "{text}");
                machine.unmount();
            }
        });
    }
}
