//! `waldo ls` and `rm`: the rings of a machine.

use crate::support::*;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;

/// The rows of `ls` whose ring is in this place.
pub fn listed(place: &Place, dirs: &[&Path]) -> Vec<Value> {
    let done = run(waldo().args(["ls", "--json"]).args(dirs), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let rows = done.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.filter(|row| row["home"].as_str().is_some_and(|home| Path::new(home).starts_with(place.path())))
        .collect()
}

pub fn exists_in_shm(name: &str) -> bool {
    Path::new("/dev/shm").join(name.trim_start_matches('/')).exists()
}

/// A ring whose writer was killed, and the name of its segment.
pub fn killed(home: &Path) -> String {
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(home));
    writer.write(b"one\ntwo\n");
    until_tip(home, 2);
    let segment = segment_name(home).unwrap();
    writer.signal(nix::sys::signal::Signal::SIGKILL);
    writer.wait();
    segment
}

#[test]
fn rings_are_listed_with_their_state() {
    let place = Place::new();
    let closed = place.ring("deep/down/closed", b"1\n2\n3\n");
    let live = place.join("live");
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&live));
    writer.write(b"one\n");
    until_tip(&live, 1);
    let damaged = place.ring("damaged", b"x\n");
    fs::write(damaged.join("ring.meta"), "nonsense").unwrap();
    symlink(place.path(), place.join("deep/loop")).unwrap();
    // With a writer, by its segment alone.
    let rows = listed(&place, &[]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["state"], &rows[0]["tip_seq_no"]), (&"live".into(), &1.into()));
    assert!(rows[0]["pid"].as_u64().is_some());
    // Others, and this one once, in the directory given.
    let rows = listed(&place, &[place.path()]);
    let states: Vec<_> =
        rows.iter().map(|row| (row["home"].as_str().unwrap(), row["state"].as_str().unwrap())).collect();
    let path = |home: &Path| home.to_str().unwrap().to_owned();
    let expected = [(path(&damaged), "unreadable"), (path(&closed), "closed"), (path(&live), "live")];
    assert_eq!(states, expected.iter().map(|(home, state)| (home.as_str(), *state)).collect::<Vec<_>>());
    assert_eq!((&rows[1]["oldest_seq_no"], &rows[1]["tip_seq_no"]), (&1.into(), &3.into()));
    let table = run(waldo().arg("ls").arg(place.join("deep")), b"");
    assert!(table.text().starts_with("STATE") && table.text().contains("1 to 3"), "{}", table.text());
    assert_eq!(writer.finish().code, 0);
}

#[test]
fn a_ring_is_removed_with_its_segment_and_nothing_else() {
    let place = Place::new();
    let home = place.join("ring");
    let segment = killed(&home);
    assert!(exists_in_shm(&segment));
    // The kernel lets go of a killed writer's lock a moment later.
    let planned = until("nobody holds the lock", || {
        let planned = run(waldo().args(["rm", "--dry-run"]).arg(&home), b"");
        (planned.code == 0).then_some(planned)
    });
    assert!(planned.text().starts_with("would remove the ring"), "{}", planned.text());
    assert!(home.join("ring.meta").exists() && exists_in_shm(&segment));
    // What is not the ring's stays, whatever its name: another ring's page, links, directories.
    let other = place.ring("other", b"other\n");
    let page = "page-0000000000000001";
    fs::copy(other.join(page), home.join("page-00000000000000ff")).unwrap();
    symlink(other.join(page), home.join("page-00000000000000fe")).unwrap();
    symlink(&other, home.join("scratch-link")).unwrap();
    fs::create_dir(home.join("scratch-dir")).unwrap();
    fs::write(home.join("notes.txt"), "mine").unwrap();
    fs::write(home.join("producers.journal"), "the service's").unwrap();
    let done = run(waldo().arg("rm").arg(&home), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.text().contains("notes.txt, page-00000000000000fe, page-00000000000000ff"),
        "{}",
        done.text()
    );
    let mut left: Vec<_> =
        fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(
        left,
        ["notes.txt", "page-00000000000000fe", "page-00000000000000ff", "scratch-dir", "scratch-link"]
    );
    assert!(!exists_in_shm(&segment));
    assert_eq!(run(waldo().arg("tail").arg(&other), b"").text(), "other\n");
    // Nothing else in it: the directory goes too.
    let alone = place.ring("alone", b"x\n");
    assert_eq!(run(waldo().args(["rm", "-q"]).arg(&alone), b"").text(), "");
    assert!(!alone.exists());
}

