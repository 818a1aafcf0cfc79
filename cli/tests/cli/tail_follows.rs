//! `waldo tail` that stays: following, waiting, checkpoints.

use crate::support::*;
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::io::{BufRead, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A `tail` whose output goes into a file; killed if the test ends before it does.
pub struct Tail {
    pub child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Tail {
    pub fn start(home: &Path, args: &[&str]) -> Tail {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let place = home.parent().unwrap();
        let (out, err) = (place.join(format!("out-{n}")), place.join(format!("err-{n}")));
        let child = waldo()
            .arg("tail")
            .arg(home)
            .args(args)
            .current_dir(place)
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        Tail { child, out, err }
    }

    pub fn printed(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    fn until_printed(&self, text: &str) {
        until(&format!("{text:?} is printed"), || (self.printed() == text).then_some(()));
    }

    fn until_said(&self, text: &str) {
        until(&format!("{text:?} is said"), || {
            fs::read_to_string(&self.err).unwrap().contains(text).then_some(())
        });
    }

    pub fn end(mut self, signal: Signal) -> (i32, String) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
        self.wait()
    }

    fn wait(&mut self) -> (i32, String) {
        let status = until("it ends", || self.child.try_wait().unwrap());
        (status.code().unwrap_or(-1), self.printed())
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn append(home: &Path, text: &str) {
    let done = run(waldo().arg("append").args(SMALL).arg(home), text.as_bytes());
    assert_eq!(done.code, 0, "{}", done.stderr);
}

/// As `rm -r` does, and its shared memory with it.
fn remove(home: &Path) {
    if let Some(name) = segment_name(home) {
        let _ = nix::sys::mman::shm_unlink(name.as_str());
    }
    fs::remove_dir_all(home).unwrap();
}

#[test]
fn following_begins_with_the_next_record() {
    let place = Place::new();
    let home = place.ring("ring", b"old\n");
    let mut tail = Tail::start(&home, &["-f", "--count", "2"]);
    // It may begin behind any of these; from there on none is missing.
    let mut n = 0;
    until("two records are printed", || {
        n += 1;
        append(&home, &format!("{n}\n"));
        tail.child.try_wait().unwrap()
    });
    let (code, printed) = tail.wait();
    let numbers: Vec<u32> = printed.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!((code, numbers.len()), (0, 2), "{printed}");
    assert_eq!(numbers[0] + 1, numbers[1]);
    let tail = Tail::start(&home, &["-f", "-n", "1"]);
    tail.until_printed(&format!("{n}\n"));
    append(&home, "last\n");
    tail.until_printed(&format!("{n}\nlast\n"));
    assert_eq!(tail.end(Signal::SIGTERM).0, 143);
}

#[test]
fn a_ring_that_is_made_anew_is_followed() {
    let place = Place::new();
    let home = place.join("ring");
    let tail = Tail::start(&home, &["-F", "--format", "{seq} {payload}"]);
    tail.until_said("no ring here yet");
    append(&home, "one\ntwo\n");
    tail.until_printed("1 one\n2 two\n");
    remove(&home);
    tail.until_said("removed or replaced");
    append(&home, "three\n");
    tail.until_printed("1 one\n2 two\n1 three\n");
    // Replaced in one step.
    append(&place.join("next"), "four\n");
    fs::rename(&home, place.join("before")).unwrap();
    fs::rename(place.join("next"), &home).unwrap();
    tail.until_printed("1 one\n2 two\n1 three\n1 four\n");
    assert_eq!(tail.end(Signal::SIGINT).0, 130);
    // Without -F that is an end, and no good one.
    let mut tail = Tail::start(&home, &["-f", "-n", "1"]);
    tail.until_printed("four\n");
    remove(&home);
    assert_eq!(tail.wait().0, 1);
    let said = fs::read_to_string(&tail.err).unwrap();
    assert!(said.contains("the ring has been removed"), "{said}");
}

#[test]
fn a_ring_that_is_not_made_yet_is_waited_for() {
    let place = Place::new();
    let home = place.join("ring");
    let in_vain = run(waldo().args(["tail", "--wait=1ms"]).arg(&home), b"");
    assert_eq!(in_vain.code, 1, "{}", in_vain.stderr);
    let mut tail = Tail::start(&home, &["--wait", "-f", "--count", "2"]);
    tail.until_said("waiting for one");
    append(&home, "one\ntwo\n");
    assert_eq!(tail.wait(), (0, "one\ntwo\n".to_owned()));
    let tail = Tail::start(&place.join("never"), &["--wait"]);
    tail.until_said("waiting for one");
    assert_eq!(tail.end(Signal::SIGTERM), (143, String::new()));
}

/// Nothing is printed any more, so nothing would tell it but the pipe.
#[test]
fn an_idle_follower_ends_when_nobody_reads() {
    let place = Place::new();
    let home = place.ring("ring", b"one\n");
    let mut child = waldo()
        .args(["tail", "-f", "-n", "1"])
        .arg(&home)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    out.read_exact(&mut [0; 4]).unwrap();
    // The last thing that it does by itself.
    let mut said = String::new();
    std::io::BufReader::new(err).read_line(&mut said).unwrap();
    assert!(said.contains("waiting for it to come back"), "{said}");
    drop(out);
    assert_eq!(until("it ends", || child.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn a_checkpoint_goes_on_exactly_where_it_ended() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n2\n3\n4\n5\n6\n");
    let tail = |args: &[&str]| {
        let done = run(
            waldo()
                .arg("tail")
                .arg(&home)
                .args(args)
                .args(["--checkpoint", "progress"])
                .current_dir(place.path()),
            b"",
        );
        (done.code, done.text().split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(tail(&["--count", "2"]), (0, "1 2".into()));
    assert_eq!(tail(&["--count", "1", "-n", "1"]), (0, "3".into()));
    // Records that are not wanted are dealt with, too.
    assert_eq!(tail(&["--grep", "5"]), (0, "5".into()));
    assert_eq!(tail(&[]), (0, String::new()));
    append(&home, "7\n");
    assert_eq!(tail(&[]), (0, "7".into()));
    // The file of another ring is no place in this one, unless the next ring is asked for.
    remove(&home);
    append(&home, "new\n");
    assert_eq!(tail(&[]), (1, String::new()));
    assert_eq!(tail(&["-F", "--count", "1"]), (0, "new".into()));
    fs::write(place.join("progress"), "waldo-checkpoint 1\nnonsense").unwrap();
    assert_eq!(tail(&[]), (1, String::new()));
}

/// A FIFO was waited for, deaf to signals; records that were printed, or handed to a command, before it was
/// seen that no checkpoint can be kept came again with each start.
#[test]
fn a_checkpoint_that_cannot_be_kept_is_told_before_anything_is_printed() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n2\n");
    let fifo = place.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [place.join("no/where"), fifo, place.path().to_path_buf()] {
        let done = run(waldo().arg("tail").arg(&home).arg("--checkpoint").arg(&path), b"");
        assert_eq!((done.code, done.text()), (1, ""), "{path:?}: {}", done.stderr);
        assert!(done.stderr.contains(path.to_str().unwrap()), "{}", done.stderr);
    }
}

/// One that is there cannot be kept either where its directory may not be written: the new version is
/// another file.
#[test]
fn a_checkpoint_that_may_only_be_read_is_told_before_anything_is_printed() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: this needs root, to be another user");
        return;
    }
    const USER: u32 = 12345;
    let place = Place::new();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o711)).unwrap();
    for (name, owner) in [("theirs", USER), ("ours", 0)] {
        fs::create_dir(place.join(name)).unwrap();
        std::os::unix::fs::chown(place.join(name), Some(owner), Some(owner)).unwrap();
    }
    let (home, progress) = (place.join("theirs/ring"), place.join("ours/progress"));
    let as_user = |command: &mut Command, input: &[u8]| run(command.uid(USER).gid(USER), input);
    assert_eq!(as_user(waldo().arg("append").args(SMALL).arg(&home), b"1\n2\n").code, 0);
    let tail = || {
        let mut command = waldo();
        command.args(["tail", "--from", "oldest", "--checkpoint"]).arg(&progress).arg(&home);
        command
    };
    assert_eq!(run(tail().args(["--count", "1"]), b"").text(), "1\n");
    let done = as_user(&mut tail(), b"");
    assert_eq!((done.code, done.text()), (1, ""), "{}", done.stderr);
    assert!(done.stderr.contains("cannot keep a checkpoint in"), "{}", done.stderr);
}

/// A follower of an empty ring that has seen nothing yet has a place, too.
#[test]
fn a_checkpoint_of_nothing_misses_nothing() {
    let place = Place::new();
    for (name, before) in [("empty", &b""[..]), ("old", b"old\n")] {
        let home = place.ring(name, before);
        let progress = format!("progress-{name}");
        let tail = Tail::start(&home, &["-f", "--checkpoint", &progress]);
        until("there is a checkpoint", || place.join(&progress).exists().then_some(()));
        assert_eq!(tail.end(Signal::SIGINT), (130, String::new()));
        append(&home, "one\ntwo\n");
        let mut tail = Tail::start(&home, &["-f", "--checkpoint", &progress, "--count", "2"]);
        assert_eq!(tail.wait(), (0, "one\ntwo\n".into()));
    }
}

#[test]
fn a_follower_that_is_killed_repeats_no_more_than_was_not_in_its_checkpoint() {
    let place = Place::new();
    let text: String = (0..50_000).map(|n| format!("{n}\n")).collect();
    let home = place.ring("ring", text.as_bytes());
    let mut all: Vec<u32> = Vec::new();
    let args = ["--from", "oldest", "-f", "--checkpoint", "progress", "--checkpoint-every", "1"];
    for _ in 0..4 {
        let tail = Tail::start(&home, &args);
        until("some more is printed", || (tail.printed().lines().count() > 5).then_some(()));
        let (_, printed) = tail.end(Signal::SIGKILL);
        let numbers: Vec<u32> = printed.lines().map(|line| line.parse().unwrap()).collect();
        if let Some(last) = all.last() {
            assert!([*last, last + 1].contains(&numbers[0]), "{last}, then {}", numbers[0]);
        }
        all.extend(numbers);
    }
    assert!(all.windows(2).all(|pair| pair[1] == pair[0] + 1 || pair[1] == pair[0]));
}
