//! `waldo snapshot` and `waldo replay`: a ring in another place.

use crate::support::*;
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use waldo::protocol::Log;
use waldo::writer::{Durability, Writer, WriterOptions};

/// Numbers, times and payloads.
fn records(home: &Path) -> String {
    let done = run(waldo().args(["tail", "--format", "json"]).arg(home), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    done.text().to_owned()
}

fn snapshot(home: &Path, to: &Path) -> Done {
    run(waldo().arg("snapshot").arg(home).arg(to), b"")
}

fn verified(home: &Path) -> Done {
    let done = run(waldo().arg("verify").arg(home), b"");
    assert_eq!(done.code, 0, "{} {}", done.text(), done.stderr);
    done
}

/// A ring of 16 small pages that goes round while `look` looks. Record n says n.
fn beside_a_writer(place: &Place, look: impl FnOnce(&Path)) {
    let home = place.join("live");
    let args = ["--no-sync", "--page-size", "64K", "--ring-size", "16", "--batch", "16K"];
    let mut child = waldo()
        .arg("append")
        .args(args)
        .arg(&home)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut child = Killed(child);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let feeding = std::thread::spawn(move || {
        let mut n = 0_u64;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let lines: String = (n + 1..=n + 500).map(|n| format!("{n}\n")).collect();
            n += 500;
            if std::io::Write::write_all(&mut input, lines.as_bytes()).is_err() {
                return;
            }
        }
    });
    // It has gone round once.
    until_tip(&home, 50_000);
    look(&home);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    feeding.join().unwrap();
    assert!(child.0.wait().unwrap().success());
}

