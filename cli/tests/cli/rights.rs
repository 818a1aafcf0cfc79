//! `--mode` and `--group`, and what `stat` says of readers. Users and groups are numbers that have no names.

use crate::support::*;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A user, and the group of those who read.
const USER: u32 = 54_321;
const READERS: u32 = 54_322;

/// Whether commands can be another user's; if not, says so.
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("left out: this needs root, to be another user");
    }
    root
}

fn place() -> Place {
    let place = Place::new();
    fs::set_permissions(place.path(), Permissions::from_mode(0o711)).unwrap();
    place
}

fn append(home: &Path, flags: &[&str], input: &[u8]) -> Done {
    run(waldo().arg("append").args(SMALL).args(flags).arg(home), input)
}

/// A ring for the readers that has a record, and a writer.
struct Served(Process);

impl Served {
    fn start(home: &Path) -> Served {
        let mut serve = Process::start(waldo().arg("serve").args(SMALL).args(["--group", "54322"]).arg(home));
        serve.write(b"one\n");
        until_tip(home, 1);
        Served(serve)
    }

    fn stop(self) {
        self.0.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(self.0.finish().code, 0);
    }
}

fn as_user(command: &mut Command) -> &mut Command {
    command.uid(USER).gid(USER)
}

fn rights(path: &Path) -> (u32, u32) {
    let stat = fs::metadata(path).unwrap();
    (stat.gid(), stat.mode() & 0o7777)
}

fn segment(home: &Path) -> PathBuf {
    Path::new("/dev/shm").join(segment_name(home).unwrap().trim_start_matches('/'))
}

fn stat(home: &Path) -> (String, Value) {
    let text = run(waldo().arg("stat").arg(home), b"");
    let json = run(waldo().args(["stat", "--json"]).arg(home), b"");
    assert_eq!((text.code, json.code), (0, 0), "{}", text.stderr);
    (text.text().to_owned(), serde_json::from_slice(&json.stdout).unwrap())
}

#[test]
fn mode_and_group_are_given_and_told() {
    if !is_root() {
        return;
    }
    let place = place();
    let home = place.join("ring");
    let done = append(&home, &["--mode", "0640", "--group", "54322"], b"one\n");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(rights(&home), (READERS, 0o2750));
    assert_eq!(rights(&home.join("ring.meta")), (READERS, 0o640));
    let (text, json) = stat(&home);
    assert!(text.contains("readers        user root, group 54322, and nobody else\n"), "{text}");
    let readers = &json["readers"];
    assert_eq!((&readers["owner"], &readers["owner_name"]), (&0.into(), &"root".into()));
    assert_eq!((&readers["group"], &readers["group_name"]), (&READERS.into(), &Value::Null));
    assert_eq!((&readers["mode"], &readers["directory"]["mode"]), (&"0640".into(), &"2750".into()));
    assert_eq!((&readers["agree"], &readers["control"]), (&true.into(), &Value::Null));
    // What is not asked for stays.
    assert_eq!(append(&home, &[], b"two\n").code, 0);
    assert_eq!(append(&home, &["--mode", "644"], b"three\n").code, 0);
    assert_eq!((rights(&home), rights(&home.join("ring.meta"))), ((READERS, 0o2755), (READERS, 0o644)));
    assert!(stat(&home).0.contains("readers        everybody\n"));
}

#[test]
fn what_cannot_be_a_group_or_a_mode_is_wrong_usage() {
    let place = Place::new();
    let home = place.join("ring");
    for (flags, wanted) in [
        (["--group", "no such group"], "there is no group \"no such group\": make it"),
        (["--group", "4294967295"], "there is no group"),
        (["--mode", "rw"], "write them as for chmod"),
        (["--mode", "0440"], "it must be 0600 plus"),
        (["--mode", "0750"], "it must be 0600 plus"),
    ] {
        for command in ["append", "serve"] {
            let done = run(waldo().arg(command).args(flags).arg(&home), b"");
            assert!(done.code == 2 && done.stderr.contains(wanted), "{flags:?}: {}", done.stderr);
        }
    }
    let done = run(waldo().args(["append", "--socket", "/nowhere", "--group", "0"]), b"");
    assert!(done.code == 2 && done.stderr.contains("cannot be used with"), "{}", done.stderr);
    assert!(!home.exists());
}

