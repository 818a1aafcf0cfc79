//! `waldo gc`: what nobody needs any more.

use crate::rings::{exists_in_shm, killed, listed};
use crate::scene::Scene;
use crate::support::*;
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use waldo::protocol::Log;
use waldo::writer::{Durability, Writer, WriterOptions};

#[test]
fn segments_whose_ring_is_gone_are_collected() {
    let place = Place::new();
    let (gone, stays) = (place.join("gone"), place.join("stays"));
    let (left_over, used) = (killed(&gone), killed(&stays));
    let name = left_over.trim_start_matches('/');
    // A reader, in whatever container. It also keeps the writers of other tests, which sweep, from removing
    // it.
    let held = fs::File::open(Path::new("/dev/shm").join(name)).unwrap();
    fs::remove_dir_all(&gone).unwrap();
    let rows = listed(&place, &[]);
    let state = |home: &Path| {
        rows.iter()
            .find(|row| row["home"].as_str() == home.to_str())
            .map(|row| row["state"].as_str().unwrap())
    };
    assert_eq!(state(&gone), Some("gone"), "{rows:?}");
    for args in [&["gc"][..], &["gc", "--apply"]] {
        let refused = run(waldo().args(args), b"");
        let said = refused.text().lines().find(|line| line.contains(name)).unwrap();
        assert!(said.contains("left ") || said.contains("would leave "), "{said}");
        assert!(said.ends_with("but a process still has it"), "{said}");
        assert!(exists_in_shm(&left_over));
    }
    drop(held);
    // Other tests, which look at all segments there are, may have this one open for a moment.
    until("it is collected", || {
        let done = run(waldo().args(["gc", "--apply"]), b"");
        assert_eq!(done.code, 0, "{} {}", done.text(), done.stderr);
        (!exists_in_shm(&left_over)).then_some(())
    });
    assert!(exists_in_shm(&used));
    let _ = nix::sys::mman::shm_unlink(used.as_str());
}

/// Of a ring that has been removed no reader takes them away any more.
#[test]
fn reports_of_dead_readers_are_collected_though_their_ring_is_gone() {
    let scene = Scene::new();
    let home = scene.place.ring("ring", b"1\n");
    let mut dead = scene.follower(&home, "indexer");
    scene.until_row(&home, "position", 1.into());
    let mut heir = scene.follower(&home, "indexer");
    until("both are seen", || (scene.rows(&home).len() == 2).then_some(()));
    dead.signal(Signal::SIGKILL);
    dead.wait();
    let user = scene.readers.join(format!("waldo.readers.{}", nix::unistd::geteuid()));
    let lower = fs::read_dir(&user).unwrap().next().unwrap().unwrap().path();
    let reports = || fs::read_dir(&lower).map_or(0, Iterator::count);
    assert_eq!(reports(), 2);
    // Or it would notice, and end.
    heir.signal(Signal::SIGSTOP);
    assert_eq!(run(waldo().arg("rm").arg(&home), b"").code, 0);
    let gc = |args: &[&str]| {
        let done = run(scene.waldo().arg("gc").args(args), b"");
        assert_eq!(done.code, 0, "{} {}", done.text(), done.stderr);
        let place = lower.to_str().unwrap();
        done.text().lines().find(|line| line.contains(place)).map(str::to_owned)
    };
    let planned = gc(&[]).unwrap();
    assert!(planned.starts_with("would remove 1 report of readers in "), "{planned}");
    assert_eq!(reports(), 2);
    let done = gc(&["--apply"]).unwrap();
    assert!(done.starts_with("removed 1 report of readers in "), "{done}");
    // That of the live one stays, and that of one which was killed less than an hour ago.
    assert_eq!(reports(), 1);
    heir.signal(Signal::SIGKILL);
    heir.wait();
    assert_eq!((gc(&["--apply"]), reports()), (None, 1));
}

#[test]
fn rings_that_nobody_writes_are_collected_when_that_is_asked_for() {
    let place = Place::new();
    let old = place.ring("rings/old", b"x\n");
    let backup = place.ring("rings/old-backup-1", b"x\n");
    let live = place.join("rings/live");
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&live));
    writer.write(b"one\n");
    until_tip(&live, 1);
    let gc =
        |args: &[&str]| run(waldo().args(["gc", "--unused-for"]).args(args).arg(place.join("rings")), b"");
    let young = gc(&["1h", "--apply"]);
    assert!(!young.text().contains("rings/old"), "{}", young.text());
    let planned = gc(&["0s"]);
    assert!(planned.code == 0 && planned.text().contains("would remove the ring"), "{}", planned.stderr);
    assert!(old.exists());
    let done = gc(&["0s", "--apply"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(!old.exists() && backup.exists() && live.exists(), "{}", done.text());
    assert_eq!(writer.finish().code, 0);
    assert_eq!(run(waldo().args(["gc", "--unused-for", "1h"]), b"").code, 2);
}

/// An archive of records that are older than any other test's, and the same with one of today.
#[test]
fn a_ring_that_is_appended_to_before_its_lock_is_held_stays() {
    let place = Place::new();
    let home = place.join("rings/ring");
    let options = WriterOptions::default().page_len(1 << 20).ring_size(4).durability(Durability::PageCache);
    let mut writer = Writer::open(&home, options.remove_control(true)).unwrap();
    writer.append_at(1_000_000_000, &[Log::new_borrowed(1, 0, b"old")]).unwrap();
    writer.close().unwrap();
    let fresh = place.join("fresh");
    copy(&home, &fresh);
    assert_eq!(run(waldo().arg("append").arg(&fresh), b"new\n").code, 0);
    // Somebody has the lock, nobody knows who. A process that is not seen is waited for longer.
    fs::write(home.join("writer.lock"), format!("{}\n", u32::MAX)).unwrap();
    let lock = fs::OpenOptions::new().read(true).write(true).open(home.join("writer.lock")).unwrap();
    let mut whole: libc::flock = unlocked();
    whole.l_type = libc::F_WRLCK as libc::c_short;
    nix::fcntl::fcntl(&lock, nix::fcntl::FcntlArg::F_OFD_SETLK(&whole)).unwrap();
    let args = ["gc", "--apply", "--unused-for", "1h"];
    let mut gc = Process::start(waldo().args(args).arg(place.join("rings")));
    // There is nothing else that it sleeps for.
    until("gc waits for the lock", || {
        is_in_call(gc.pid(), &[libc::SYS_nanosleep, libc::SYS_clock_nanosleep]).then_some(())
    });
    // As if a writer had come, appended and gone.
    copy(&fresh, &home);
    drop(lock);
    let done = gc.wait();
    assert_eq!(done.code, 0, "{} {}", done.text(), done.stderr);
    assert_eq!(run(waldo().arg("tail").arg(&home), b"").text(), "old\nnew\n", "{}", done.text());
}

fn unlocked() -> libc::flock {
    libc::flock {
        l_type: libc::F_UNLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Pages and metadata, into files that may be there.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["page-0000000000000001", "ring.meta"] {
        fs::write(to.join(name), fs::read(from.join(name)).unwrap()).unwrap();
    }
}