/// Every record of the copy is what its number says, and none is missing between the first and the last.
fn check_numbers(home: &Path) -> u64 {
    let done = run(waldo().args(["tail", "--format", "{seq} {payload}"]).arg(home), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let mut last = None;
    for line in done.text().lines() {
        let (seq_no, payload) = line.split_once(' ').unwrap();
        let seq_no: u64 = seq_no.parse().unwrap();
        assert!(payload == seq_no.to_string() && last.is_none_or(|last: u64| last + 1 == seq_no), "{line}");
        last = Some(seq_no);
    }
    last.unwrap()
}

/// `cp -a` of a live ring gives a damaged copy.
#[test]
fn a_snapshot_of_a_live_ring_is_whole() {
    let place = Place::new();
    beside_a_writer(&place, |home| {
        for n in 0..5 {
            let to = place.join(&format!("copy-{n}"));
            let done = snapshot(home, &to);
            assert_eq!(done.code, 0, "{}", done.stderr);
            verified(&to);
            let last = check_numbers(&to);
            assert!(done.stderr.contains(&format!("to {last}, ")), "{}", done.stderr);
        }
        let archive = run(waldo().arg("snapshot").arg(home).arg("-"), b"");
        assert_eq!(archive.code, 0, "{}", archive.stderr);
        let unpacked = place.join("unpacked");
        tar::Archive::new(&archive.stdout[..]).unpack(&unpacked).unwrap();
        verified(&unpacked);
        let last = check_numbers(&unpacked);
        // It is a ring like any other, and goes on.
        let next = run(waldo().arg("append").arg(&unpacked), format!("{}\n", last + 1).as_bytes());
        assert!(next.code == 0 && next.stderr.contains(&format!("seq {} to", last + 1)), "{}", next.stderr);
        assert_eq!(check_numbers(&unpacked), last + 1);
        verified(&unpacked);
    });
}

#[test]
fn a_snapshot_has_everything_that_the_ring_has() {
    let place = Place::new();
    let text: String = (0..30_000).map(|n| format!("record number {n}\n")).collect();
    let home = place.ring("ring", text.as_bytes());
    let progress = ["--checkpoint", "progress", "--count", "3"];
    run(waldo().arg("tail").arg(&home).args(progress).current_dir(place.path()), b"");
    let copy = place.join("copy");
    fs::create_dir(&copy).unwrap();
    assert_eq!(snapshot(&home, &copy).code, 0);
    assert!(records(&copy) == records(&home));
    // Closed in good order, and with all its footers: there is nothing to note.
    assert!(!verified(&copy).text().contains("note"));
    let resumed = run(waldo().arg("tail").arg(&copy).args(progress).current_dir(place.path()), b"");
    assert_eq!(resumed.text(), "record number 3\nrecord number 4\nrecord number 5\n", "{}", resumed.stderr);
    let empty = place.ring("empty", b"");
    assert_eq!(snapshot(&empty, &place.join("copy-of-empty")).code, 0);
    verified(&place.join("copy-of-empty"));
    assert_eq!(run(waldo().arg("append").arg(place.join("copy-of-empty")), b"x\n").code, 0);
}

#[test]
fn a_snapshot_that_fails_leaves_nothing() {
    let place = Place::new();
    let text: String =
        (0..30_000).map(|n| if n == 25_000 { "victim\n".into() } else { format!("{n}\n") }).collect();
    let home = place.ring("ring", text.as_bytes());
    let taken = place.ring("taken", b"x\n");
    let refused = snapshot(&home, &taken);
    assert!(refused.code == 1 && refused.stderr.contains("not empty"), "{}", refused.stderr);
    assert_eq!(records(&taken).lines().count(), 1);
    damage(&home, b"victim");
    let (new, empty) = (place.join("new"), place.join("empty"));
    fs::create_dir(&empty).unwrap();
    for to in [&new, &empty] {
        let done = snapshot(&home, to);
        assert!(done.code == 1 && done.stderr.contains("payload hash"), "{}", done.stderr);
    }
    assert!(!new.exists() && fs::read_dir(&empty).unwrap().next().is_none());
    let archive = run(waldo().arg("snapshot").arg(&home).arg("-"), b"");
    assert_eq!(archive.code, 1, "{}", archive.stderr);
    // What lies before the damage is appended.
    let replayed = place.join("replayed");
    let done = run(waldo().arg("replay").arg(&home).arg(&replayed), b"");
    assert!(done.code == 1 && done.stderr.contains("payload hash"), "{}", done.stderr);
    assert_eq!(records(&replayed).lines().count(), 25_000);
}

/// Damage in the middle, where a living writer's segment says that the log goes on.
#[test]
fn a_snapshot_checks_every_payload() {
    let place = Place::new();
    let home = place.join("ring");
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&home));
    writer.write(b"one\nvictim\nthree\n");
    until_tip(&home, 3);
    damage(&home, b"victim");
    let done = snapshot(&home, &place.join("copy"));
    assert!(done.code == 1 && done.stderr.contains("after record 1: payload hash"), "{}", done.stderr);
    assert!(!place.join("copy").exists());
    assert_eq!(writer.finish().code, 0);
}

/// Nobody reads the archive.
#[test]
fn an_archive_that_nobody_takes_can_be_ended() {
    let place = Place::new();
    let home = place.ring("ring", &b"some text in a line\n".repeat(20_000));
    let mut child = waldo().arg("snapshot").arg(&home).arg("-").stdout(Stdio::piped()).spawn().unwrap();
    let out = child.stdout.take().unwrap();
    until("the pipe is full", || (rustix::io::ioctl_fionread(&out).unwrap() > 50_000).then_some(()));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(until("it ends", || child.try_wait().unwrap()).code(), Some(143));
    let mut child = waldo().arg("snapshot").arg(&home).arg("-").stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1), "half an archive is no backup");
}

/// An hour between two records, and gaps in their numbers.
fn seldom(home: &Path) {
    let options = WriterOptions::default().page_len(1 << 20).ring_size(4).durability(Durability::PageCache);
    let mut writer = Writer::open(home, options).unwrap();
    let mut before = 0;
    for n in 1..=4_u64 {
        let payload = format!("{n}\0\n");
        writer
            .append_at(n * 3_600_000_000_000, &[Log::new_borrowed(n * 10, before, payload.as_bytes())])
            .unwrap();
        before = n * 10;
    }
    writer.close().unwrap();
}