#[test]
fn a_reader_of_the_group_follows_a_live_ring_and_another_user_is_told_what_to_do() {
    if !is_root() {
        return;
    }
    let place = place();
    let home = place.join("ring");
    let serve = Served::start(&home);
    let as_reader = |command: &mut Command| run(command.uid(USER).gid(READERS), b"");
    let mut command = waldo();
    let seen = as_reader(command.args(["stat", "--json"]).arg(&home));
    let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
    assert_eq!((&seen["control"]["kind"], &seen["writer"]["state"]), (&"posix".into(), &"live".into()));
    assert_eq!(rights(&segment(&home)), (READERS, 0o640));
    let mut command = waldo();
    assert_eq!(as_reader(command.arg("tail").arg(&home)).text(), "one\n");
    let mut command = waldo();
    let refused = run(as_user(command.arg("tail").arg(&home)), b"");
    assert_eq!(refused.code, 1);
    for words in ["Permission denied", "needs read permission", "--mode and --group"] {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    serve.stop();
}

/// What the next writer makes in a copy that has taken the ring's place is for the same readers.
#[test]
fn a_copy_has_the_set_group_id_bit_where_it_has_the_group() {
    if !is_root() {
        return;
    }
    let place = place();
    let (home, copy, other) = (place.join("ring"), place.join("copy"), place.join("other").join("copy"));
    let done = append(&home, &["--mode", "0644", "--group", "54322"], b"one\n");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let done = run(waldo().arg("snapshot").arg(&home).arg(&copy), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!((rights(&copy), rights(&copy.join("ring.meta"))), ((READERS, 0o2755), (READERS, 0o644)));
    // Whoever is not root makes a copy of their own.
    fs::create_dir(other.parent().unwrap()).unwrap();
    chown(other.parent().unwrap(), Some(USER), Some(USER)).unwrap();
    let mut command = waldo();
    let done = run(as_user(command.arg("snapshot").arg(&home).arg(&other)), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(rights(&other), (USER, 0o755));
    // One that is there stays as it is.
    let there = place.join("there");
    fs::create_dir(&there).unwrap();
    let before = rights(&there);
    assert_eq!(run(waldo().arg("snapshot").arg(&home).arg(&there), b"").code, 0);
    assert_eq!(rights(&there), before);
}

#[test]
fn a_group_of_others_is_refused_with_the_remedy() {
    if !is_root() {
        return;
    }
    let place = place();
    fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
    let home = place.join("ring");
    let mut command = waldo();
    let done = run(as_user(command.args(["append", "--group", "54322"]).arg(&home)), b"one\n");
    assert_eq!(done.code, 1);
    for words in ["user 54321 is no member of group 54322", "SupplementaryGroups=", "nothing was changed"] {
        assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
    }
    assert!(!home.exists());
}

/// Told by `stat`, and put right by the next opening that asks for it.
#[test]
fn what_does_not_agree_is_told() {
    if !is_root() {
        return;
    }
    let place = place();
    let home = place.join("ring");
    let serve = Served::start(&home);
    let notes = || {
        let (text, json) = stat(&home);
        let agree = json["readers"]["agree"].as_bool().unwrap();
        assert_eq!(agree, json["readers"]["notes"].as_array().unwrap().is_empty());
        (agree, text)
    };
    assert!(notes().0, "{}", notes().1);
    let set = |path: &Path, group: u32, mode: u32| {
        chown(path, None, Some(group)).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let page = home.join("page-0000000000000001");
    for (path, wrong, right, words) in [
        (segment(&home), (0, 0o600), (READERS, 0o640), "segment can be read by fewer than the files"),
        (segment(&home), (0, 0o644), (READERS, 0o640), "segment can be read by more than the files"),
        (segment(&home), (0, 0o640), (READERS, 0o640), "segment can be read by others than the files"),
        (page, (READERS, 0o644), (READERS, 0o640), "can be read by others than ring.meta (by everybody)"),
        (home.clone(), (READERS, 0o700), (READERS, 0o2750), "keeps readers out: it belongs to user root"),
        (home.clone(), (0, 0o750), (READERS, 0o2750), "and they need r and x there"),
        (place.path().to_owned(), (0, 0o700), (0, 0o711), "and they need x there"),
    ] {
        set(&path, wrong.0, wrong.1);
        let (agree, text) = notes();
        assert!(!agree && text.contains(words), "{words}: {text}");
        set(&path, right.0, right.1);
        assert!(notes().0, "{words}: {}", notes().1);
    }
    serve.stop();
}
