//! One damaged record, wherever it stands: `verify` and `repair` say the same of it, and what is whole stays.

use crate::support::*;
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Records in three pages of [`PAGE`]. Those of the second half are appended once the others are there.
const RECORDS: u64 = 300;
const PAGE: [&str; 4] = ["--page-size", "16K", "--ring-size", "8"];

/// No payload is a part of another one.
fn line(seq_no: u64) -> String {
    format!("<{seq_no}> {}\n", "x".repeat(60))
}

/// A ring with that many records, which was closed or whose writer was killed.
fn ring(place: &Place, name: &str, records: u64, closed: bool) -> std::path::PathBuf {
    let home = place.join(name);
    let mut append = Process::start(waldo().arg("append").args(PAGE).arg(&home));
    let halves = [1..records / 2 + 1, records / 2 + 1..records + 1];
    for half in halves.into_iter().filter(|half| !half.is_empty()) {
        let last = half.end - 1;
        append.write(half.map(line).collect::<String>().as_bytes());
        until_tip(&home, last);
    }
    if closed {
        assert_eq!(append.finish().code, 0);
    } else {
        append.signal(Signal::SIGKILL);
        assert_eq!(append.wait().code, -1);
        // What names the writer's segment would do so in copies, too.
        fs::remove_file(home.join("control.link")).unwrap();
    }
    home
}

/// Page of record `seq_no`, and where its payload begins.
fn find(home: &Path, seq_no: u64) -> (std::path::PathBuf, usize) {
    let payload = line(seq_no);
    let needle = payload.trim_end().as_bytes();
    let mut found = fs::read_dir(home).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let at = fs::read(&path).unwrap().windows(needle.len()).position(|bytes| bytes == needle)?;
        Some((path, at))
    });
    found.next().unwrap()
}

/// The first records of the pages behind the first one.
fn firsts_of_pages(home: &Path, records: u64) -> Vec<u64> {
    let page = |seq_no: u64| find(home, seq_no).0;
    (2..=records).filter(|seq_no| page(*seq_no) != page(seq_no - 1)).collect()
}

/// A copy of the ring, with a bit flipped so many bytes behind the beginning of a record's payload.
fn spoiled(home: &Path, name: &str, seq_no: u64, offset: isize) -> std::path::PathBuf {
    let copy = home.with_file_name(name);
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(home).unwrap().map(Result::unwrap) {
        if entry.file_name() != "control.link" {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    let (page, at) = find(&copy, seq_no);
    let mut bytes = fs::read(&page).unwrap();
    bytes[at.checked_add_signed(offset).unwrap()] ^= 1;
    fs::write(page, bytes).unwrap();
    copy
}

fn outcome(command: &mut Command) -> (i32, String) {
    let done = run(command, b"");
    (done.code, done.text().to_owned() + &done.stderr)
}

fn numbers(home: &Path) -> Vec<u64> {
    let done = run(waldo().args(["tail", "--from", "oldest", "--format", "{seq} {payload}"]).arg(home), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let number = |text: &str| {
        let (seq_no, payload) = text.split_once(' ').unwrap();
        let seq_no = seq_no.parse().unwrap();
        assert_eq!(payload, line(seq_no).trim_end());
        seq_no
    };
    done.text().lines().map(number).collect()
}

/// What has to stay of `records` without number `victim`.
fn stays(records: u64, victim: u64, keep: &str) -> Vec<u64> {
    let (older, newer) = (1..victim, victim + 1..records + 1);
    let count = |side: &std::ops::Range<u64>| side.end - side.start;
    let takes_older = match keep {
        "older" => count(&older) > 0,
        "newer" => count(&newer) == 0,
        _ => count(&older) > count(&newer),
    };
    if takes_older { older.collect() } else { newer.collect() }
}

/// Looks at the damaged ring, repairs it, and looks again. Returns whether it was damaged.
fn told_of_and_repaired(home: &Path, records: u64, victim: u64, keep: &str) -> bool {
    let what = home.display();
    let verified = outcome(waldo().arg("verify").arg(home));
    let planned = outcome(waldo().args(["repair", "--keep", keep]).arg(home));
    assert_eq!(verified.0, planned.0, "{what}: {verified:?}, {planned:?}");
    let repaired = outcome(waldo().args(["repair", "--apply", "--keep", keep]).arg(home));
    assert_eq!(repaired.0, 0, "{what}: {repaired:?}");
    let backup = home.with_file_name(format!("{}-backup-1", home.file_name().unwrap().display()));
    assert_eq!(backup.exists(), planned.0 == 1, "{what}: {repaired:?}");
    for command in [&["verify"][..], &["repair"], &["repair", "--apply"]] {
        let again = outcome(waldo().args(command).arg(home));
        assert_eq!(again.0, 0, "{what}: {command:?}: {again:?}");
    }
    if planned.0 == 0 {
        // Never known to be durable: the end of the log.
        assert_eq!(numbers(home), (1..victim).collect::<Vec<_>>(), "{what}");
        return false;
    }
    let before = if victim == 1 { "(none)".into() } else { (victim - 1).to_string() };
    for (_, said) in [&verified, &planned] {
        assert!(said.contains(&format!("after record {before}")), "{what}: {said}");
    }
    assert_eq!(numbers(home), stays(records, victim, keep), "{what}: {repaired:?}");
    true
}

#[test]
fn a_damaged_record_is_told_of_and_repaired_wherever_it_stands() {
    let place = Place::new();
    for closed in [true, false] {
        let home = ring(&place, &format!("ring-{closed}"), RECORDS, closed);
        let firsts = firsts_of_pages(&home, RECORDS);
        assert!(firsts.len() >= 2, "{firsts:?}");
        for victim in [1, firsts[0] - 1, firsts[0], firsts[0] + 20, firsts[1] - 1, RECORDS / 2, RECORDS] {
            for (offset, keep) in [(5, "longest"), (-10, "older"), (0, "newer")] {
                let name = format!("closed-{closed}-{victim}-{keep}");
                let copy = spoiled(&home, &name, victim, offset);
                let damaged = told_of_and_repaired(&copy, RECORDS, victim, keep);
                // Those of a killed writer's last append were not known to be durable.
                assert_eq!(damaged, closed || victim <= RECORDS / 2, "{name}");
            }
        }
        let home = ring(&place, &format!("one-{closed}"), 1, closed);
        for (offset, keep) in [(5, "longest"), (-10, "older")] {
            let copy = spoiled(&home, &format!("one-{closed}-{keep}"), 1, offset);
            assert_eq!(told_of_and_repaired(&copy, 1, 1, keep), closed);
        }
    }
}
