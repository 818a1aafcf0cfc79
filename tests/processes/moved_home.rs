//! Homes that are moved, replaced, and shared by hard links; lock files that are removed.

use crate::support::child::Child;
use crate::support::payload::{check_batch, payloads};
use crate::support::ring::{Setup, TestRing};
use crate::support::wait::wait_until;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use waldo::protocol::names;
use waldo::reader::{Cursor, verify};
use waldo::writer::{AppendError, OpenError, Writer};

const MAX: usize = 600;

/// Appends so many records that the ring turns several times.
fn turn(writer: &mut Writer) {
    let first = writer.tip().unwrap_or(0) + 1;
    for from in (first..first + 6000).step_by(100) {
        writer.append_payloads(&payloads(from, from + 99, MAX)).unwrap();
    }
}

fn pages(home: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(home).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    let mut found = BTreeMap::new();
    for (name, path) in named.filter(|(name, _)| names::parse_page(name).is_some()) {
        found.insert(name, fs::read(path).unwrap());
    }
    found
}

/// A writer whose home was renamed went on with the old path. Where a new ring had been made there, the
/// writer trimmed that one's pages and put its own in their place.
#[test]
fn a_writer_whose_home_is_moved_stays_with_it() {
    for setup in Setup::all() {
        let ring = TestRing::new();
        let moved = TestRing::at(ring.home().with_file_name("moved"));
        let mut first = ring.writer(&setup);
        turn(&mut first);
        fs::rename(ring.home(), moved.home()).unwrap();
        let mut second = ring.writer(&setup);
        second.append_payloads(&payloads(1, 20, MAX)).unwrap();
        let before = fs::read(ring.page(1)).unwrap();
        turn(&mut first);
        let tip = first.tip().unwrap();
        first.close().unwrap();
        assert!(fs::read(ring.page(1)).unwrap() == before, "{setup:?}");
        assert!(pages(ring.home()).keys().all(|name| names::parse_page(name) <= Some(2)), "{setup:?}");
        second.close().unwrap();
        for (ring, tip) in [(&ring, 20), (&moved, tip)] {
            verify::verify(ring.home(), &mut |_| {}).unwrap();
            let mut writer = ring.writer(&setup);
            assert_eq!((writer.tip(), writer.open_report().clean), (Some(tip), true), "{setup:?}");
            turn(&mut writer);
            writer.close().unwrap();
        }
    }
}

/// `cp -al` is a popular backup. The pages that it shared were recycled, and other records stood in it then.
#[test]
fn pages_with_a_second_name_are_not_recycled() {
    for prepare_ahead in [true, false] {
        let setup = Setup::default();
        let ring = TestRing::new();
        let options = || setup.options().prepare_ahead(prepare_ahead);
        let mut writer = Writer::open(ring.home(), options()).unwrap();
        turn(&mut writer);
        writer.close().unwrap();
        // The last page goes on being written, and the one behind it is blank: nothing else of the backup may
        // change.
        let backup = ring.home().with_file_name("backup");
        fs::create_dir(&backup).unwrap();
        for name in pages(ring.home()).keys() {
            fs::hard_link(ring.home().join(name), backup.join(name)).unwrap();
        }
        let finished = || {
            let mut pages = pages(&backup);
            pages.pop_last();
            pages.pop_last();
            pages
        };
        let before = finished();
        let mut writer = Writer::open(ring.home(), options()).unwrap();
        turn(&mut writer);
        writer.close().unwrap();
        assert!(before.len() > 1 && before == finished());
        verify::verify(ring.home(), &mut |_| {}).unwrap();
    }
}

/// A `writer.lock` was deleted under a live writer, as one would delete one that is stale. A second writer
/// came in, and both acknowledged record 2. The first stops now, and the second is kept out until then.
#[test]
fn a_writer_whose_lock_file_is_removed_stops_and_no_record_is_acknowledged_twice() {
    let setup = Setup::default();
    let ring = TestRing::new();
    let mut first = ring.writer(&setup);
    first.append_payloads(&payloads(1, 1, MAX)).unwrap();
    fs::remove_file(ring.home().join(names::LOCK)).unwrap();
    // It may take some heartbeats, in which records are acknowledged, to this writer alone.
    let home = ring.home().to_owned();
    let options = setup.options();
    let second = std::thread::spawn(move || Writer::open(home, options));
    let mut stopped = None;
    wait_until("the first writer stops", || {
        let next = first.tip().unwrap() + 1;
        match first.append_payloads(&payloads(next, next, MAX)) {
            Ok(_) => false,
            Err(error) => {
                stopped = Some(error);
                true
            }
        }
    });
    let Some(AppendError::Failed { cause }) = stopped else { panic!("{stopped:?}") };
    assert!(cause.to_string().contains("while this writer had it locked"), "{cause}");
    let tip = first.tip().unwrap();
    let _ = second.join().unwrap().map(|writer| assert!(writer.tip().unwrap() >= tip));
    drop(first);
    let mut third = ring.writer(&setup);
    assert!(third.tip().unwrap() >= tip);
    turn(&mut third);
    third.close().unwrap();
}

