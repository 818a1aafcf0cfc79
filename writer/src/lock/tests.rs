//! The lock file removed, replaced, made anew; holders that live, die, and cannot be seen.

use super::holder::{Holder, PATIENCE, PATIENCE_DYING, PATIENCE_UNSEEN, Sight};
use super::*;
use std::time::Instant;

fn directory(home: &tempfile::TempDir) -> Directory {
    Directory::open(home.path()).unwrap()
}

/// What is thought of a lock file that names process `pid`.
fn holder(pid: u32) -> Holder {
    let file = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, format!("{pid}\n").as_bytes(), 0).unwrap();
    Holder::read(&file)
}

#[test]
fn a_process_that_has_ended_but_is_not_gone_is_dying() {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let holder = holder(child.id());
    let deadline = Instant::now() + Duration::from_secs(20);
    while holder.sight() != Sight::Dying {
        assert!(Instant::now() < deadline, "not seen to have ended");
        std::thread::yield_now();
    }
    assert_eq!(holder.patience(), PATIENCE_DYING);
    child.wait().unwrap();
    assert_eq!((holder.sight(), holder.patience()), (Sight::Unseen, PATIENCE_UNSEEN));
}

/// Of 5,009 openings after a kill 17 were refused: the writer had been reaped, so that nothing of it was to
/// be seen in /proc, and io_uring let go of the lock more than 700 ms later. Somebody who cannot be seen is
/// waited for longer.
#[test]
fn a_holder_that_is_gone_or_elsewhere_is_waited_for_longer_than_one_that_lives() {
    let file = tempfile::tempfile().unwrap();
    Holder::write(&file).unwrap();
    let me = Holder::read(&file);
    assert_eq!((me.sight(), me.patience()), (Sight::Alive, PATIENCE));
    // In another container there is a process with that number here, too; or it has been given to another
    // one.
    let elsewhere = Holder::read(&tempfile::tempfile().unwrap());
    assert_eq!((elsewhere.sight(), elsewhere.to_string()), (Sight::Alive, "another process".into()));
    let elsewhere = holder(std::process::id());
    assert_eq!(elsewhere.sight(), Sight::Unseen);
    assert!(elsewhere.to_string().contains("another container"), "{elsewhere}");

    let home = tempfile::tempdir().unwrap();
    let first = WriterLock::take(&directory(&home)).unwrap();
    // Reaped, as far as /proc knows.
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    std::fs::write(home.path().join(names::LOCK), format!("{}\n", child.id())).unwrap();
    let dir = directory(&home);
    let second = std::thread::spawn(move || {
        let begun = Instant::now();
        WriterLock::take(&dir).map(|lock| (lock, begun.elapsed()))
    });
    std::thread::sleep(PATIENCE * 2);
    drop(first);
    let (_lock, waited) = second.join().unwrap().unwrap();
    assert!(waited >= PATIENCE);
}

/// A lock file was deleted under a live writer, as a stray one would be: a second writer made another one,
/// locked it, and both acknowledged record 2. The first finds out now; and the second does not come so far,
/// see `hold_meta`.
#[test]
fn a_writer_whose_lock_file_is_removed_or_replaced_finds_out() {
    let home = tempfile::tempdir().unwrap();
    let lock = WriterLock::take(&directory(&home)).unwrap();
    let watch = lock.watch();
    assert!(watch.lost().is_none());
    let path = home.path().join(names::LOCK);
    std::fs::remove_file(&path).unwrap();
    assert!(watch.lost().unwrap().to_string().contains("writer.lock was removed"));
    std::fs::write(&path, "").unwrap();
    assert!(watch.lost().unwrap().to_string().contains("writer.lock was replaced"));
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    assert!(watch.lost().is_some());
}