#[test]
fn only_rings_are_removed_and_none_that_is_written() {
    let place = Place::new();
    let home = place.join("ring");
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&home));
    writer.write(b"one\n");
    until_tip(&home, 1);
    let link = place.join("link");
    symlink(&home, &link).unwrap();
    let empty = place.join("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("page-0000000000000001"), "a page of a book").unwrap();
    for (path, why) in [
        (&home, "stop that writer first"),
        (&link, "is a symbolic link"),
        (&place.join("link/"), "is a symbolic link"),
        (&empty, "no ring here"),
        (&place.join("nowhere"), "nowhere"),
    ] {
        for args in [&["rm"][..], &["rm", "--dry-run"]] {
            let done = run(waldo().args(args).arg(path), b"");
            assert!(done.code == 1 && done.stderr.contains(why), "{path:?}: {} {}", done.code, done.stderr);
        }
    }
    writer.write(b"two\n");
    until_tip(&home, 2);
    assert_eq!(writer.finish().code, 0);
    assert_eq!(run(waldo().arg("tail").arg(&home), b"").text(), "one\ntwo\n");
    assert!(empty.join("page-0000000000000001").exists() && !empty.join("writer.lock").exists());
    // One that cannot be removed keeps none of the others.
    let done = run(waldo().arg("rm").arg(&empty).arg(&home), b"");
    assert_eq!((done.code, home.exists()), (1, false), "{}", done.stderr);
}

/// As if it had been interrupted behind the first step.
#[test]
fn an_interrupted_removal_is_finished_by_the_next_one() {
    let place = Place::new();
    let home = place.ring("ring", b"x\n");
    fs::remove_file(home.join("ring.meta")).unwrap();
    assert_eq!(run(waldo().arg("tail").arg(&home), b"").code, 1);
    let done = run(waldo().arg("rm").arg(&home), b"");
    assert!(done.code == 0 && done.text().contains("the remains of a ring"), "{}", done.stderr);
    assert!(!home.exists());
}

/// Root may remove everything, and still removes nothing that is another user's.
#[test]
fn what_belongs_to_another_user_stays() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: this needs root");
        return;
    }
    let place = Place::new();
    let (gone, home) = (place.join("gone"), place.ring("rings/ring", b"x\n"));
    let shm = Path::new("/dev/shm").join(killed(&gone).trim_start_matches('/'));
    let held = fs::File::open(&shm).unwrap();
    fs::remove_dir_all(&gone).unwrap();
    for path in [&shm, &home] {
        std::os::unix::fs::chown(path, Some(12345), Some(12345)).unwrap();
    }
    drop(held);
    for args in [&["rm"][..], &["rm", "--dry-run"]] {
        let done = run(waldo().args(args).arg(&home), b"");
        assert!(done.code == 1 && done.stderr.contains("belongs to user 12345"), "{}", done.stderr);
    }
    let done = run(waldo().args(["gc", "--apply", "--unused-for", "0s"]).arg(place.join("rings")), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(shm.exists() && home.join("ring.meta").exists(), "{}", done.text());
    fs::remove_file(&shm).unwrap();
}