/// A ring that is removed with its directory, under its writer, and made anew at the same path at once.
#[test]
fn a_writer_whose_ring_is_removed_stops_and_leaves_the_next_one_alone() {
    for setup in Setup::all() {
        let ring = TestRing::new();
        let mut first = ring.writer(&setup);
        turn(&mut first);
        // Its writer may be making the next page meanwhile.
        wait_until("the ring is removed", || fs::remove_dir_all(ring.home()).is_ok());
        let mut second = ring.writer(&setup);
        second.append_payloads(&payloads(1, 20, MAX)).unwrap();
        wait_until("the first writer stops", || {
            let next = first.tip().unwrap() + 1;
            first.append_payloads(&payloads(next, next + 50, MAX)).is_err()
        });
        drop(first);
        turn(&mut second);
        let tip = second.tip();
        second.close().unwrap();
        verify::verify(ring.home(), &mut |_| {}).unwrap();
        let third = ring.writer(&setup);
        assert_eq!((third.tip(), third.open_report().clean), (tip, true), "{setup:?}");
        third.close().unwrap();
    }
}

/// As above, but the first writer cannot notice anything: it is stopped, for as long as it takes.
#[test]
fn a_stopped_writer_keeps_its_ring_without_its_lock_file() {
    let setup = Setup::default();
    let ring = TestRing::new();
    let mut first = Child::spawn("writer", setup.args(ring.home()));
    first.expect("opened");
    first.say("append 10 3");
    first.expect("acked");
    first.stop();
    fs::remove_file(ring.home().join(names::LOCK)).unwrap();
    let mut second = Child::spawn("writer", setup.args(ring.home()));
    let refusal = second.expect("refused");
    assert_eq!(refusal[0], "Locked", "{refusal:?}");
    assert!(refusal.join(" ").contains("removed or replaced"), "{refusal:?}");
    first.kill();
    let mut writer = ring.writer(&setup);
    assert_eq!(writer.tip(), Some(10));
    turn(&mut writer);
    writer.close().unwrap();
}

/// Whatever strange thing bears the name of a page: the start says so, and does not wait for it.
#[test]
fn a_pipe_in_the_place_of_a_page_is_no_page() {
    let setup = Setup::default();
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    turn(&mut writer);
    writer.close().unwrap();
    let last = pages(ring.home()).pop_last().unwrap().0;
    fs::remove_file(ring.home().join(&last)).unwrap();
    nix::unistd::mkfifo(&ring.home().join(&last), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let error = Writer::open(ring.home(), setup.options()).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

/// Readers find the ring, and everything in it, where the writer has gone on.
#[test]
fn a_reader_reads_the_moved_ring() {
    let setup = Setup::default();
    let ring = TestRing::new();
    let moved = TestRing::at(ring.home().with_file_name("moved"));
    let mut writer = ring.writer(&setup);
    writer.append_payloads(&payloads(1, 10, MAX)).unwrap();
    fs::rename(ring.home(), moved.home()).unwrap();
    writer.append_payloads(&payloads(11, 20, MAX)).unwrap();
    let mut reader = moved.reader(Cursor::Oldest);
    let mut last = 0;
    while let Some(batch) = reader.poll().unwrap() {
        last = check_batch(&batch, last, MAX);
    }
    assert_eq!(last, 20);
}

/// Two paths to one directory: a bind mount, as a container has it, and a symbolic link. It is one ring, with
/// one writer and one segment.
#[test]
fn a_ring_is_the_same_by_each_path_to_it() {
    let setup = Setup::default();
    let ring = TestRing::new();
    let root = ring.home().parent().unwrap();
    let (mounted, linked) = (root.join("mounted"), root.join("linked"));
    let mut writer = ring.writer(&setup);
    writer.append_payloads(&payloads(1, 10, MAX)).unwrap();
    let link = fs::read(ring.home().join(names::LINK)).unwrap();
    fs::create_dir(&mounted).unwrap();
    let bound = mount(Some(ring.home()), &mounted, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    if let Err(error) = &bound {
        println!("skipped in part: no bind mounts here: {error}");
    }
    std::os::unix::fs::symlink(ring.home(), &linked).unwrap();
    let paths: Vec<_> = [&linked].into_iter().chain(bound.is_ok().then_some(&mounted)).collect();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for path in &paths {
            let refused = Writer::open(path, setup.options());
            assert!(matches!(refused, Err(OpenError::Locked { .. })), "{refused:?}");
        }
        writer.close().unwrap();
        for path in &paths {
            let mut writer = Writer::open(path, setup.options()).unwrap();
            turn(&mut writer);
            writer.close().unwrap();
            assert_eq!(fs::read(ring.home().join(names::LINK)).unwrap(), link);
        }
        verify::verify(ring.home(), &mut |_| {}).unwrap();
    }));
    let _ = umount2(&mounted, MntFlags::MNT_DETACH);
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