#[test]
fn a_replay_keeps_numbers_and_times() {
    let place = Place::new();
    let (home, to) = (place.join("ring"), place.join("to"));
    seldom(&home);
    let replay = |args: &[&str]| run(waldo().arg("replay").arg(&home).arg(&to).args(args), b"");
    let done = replay(&[]);
    assert!(done.code == 0 && done.stderr.contains("appended 4 records, seq 10 to 40"), "{}", done.stderr);
    assert_eq!(records(&to), records(&home));
    assert!(records(&to).contains("1970-01-01T02:00:00"), "{}", records(&to));
    verified(&to);
    // Again, it goes on where it ended.
    assert!(replay(&[]).stderr.contains("appended 0 records"));
    assert_eq!(run(waldo().arg("append").arg(&home), b"five\n").code, 0);
    assert!(replay(&[]).stderr.contains("appended 1 records, seq 41 to 41"));
    assert_eq!(records(&to), records(&home));
    // A part of it, in pages of another size.
    let part = place.join("part");
    let flags = ["--from", "30", "--page-size", "64K", "--ring-size", "2"];
    assert_eq!(run(waldo().arg("replay").arg(&home).arg(&part).args(flags), b"").code, 0);
    assert_eq!(
        records(&part),
        records(&home).lines().skip(2).map(|line| format!("{line}\n")).collect::<String>()
    );
    assert!(replay(&["--ring-size", "7"]).stderr.contains("are for a ring that is made"));
    // Something else stands there.
    assert_eq!(run(waldo().arg("append").arg(&to), b"six\n").code, 0);
    assert_eq!(run(waldo().arg("append").arg(&home), b"another six\n").code, 0);
    let refused = replay(&[]);
    assert!(refused.code == 1 && refused.stderr.contains("another record 42"), "{}", refused.stderr);
    assert_eq!(run(waldo().arg("replay").arg(&home).arg(&home), b"").code, 2);
}

#[test]
fn a_replay_at_a_pace_waits_between_records_and_can_be_interrupted() {
    let place = Place::new();
    let (home, to) = (place.join("ring"), place.join("to"));
    seldom(&home);
    let mut slow = Process::start(waldo().args(["replay", "--pace"]).arg(&home).arg(&to));
    until("the first record is there", || waldo::reader::Ring::attach(&to).ok()?.status().ok()?.tip_seq_no);
    slow.signal(Signal::SIGINT);
    assert_eq!(slow.wait().code, 130);
    // The next one is due in an hour.
    assert_eq!(records(&to).lines().count(), 1);
    let fast = run(waldo().args(["replay", "--pace=1e9"]).arg(&home).arg(&to), b"");
    assert!(fast.code == 0 && fast.stderr.contains("appended 3 records, seq 20 to 40"), "{}", fast.stderr);
    assert!(!records(&to).contains("1970-"), "they bear the time of now: {}", records(&to));
    assert_eq!(run(waldo().args(["replay", "--pace=0"]).arg(&home).arg(&to), b"").code, 2);
}

/// It was taken for two rings by its paths.
#[test]
fn a_ring_is_not_replayed_into_itself_by_whatever_path() {
    let place = Place::new();
    let home = place.ring("ring", b"one\n");
    std::os::unix::fs::symlink(&home, place.join("link")).unwrap();
    let refused = |from: &Path, to: &Path| {
        let done = run(waldo().arg("replay").arg(from).arg(to), b"");
        assert!(done.code == 2 && done.stderr.contains("to itself"), "{}", done.stderr);
    };
    refused(&home, &place.join("link"));
    on_own_mounts(|| {
        let mounted = place.join("mounted");
        fs::create_dir(&mounted).unwrap();
        let bind = nix::mount::MsFlags::MS_BIND;
        nix::mount::mount(Some(&home), &mounted, None::<&str>, bind, None::<&str>).unwrap();
        refused(&home, &mounted);
        refused(&mounted, &home);
    });
}
