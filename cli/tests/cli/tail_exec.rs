//! `waldo tail --exec`: commands that are handed records.

use crate::support::*;
use crate::tail_follows::Tail;
use nix::sys::signal::Signal;
use std::fs;

#[test]
fn records_are_handed_to_a_command_batch_by_batch() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n2\n3\n4\n5\n");
    let tail = |args: &[&str]| run(waldo().arg("tail").arg(&home).args(args).current_dir(place.path()), b"");
    let done =
        tail(&["--exec", "cat; echo $WALDO_FIRST_SEQ-$WALDO_LAST_SEQ:$WALDO_RECORDS", "--exec-batch", "2"]);
    assert_eq!((done.code, done.text()), (0, "1\n2\n1-2:2\n3\n4\n3-4:2\n5\n5-5:1\n"), "{}", done.stderr);
    let whole = tail(&["--exec", "tr '\\n' ' '", "--grep", "[135]", "--format", "{seq}={payload}"]);
    assert_eq!((whole.code, whole.text()), (0, "1=1 3=3 5=5 "), "{}", whole.stderr);
    // One that reads nothing is content with that.
    assert_eq!(tail(&["--exec", "exit 0"]).code, 0);
    assert_eq!(tail(&["--from", "tip", "--exec", "echo ran"]).text(), "");
}

#[test]
fn a_batch_counts_when_its_command_has_done_well() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n2\n3\n4\n");
    let tail = |command: &str| {
        let args = ["--checkpoint", "progress", "--exec-batch", "1", "--exec", command];
        run(waldo().arg("tail").arg(&home).args(args).current_dir(place.path()), b"")
    };
    let failed = tail("read x; echo $x; test $x != 3 || exit 7");
    assert_eq!((failed.code, failed.text()), (1, "1\n2\n3\n"), "{}", failed.stderr);
    assert!(failed.stderr.contains("exit code 7 for records 3 to 3"), "{}", failed.stderr);
    assert_eq!(tail("cat").text(), "3\n4\n");
    assert_eq!(tail("cat").text(), "");
}

#[test]
fn a_command_that_does_not_end_is_told_to() {
    let place = Place::new();
    let home = place.ring("ring", &b"one\n".repeat(50_000));
    for command in ["echo $$; exec sleep 1000", "cat > /dev/null; echo $$; sleep 1000 | cat"] {
        let args = ["-F", "--from", "oldest", "--checkpoint", "progress", "--exec", command];
        let tail = Tail::start(&home, &args);
        let group = until("it runs", || tail.printed().trim().parse::<i32>().ok());
        assert_eq!(tail.end(Signal::SIGTERM).0, 143, "{command}");
        assert!(!place.join("progress").exists(), "{command}");
        until("all of it has ended", || group_of(group).is_empty().then_some(()));
    }
}

/// Its pipe is open as long as what it has started in the background is there.
#[test]
fn a_command_has_ended_when_it_has_whatever_it_leaves_behind() {
    let place = Place::new();
    let home = place.ring("ring", &b"one\n".repeat(50_000));
    let command = "exec 3<&0; sleep 1000 <&3 >/dev/null 2>&1 & echo $!; exit 0";
    let mut tail = Tail::start(&home, &["--checkpoint", "progress", "--exec", command]);
    let _left = LeftBehind(until("it has begun", || tail.printed().trim().parse::<i32>().ok()));
    let status = until("it ends", || tail.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert!(place.join("progress").exists());
}

/// A process that nobody else ends, whatever becomes of the test.
struct LeftBehind(i32);

impl Drop for LeftBehind {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

/// The processes of a group.
fn group_of(group: i32) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let in_group = |stat: &String| {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[2] == group.to_string() && fields[0] != "Z"
    };
    stats.filter(in_group).collect()
}
