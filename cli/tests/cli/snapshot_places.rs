//! Where `waldo snapshot` makes its copy, and what of it stays.

use crate::disk_failure::{machine, on_own_thread};
use crate::machine::FileSystem;
use crate::support::*;
use nix::mount::{MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A ring that takes a moment to copy.
fn large(place: &Place) -> PathBuf {
    let home = place.join("ring");
    let args = ["append", "--no-sync", "--page-size", "256K", "--ring-size", "200"];
    let line = format!("{}\n", "some text ".repeat(100));
    let done = run(waldo().args(args).arg(&home), line.repeat(40_000).as_bytes());
    assert_eq!(done.code, 0, "{}", done.stderr);
    home
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A snapshot into `to`, stopped while it copies pages.
fn stopped(home: &Path, to: &Path) -> Killed {
    let (parent, there) = (to.parent().unwrap(), to.exists());
    loop {
        let mut command = waldo();
        let command = command.arg("snapshot").arg(home).arg(to).stderr(Stdio::null());
        let mut copying = Killed(command.spawn().unwrap());
        let pages = || {
            let copies = names_in(parent).into_iter().filter(|name| name.contains("copy"));
            copies.map(|name| fs::read_dir(parent.join(name)).map_or(0, Iterator::count)).sum::<usize>()
        };
        until("it copies pages", || (pages() > 1 || copying.0.try_wait().unwrap().is_some()).then_some(()));
        if copying.0.try_wait().unwrap().is_none() {
            send(&copying, Signal::SIGSTOP);
            let stat = || fs::read_to_string(format!("/proc/{}/stat", copying.0.id())).unwrap();
            until("it is stopped", || stat().rsplit(')').next().unwrap().starts_with(" T").then_some(()));
            if !to.join("ring.meta").exists() {
                return copying;
            }
        }
        // It was quicker than the look at it.
        drop(copying);
        fs::remove_dir_all(to).unwrap();
        if there {
            fs::create_dir(to).unwrap();
        }
    }
}

fn send(process: &Killed, signal: Signal) {
    kill(Pid::from_raw(process.0.id() as i32), signal).unwrap();
}

fn ended(process: &mut Killed) -> Option<i32> {
    send(process, Signal::SIGCONT);
    until("it ends", || process.0.try_wait().unwrap()).code()
}

#[test]
fn an_interrupted_snapshot_leaves_nothing() {
    let place = Place::new();
    let home = large(&place);
    fs::create_dir(place.join("into")).unwrap();
    let to = place.join("into/copy");
    for there in [false, true] {
        if there {
            fs::create_dir(&to).unwrap();
        }
        let mut copying = stopped(&home, &to);
        send(&copying, Signal::SIGTERM);
        assert_eq!(ended(&mut copying), Some(143));
        let left = if there { names_in(&to) } else { names_in(to.parent().unwrap()) };
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Pages without metadata lay under the name of the copy, and the next run refused the directory.
#[test]
fn a_snapshot_that_is_killed_is_not_there_and_keeps_no_other_from_it() {
    let place = Place::new();
    let home = large(&place);
    fs::create_dir(place.join("into")).unwrap();
    let to = place.join("into/copy");
    let mut copying = stopped(&home, &to);
    send(&copying, Signal::SIGKILL);
    assert_eq!(ended(&mut copying), None);
    assert!(!to.join("page-0000000000000001").exists());
    assert_eq!(run(waldo().arg("snapshot").arg(&home).arg(format!("{}/", to.display())), b"").code, 0);
    assert_eq!(run(waldo().arg("verify").arg(&to), b"").code, 0);
}

/// The copy took the place of the metadata that somebody else had made there.
#[test]
fn what_comes_into_the_directory_of_a_copy_is_not_replaced() {
    let place = Place::new();
    let home = large(&place);
    let to = place.join("copy");
    for name in ["ring.meta", "notes"] {
        fs::create_dir(&to).unwrap();
        let mut copying = stopped(&home, &to);
        fs::write(to.join(name), "somebody else's").unwrap();
        assert_eq!(ended(&mut copying), Some(1));
        assert_eq!(
            (names_in(&to), fs::read_to_string(to.join(name)).unwrap()),
            (vec![name.to_owned()], "somebody else's".to_owned())
        );
        fs::remove_dir_all(&to).unwrap();
        // A directory that was not there, and is now.
        let mut copying = stopped(&home, &to);
        fs::create_dir(&to).unwrap();
        fs::write(to.join(name), "somebody else's").unwrap();
        assert_eq!(ended(&mut copying), Some(1));
        assert_eq!(names_in(&to), [name]);
        fs::remove_dir_all(&to).unwrap();
    }
}

#[test]
fn a_copy_is_made_where_it_is_asked_for_or_not_at_all() {
    let place = Place::new();
    let home = place.ring("ring", b"one\n");
    let snapshot = |to: &str| run(waldo().arg("snapshot").arg(&home).arg(to).current_dir(place.path()), b"");
    assert_eq!(snapshot("relative").code, 0);
    assert_eq!(run(waldo().arg("tail").arg(place.join("relative")), b"").text(), "one\n");
    fs::write(place.join("file"), "x").unwrap();
    symlink("nowhere", place.join("dangling")).unwrap();
    fs::create_dir(place.join("led-to")).unwrap();
    symlink("led-to", place.join("link")).unwrap();
    for to in ["file", "dangling", "no/parent", "ring", "."] {
        let done = snapshot(to);
        assert_eq!((done.code, done.stderr.lines().count()), (1, 1), "{to}: {}", done.stderr);
    }
    assert_eq!(snapshot("link").code, 0);
    assert!(place.join("led-to/ring.meta").exists());
    let names = names_in(place.path());
    assert_eq!(names, ["dangling", "file", "led-to", "link", "relative", "ring"]);
}

/// Root's backup of a service's ring could not be written by the service, nor read by its readers.
#[test]
fn a_copy_has_the_permissions_and_root_gives_it_the_owner_of_the_ring() {
    let place = Place::new();
    let home = place.ring("ring", b"one\n");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o705)).unwrap();
    let root = nix::unistd::geteuid().is_root();
    if root {
        for path in [home.clone(), home.join("ring.meta"), home.join("page-0000000000000001")] {
            chown(path, Some(12345), Some(54321)).unwrap();
        }
    }
    let copy = place.join("copy");
    assert_eq!(run(waldo().arg("snapshot").arg(&home).arg(&copy), b"").code, 0);
    let archive = run(waldo().arg("snapshot").arg(&home).arg("-"), b"").stdout;
    let mut archive = tar::Archive::new(&archive[..]);
    let headers: Vec<_> = archive.entries().unwrap().map(|entry| entry.unwrap().header().clone()).collect();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap().trim();
    let umask = u32::from_str_radix(umask, 8).unwrap();
    for (name, of) in [("", ""), ("ring.meta", "ring.meta"), ("page-0000000000000001", "ring.meta")] {
        let (stat, of) = (fs::metadata(copy.join(name)).unwrap(), fs::metadata(home.join(of)).unwrap());
        assert_eq!(stat.mode() & 0o777, of.mode() & 0o777 & !umask, "{name}");
        assert_eq!((stat.uid(), stat.gid()), (of.uid(), of.gid()), "{name}");
        assert!(headers.iter().all(|header| header.uid().unwrap() == u64::from(of.uid())));
    }
    if !root {
        println!("left out: whose it is needs root");
    }
}

/// Files were made, and given to the ring's user, by their paths: who could rename the directory of the copy
/// was given what root made anywhere.
#[test]
fn who_moves_the_directory_of_a_copy_gets_nothing_made_elsewhere() {
    let place = Place::new();
    let home = large(&place);
    let (into, victim) = (place.join("into"), place.join("victim"));
    fs::create_dir(&into).unwrap();
    fs::create_dir(&victim).unwrap();
    if nix::unistd::geteuid().is_root() {
        chown(&home, Some(12345), Some(54321)).unwrap();
        chown(home.join("ring.meta"), Some(12345), Some(54321)).unwrap();
    }
    let before = fs::metadata(&victim).unwrap();
    let mut copying = stopped(&home, &into.join("copy"));
    let hidden = names_in(&into).remove(0);
    fs::rename(into.join(&hidden), into.join("moved")).unwrap();
    symlink(&victim, into.join(&hidden)).unwrap();
    assert_eq!(ended(&mut copying), Some(1));
    let after = fs::metadata(&victim).unwrap();
    assert_eq!((after.uid(), after.gid(), names_in(&victim)), (before.uid(), before.gid(), vec![]));
    assert_eq!(names_in(&into.join("moved")), [""; 0], "nothing of the copy stays");
}

/// A directory that was there may have been made a moment ago: its own name is made durable, too, and that it
/// cannot be is told. The copy is on another file system here, which works.
#[test]
fn a_directory_that_was_there_has_its_own_name_made_durable() {
    on_own_thread(|| {
        let Some(mut machine) = machine(FileSystem::Ext4) else { return };
        let place = Place::new();
        let home = place.ring("ring", b"x\n");
        machine.mount("defaults").unwrap();
        let to = machine.top().join("copy");
        fs::create_dir(&to).unwrap();
        let no: Option<&str> = None;
        mount(Some("tmpfs"), &to, Some("tmpfs"), MsFlags::empty(), no).unwrap();
        let snapshot = || run(waldo().arg("snapshot").arg(&home).arg(&to), b"");
        assert_eq!(snapshot().code, 0);
        names_in(&to).into_iter().for_each(|name| fs::remove_file(to.join(name)).unwrap());
        machine.cut();
        let done = snapshot();
        let told = format!("cannot complete the copy {}", to.display());
        assert!(done.code == 1 && done.stderr.contains(&told), "{}", done.stderr);
        assert!(names_in(&to).is_empty());
        umount2(&to, nix::mount::MntFlags::MNT_DETACH).unwrap();
        machine.unmount();
    });
}