/// A path is any bytes but NUL. One that is no UTF-8 ended `ls --json` with a panic, and `stat --json` too:
/// whoever had such a ring with a writer kept everybody on the machine from the list.
#[test]
fn any_path_is_json() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let home = place.path().join(std::ffi::OsStr::from_bytes(b"r\xff\x1b[2Jing"));
    assert_eq!(run(waldo().arg("append").args(SMALL).arg(&home), b"x\n").code, 0);
    let rows = listed(&place, &[place.path()]);
    assert!(rows[0]["home"].as_str().unwrap().ends_with("/r\u{fffd}\u{1b}[2Jing"), "{rows:?}");
    let done = run(waldo().args(["stat", "--json"]).arg(&home), b"");
    let status: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((done.code, &status["home"]), (0, &rows[0]["home"]), "{}", done.stderr);
    for args in [&["stat"][..], &["ls"], &["rm", "-n"]] {
        let path = if args[0] == "ls" { place.path() } else { &home };
        let done = run(waldo().args(args).arg(path), b"");
        assert!(done.code == 0 && !done.text().contains('\x1b'), "{args:?}: {:?}", done.text());
    }
}

/// One directory that was not there kept all others from the list, and one that could not be read was passed
/// over without a word.
#[test]
fn what_cannot_be_looked_into_is_told_and_hides_nothing_else() {
    let place = Place::new();
    let home = place.ring("rings/there", b"x\n");
    let list = |command: &mut std::process::Command| {
        let done = run(command.arg(place.join("nowhere")).arg(place.join("rings")), b"");
        assert!(done.code == 1 && done.stderr.contains("nowhere: cannot look"), "{}", done.stderr);
        done
    };
    assert!(list(waldo().arg("ls")).text().contains(home.to_str().unwrap()));
    let done = list(waldo().args(["gc", "--unused-for", "0s"]));
    assert!(done.text().contains(home.to_str().unwrap()), "{}", done.text());
    if !nix::unistd::geteuid().is_root() {
        println!("left out: the rest needs root");
        return;
    }
    place.ring("rings/hidden/ring", b"x\n");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for path in [place.path(), &place.join("rings"), &home] {
        mode(path, 0o755);
    }
    mode(&place.join("rings/hidden"), 0o700);
    let done = list(waldo().arg("ls").uid(12345).gid(12345));
    assert!(done.stderr.contains("rings/hidden: cannot look"), "{}", done.stderr);
    assert!(done.text().contains("rings/there"), "{}", done.text());
}

/// `waldo rm A B | head -1` ended with 0 and B in its place.
#[test]
fn rings_are_removed_whether_anybody_reads_it_or_not() {
    let place = Place::new();
    let (one, two) = (place.ring("one", b"x\n"), place.ring("two", b"x\n"));
    let done = run_unread(waldo().arg("rm").arg(&one).arg(&two));
    assert_eq!((done.code, one.exists(), two.exists()), (0, false, false), "{}", done.stderr);
    let (one, two) = (place.ring("rings/one", b"x\n"), place.ring("rings/two", b"x\n"));
    let done = run_unread(waldo().args(["gc", "--apply", "--unused-for", "0s"]).arg(place.join("rings")));
    assert_eq!((done.code, one.exists(), two.exists()), (0, false, false), "{}", done.stderr);
}

/// A removal held up by nothing that stands in the place of a ring's files, and a plan by nothing either.
#[test]
fn a_plan_says_what_the_removal_does() {
    let place = Place::new();
    let home = place.join("ring");
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&home));
    writer.write(b"one\n");
    until_tip(&home, 1);
    // Its lock file is gone, so that `ring.meta` is what tells of it; stopped, it does not notice, and stays.
    writer.signal(nix::sys::signal::Signal::SIGSTOP);
    fs::remove_file(home.join("writer.lock")).unwrap();
    for args in [&["rm"][..], &["rm", "--dry-run"]] {
        let done = run(waldo().args(args).arg(&home), b"");
        assert!(done.code == 1 && done.stderr.contains("is not removed"), "{args:?}: {}", done.stderr);
        assert!(home.join("ring.meta").exists());
        let _ = fs::remove_file(home.join("writer.lock"));
    }
    drop(writer);
    let fifo = place.ring("fifo", b"x\n");
    fs::remove_file(fifo.join("writer.lock")).unwrap();
    nix::unistd::mkfifo(&fifo.join("writer.lock"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for args in [&["rm"][..], &["rm", "--dry-run"]] {
        let done = run(waldo().args(args).arg(&fifo), b"");
        assert!(done.code == 1 && done.stderr.contains("not a regular file"), "{args:?}: {}", done.stderr);
    }
}
