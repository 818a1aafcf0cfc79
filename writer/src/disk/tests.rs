//! Proofs and directories of the real file system.

#![allow(unsafe_code, reason = "cachestat has no safe wrapper")]

use super::{Disk, FileRights, OsDisk};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::segment::Counter;

fn names(home: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Something mounted at `target`; unmounted when dropped, also by a test that fails.
struct Mounted(PathBuf);

impl Mounted {
    /// `None`, and a word about it, where that is not allowed.
    fn new(kind: &str, target: &Path, data: &str) -> Option<Mounted> {
        fs::create_dir_all(target).unwrap();
        match mount(Some(kind), target, Some(kind), MsFlags::empty(), Some(data)) {
            Ok(()) => Some(Mounted(target.to_owned())),
            Err(error) => {
                println!("skipped: cannot mount {kind} here: {error}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Runs `test` in the directory of an overlay of two directories of a tmpfs.
fn on_an_overlay(test: impl FnOnce(&Path)) {
    let place = tempfile::Builder::new().prefix("waldo-test-overlay-").tempdir().unwrap();
    let base = place.path().join("base");
    let Some(_base) = Mounted::new("tmpfs", &base, "size=16m") else { return };
    let dir = |name: &str| {
        let path = base.join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let (lower, upper, work, merged) = (dir("lower"), dir("upper"), dir("work"), dir("merged"));
    let data =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let Some(_overlay) = Mounted::new("overlay", &merged, &data) else { return };
    test(&merged);
}

fn unshared(file: &dyn super::DiskFile) -> bool {
    file.if_unshared(&mut || file.write_all_at(b"changed", 0)).unwrap()
}

/// A write lease on overlayfs is granted although somebody maps the file: the mapping is one of the file in
/// the upper layer, the lease one of the file on top. With that for a proof, a batch that a reader held
/// changed under it in 275 of 275 slices, and `verify` said that all was fine. So the proof is tried in the
/// ring's own directory.
#[test]
fn nothing_is_proven_unshared_on_an_overlay() {
    on_an_overlay(|home| {
        let disk = OsDisk::open(home).unwrap();
        let file = disk.create("page", FileRights::PRIVATE).unwrap();
        file.write_all_at(b"kept as it is", 0).unwrap();
        let reader = File::open(home.join("page")).unwrap();
        let map = memmap2::MmapOptions::new().len(13).map_raw_read_only(&reader).unwrap();
        drop(reader);
        assert!(!unshared(&*file));
        assert_eq!(fs::read(home.join("page")).unwrap(), b"kept as it is");
        drop(map);
        // Not even then: what cannot be refused proves nothing.
        assert!(!unshared(&*file) && !disk.can_prove_unshared());
        assert_eq!(names(home), ["page"]);
    });
}

/// The whole writer there: it makes each page anew, and says nothing else than elsewhere.
#[test]
fn a_ring_on_an_overlay_recycles_nothing() {
    on_an_overlay(|place| {
        for options in crate::testing::regimes() {
            let home = place.join("ring");
            let mut writer = crate::Writer::open(&home, options.clone()).unwrap();
            for seq_no in 1..=600 {
                writer.append_payloads(&[crate::testing::payload(seq_no)]).unwrap();
            }
            let counter = |counter| writer.core_counter(counter);
            assert!(counter(Counter::TrimmedPages) > 3, "{options:?}");
            assert_eq!(counter(Counter::RecycledPages), 0, "{options:?}");
            let link = fs::read(home.join(waldo_shm_protocol::names::LINK)).unwrap();
            writer.close().unwrap();
            crate::testing::assert_run(&home, 600);
            if let Ok(Link::Posix(name)) = Link::parse(&link) {
                nix::sys::mman::shm_unlink(name.as_str()).unwrap();
            }
            fs::remove_dir_all(&home).unwrap();
        }
    });
}

#[test]
fn where_a_mapping_is_seen_a_file_is_proven_unshared() {
    let home = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(home.path()).unwrap();
    assert!(disk.can_prove_unshared());
    let file = disk.create("page", FileRights::PRIVATE).unwrap();
    assert!(unshared(&*file));
    let reader = File::open(home.path().join("page")).unwrap();
    let map = memmap2::MmapOptions::new().len(7).map_raw_read_only(&reader).unwrap();
    assert!(!unshared(&*file));
    drop(reader);
    assert!(!unshared(&*file));
    drop(map);
    assert!(unshared(&*file));
    assert_eq!(names(home.path()), ["page"]);
}

/// A backup of hard links (`cp -al`) shares its files with the ring. Recycling a page wrote other records
/// into it.
#[test]
fn a_file_with_a_second_name_is_shared() {
    let home = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(home.path()).unwrap();
    let file = disk.create("page", FileRights::PRIVATE).unwrap();
    file.write_all_at(b"record", 0).unwrap();
    let (page, backup) = (home.path().join("page"), home.path().join("backup"));
    fs::hard_link(&page, &backup).unwrap();
    assert!(!unshared(&*file));
    assert_eq!(fs::read(&backup).unwrap(), b"record");
    fs::remove_file(&backup).unwrap();
    assert!(unshared(&*file));
    // Also a name that comes while it is changed.
    let late = file.if_unshared(&mut || fs::hard_link(&page, &backup));
    assert!(!late.unwrap());
}

/// Waits for an open of `path` that the lease keeps waiting, in another thread.
fn open_elsewhere(path: PathBuf) -> (thread::JoinHandle<()>, std::sync::mpsc::Receiver<()>) {
    let (opened, is_open) = channel();
    let thread = thread::spawn(move || {
        let file = File::open(path).unwrap();
        let _ = opened.send(());
        drop(file);
    });
    (thread, is_open)
}

fn lease_is_being_broken(path: &Path) -> bool {
    // "1: LEASE  BREAKING READ 123 fe:00:456 0 EOF" while somebody waits, "ACTIVE" while nobody does.
    use std::os::unix::fs::MetadataExt;
    let inode = format!(":{} ", fs::metadata(path).unwrap().ino());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.contains("BREAK") && line.contains(&inode))
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The kernel does not say whether it has let somebody in who waited, so whoever waits counts as being in.
#[test]
fn a_proof_that_somebody_has_questioned_is_none() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("page");
    let disk = OsDisk::open(home.path()).unwrap();
    let file = disk.create("page", FileRights::PRIVATE).unwrap();
    let blocked = || nix::sys::signal::SigSet::thread_get_mask().unwrap().contains(nix::sys::signal::SIGIO);
    assert!(!blocked());
    let mut elsewhere = None;
    let outcome = file.if_unshared(&mut || {
        elsewhere = Some(open_elsewhere(path.clone()));
        wait_until("somebody asks for the file", || lease_is_being_broken(&path));
        Ok(())
    });
    assert!(!outcome.unwrap());
    elsewhere.unwrap().0.join().unwrap();
    // The signal that came with that would have ended the process, and the thread is as it was.
    assert!(!blocked());
    assert!(unshared(&*file));
}

/// `/proc/sys/fs/lease-break-time`, set back when dropped.
struct BreakTime(String);

impl BreakTime {
    const PATH: &str = "/proc/sys/fs/lease-break-time";

    fn shorten() -> io::Result<BreakTime> {
        let before = fs::read_to_string(BreakTime::PATH)?.trim().to_owned();
        fs::write(BreakTime::PATH, "1")?;
        // The same test in another process, which sets it back or has been killed: then it is the kernel's
        // default that counts. (If it is set back too early for the other one, that one only takes longer.)
        Ok(BreakTime(if before == "1" { "45".into() } else { before }))
    }
}

impl Drop for BreakTime {
    fn drop(&mut self) {
        let _ = fs::write(BreakTime::PATH, &self.0);
    }
}

/// A writer that was stopped (SIGSTOP, a paused container, a snapshot of the machine) for longer than
/// lease-break-time between lease and header had lost the lease: somebody opened and mapped the page, and it
/// was recycled under them.
#[test]
fn a_lease_that_was_taken_away_while_the_header_was_written_proves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("page");
    let disk = OsDisk::open(home.path()).unwrap();
    let file = disk.create("page", FileRights::PRIVATE).unwrap();
    let Ok(_short) = BreakTime::shorten() else {
        println!("skipped: lease-break-time cannot be changed here");
        return;
    };
    let outcome = file.if_unshared(&mut || {
        let (thread, is_open) = open_elsewhere(path.clone());
        // Not answering is what a stopped process does.
        is_open.recv_timeout(Duration::from_secs(60)).unwrap();
        thread.join().unwrap();
        file.write_all_at(b"changed", 0)
    });
    assert!(!outcome.unwrap());
}

/// A writer whose home was renamed went on at the old path, where a new ring was by then: it trimmed and
/// replaced that one's pages.
#[test]
fn a_directory_that_is_renamed_is_followed_and_what_takes_its_place_is_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    let (home, moved) = (parent.path().join("ring"), parent.path().join("moved"));
    fs::create_dir(&home).unwrap();
    let disk = OsDisk::open(&home).unwrap();
    disk.create("a", FileRights::PRIVATE).unwrap().write_all_at(b"mine", 0).unwrap();
    fs::rename(&home, &moved).unwrap();
    fs::create_dir(&home).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(home.join(name), "another's").unwrap();
    }
    disk.create("b", FileRights::PRIVATE).unwrap();
    disk.open("a").unwrap().write_all_at(b"MINE", 0).unwrap();
    disk.rename("a", "c").unwrap();
    disk.remove("b").unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(disk.list().unwrap(), ["c"]);
    assert_eq!(fs::read(moved.join("c")).unwrap(), b"MINE");
    assert_eq!(names(&home), ["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        assert_eq!(fs::read(home.join(name)).unwrap(), b"another's");
    }
}

/// Whatever bears the name of a file of the ring: nothing is waited for, nothing is followed.
#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    use std::os::unix::net::UnixListener;
    let home = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(home.path()).unwrap();
    let at = |name: &str| home.path().join(name);
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    fs::create_dir(at("directory")).unwrap();
    fs::write(at("file"), "").unwrap();
    std::os::unix::fs::symlink("file", at("symlink")).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    for name in ["pipe", "directory", "symlink", "socket"] {
        assert!(disk.open(name).is_err(), "{name}");
        assert!(disk.create(name, FileRights::PRIVATE).is_err(), "{name}");
    }
    assert!(disk.open("file").is_ok());
}

/// Bytes of the file that are dirty in the page cache or on their way to the disk; `None` where that is not
/// told.
fn not_written_back(path: &Path) -> Option<u64> {
    use std::os::fd::AsRawFd;
    let file = File::open(path).unwrap();
    let (range, mut found) = ([0u64, 0], [0u64; 5]);
    // SAFETY: both are as the kernel's structures (cachestat(2)) and live through the call, which writes the
    // second.
    let outcome = unsafe { libc::syscall(451, file.as_raw_fd(), range.as_ptr(), found.as_mut_ptr(), 0u32) };
    (outcome == 0).then_some(found[1] + found[2])
}

/// The flag that makes a lone append durable was left out, and no test noticed: the bytes were there all the
/// same.
#[test]
fn what_is_written_durably_is_not_left_in_the_page_cache() {
    let home = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let (disk, path) = (OsDisk::open(home.path()).unwrap(), home.path().join("page"));
    let file = disk.create("page", FileRights::PRIVATE).unwrap();
    let bytes = vec![7; 64 << 10];
    file.write_all_at(&bytes, 0).unwrap();
    if not_written_back(&path).is_none_or(|pages| pages == 0) {
        println!("skipped: this kernel or file system does not tell what is dirty");
        return;
    }
    // Once with what was dirty before, and then many times, so that no flush in the background is taken for
    // this one.
    for _ in 0..20 {
        file.sync_data().unwrap();
        file.write_all_durable_at(&bytes, 0).unwrap();
        assert_eq!(not_written_back(&path), Some(0));
    }
}