#[test]
fn the_directory_may_be_renamed_and_another_come_in_its_place() {
    let parent = tempfile::tempdir().unwrap();
    let (home, moved) = (parent.path().join("ring"), parent.path().join("moved"));
    std::fs::create_dir(&home).unwrap();
    let first = WriterLock::take(&Directory::open(&home).unwrap()).unwrap();
    std::fs::rename(&home, &moved).unwrap();
    std::fs::create_dir(&home).unwrap();
    assert!(first.watch().lost().is_none());
    // The new one has a lock of its own, and the old one is locked where it is now.
    let _second = WriterLock::take(&Directory::open(&home).unwrap()).unwrap();
    let error = WriterLock::take(&Directory::open(&moved).unwrap()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
}

/// Two writers that start at the same time: the file that one of them has opened is removed, and the other
/// locks a new one.
#[test]
fn a_lock_on_a_file_that_has_lost_its_name_is_none() {
    let home = tempfile::tempdir().unwrap();
    let dir = directory(&home);
    let (file, _) = open_or_make(&dir).unwrap();
    std::fs::remove_file(home.path().join(names::LOCK)).unwrap();
    let other = file.try_clone().unwrap();
    assert!(WriterLock::lock(&dir, other, false).unwrap().is_none());
    let third = WriterLock::take(&dir).unwrap();
    assert!(WriterLock::lock(&dir, file, false).unwrap().is_none());
    assert!(third.watch().lost().is_none());
}

#[test]
fn what_is_no_regular_file_is_refused_and_does_not_block() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(names::LOCK);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let error = WriterLock::take(&directory(&home)).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(home.path().join("elsewhere"), "mine").unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert!(WriterLock::take(&directory(&home)).is_err());
    assert_eq!(std::fs::read_to_string(home.path().join("elsewhere")).unwrap(), "mine");
}

/// The lock file is cut to nothing and gets the writer's number. What stood in it was lost, whatever it was.
#[test]
fn a_file_that_is_no_lock_file_keeps_its_content() {
    let home = tempfile::tempdir().unwrap();
    let (path, notes) = (home.path().join(names::LOCK), home.path().join("notes"));
    std::fs::write(&notes, "1. buy milk\n").unwrap();
    std::fs::hard_link(&notes, &path).unwrap();
    let error = WriterLock::take(&directory(&home)).unwrap_err();
    assert!(error.to_string().contains("something else"), "{error}");
    assert_eq!(std::fs::read_to_string(&notes).unwrap(), "1. buy milk\n");
    std::fs::write(&notes, "1".repeat(100)).unwrap();
    assert!(WriterLock::take(&directory(&home)).is_err());
    // What a writer leaves, whole or in part.
    for left in ["", "12345\n", "123", "\0\0\0\0\0\0"] {
        std::fs::write(&path, left).unwrap();
        WriterLock::take(&directory(&home)).unwrap();
    }
}

/// The second writer finds no lock file and gets the lock of a new one at once. `ring.meta`, which the first
/// still has locked, keeps it out, however long that one has been stopped.
#[test]
fn without_the_lock_file_the_metadata_still_keeps_a_second_writer_out() {
    let home = tempfile::tempdir().unwrap();
    let mut first = WriterLock::take(&directory(&home)).unwrap();
    first.hold_meta().unwrap();
    std::fs::write(home.path().join(names::META), "meta").unwrap();
    first.hold_meta().unwrap();
    assert!(first.was_missing());
    std::fs::remove_file(home.path().join(names::LOCK)).unwrap();
    let mut second = WriterLock::take(&directory(&home)).unwrap();
    assert!(second.was_missing());
    let error = second.hold_meta().unwrap_err();
    assert!(matches!(&error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("removed or replaced"), "{error}");
    drop(first);
    second.hold_meta().unwrap();
    drop(second);
    let third = WriterLock::take(&directory(&home)).unwrap();
    assert!(!third.was_missing());
}

/// Readers may open `ring.meta` for reading, and so lock it for reading.
#[test]
fn a_reader_that_locks_the_metadata_does_not_keep_the_writer_out() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(names::META);
    std::fs::write(&path, "meta").unwrap();
    let reader = File::open(&path).unwrap();
    set_lock(&reader, libc::F_OFD_SETLK, libc::F_RDLCK).unwrap();
    WriterLock::take(&directory(&home)).unwrap().hold_meta().unwrap();
}
