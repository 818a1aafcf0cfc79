//! A disk without room, which is a file system in memory here. Needs root, and says so where that is missing.

use crate::support::*;
use nix::mount::{MsFlags, mount};
use std::path::Path;

/// Calls `test` with a directory on a file system of so many megabytes.
fn with_room_for(megabytes: u32, test: impl FnOnce(&Path) + Send) {
    let place = Place::new();
    let dir = place.join("small");
    std::fs::create_dir(&dir).unwrap();
    on_own_mounts(|| {
        let size = format!("size={megabytes}M");
        mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), Some(size.as_str())).unwrap();
        test(&dir);
    });
}

/// The kernel lets go of a ring's files some time after its process has ended, if that used io_uring.
fn removed_files_are_gone(dir: &Path) {
    until("the removed files have given their room back", || {
        let stat = nix::sys::statvfs::statvfs(dir).unwrap();
        (stat.blocks_available() == stat.blocks()).then_some(())
    });
}

/// What was appended of the last batch was counted nowhere, and the record that was named was one that is in
/// the ring: whoever went on there had it twice.
#[test]
fn what_was_appended_when_the_disk_was_full_is_told_to_the_record() {
    with_room_for(5, |dir| {
        let home = dir.join("ring");
        let lines: String = (1..=60_000).map(|n| format!("line number {n}\n")).collect();
        let args = ["append", "--no-sync", "--page-size", "1M", "--ring-size", "40"];
        let done = run(waldo().args(args).arg(&home), lines.as_bytes());
        assert_eq!(done.code, 1, "{}", done.stderr);
        let tail = run(waldo().arg("tail").arg(&home), b"");
        let (kept, last) = (tail.text().lines().count(), tail.text().lines().last().unwrap());
        assert_eq!(last, format!("line number {kept}"));
        let said = done.stderr.replace(',', "");
        for part in [format!("appended {kept} records"), format!("from number {} on", kept + 1)] {
            assert!(said.contains(&part), "{part}: {}", done.stderr);
        }
    });
}

#[test]
fn a_copy_that_a_disk_has_no_room_for_leaves_nothing() {
    with_room_for(5, |small| {
        let place = Place::new();
        let home = place.join("ring");
        let args = ["append", "--no-sync", "--page-size", "1M", "--ring-size", "40"];
        let line = format!("{}\n", "some text ".repeat(100));
        assert_eq!(run(waldo().args(args).arg(&home), line.repeat(10_000).as_bytes()).code, 0);
        let is_empty = |dir: &Path| std::fs::read_dir(dir).unwrap().next().is_none();
        // The second is a mount point, in whose place nothing can be put.
        for to in [&small.join("copy"), small] {
            let done = run(waldo().arg("snapshot").arg(&home).arg(to), b"");
            assert!(done.code == 1 && done.stderr.contains("No space left"), "{}", done.stderr);
            // Under this name, and not under the one that it has until it is complete.
            let named = format!("{}/page-", to.display());
            assert!(done.stderr.contains(&named) && !done.stderr.contains(".snapshot"), "{}", done.stderr);
            assert!(is_empty(small));
        }
        let fits = place.ring("fits", b"x\n");
        assert_eq!(run(waldo().arg("snapshot").arg(&fits).arg(small), b"").code, 0);
    });
}

fn number(home: &Path, name: &str) -> u64 {
    let status = run(waldo().args(["stat", "--json"]).arg(home), b"");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    status.pointer(name).and_then(serde_json::Value::as_u64).unwrap()
}

/// However its appends become durable: all of them are in the log, the newest are in the ring, and it grows
/// again once there is room.
#[test]
fn a_ring_that_drops_its_oldest_goes_on_when_the_disk_is_full() {
    with_room_for(6, |dir| {
        for durability in [&["--no-sync"][..], &["--sync-interval", "3600000"], &[]] {
            let home = dir.join("ring");
            let lines = |range: std::ops::RangeInclusive<u32>| -> String {
                range.map(|n| format!("line number {n} {:0400}\n", 0)).collect()
            };
            let append = |text: String| {
                let args = ["append", "--on-full", "drop-oldest", "--page-size", "1M", "--ring-size", "20"];
                run(waldo().args(args).args(durability).arg(&home), text.as_bytes())
            };
            let done = append(lines(1..=40_000));
            assert_eq!(done.code, 0, "{durability:?}: {}", done.stderr);
            let told = "the disk is full";
            assert!(done.stderr.contains(told) && done.stderr.contains("drop-oldest"), "{}", done.stderr);
            let first = number(&home, "/oldest_seq_no");
            assert!(first > 1);
            let tail = run(waldo().args(["tail", "--from", "oldest"]).arg(&home), b"");
            assert!(tail.text() == lines(first as u32..=40_000), "{durability:?}");
            assert_eq!(run(waldo().arg("verify").arg(&home), b"").code, 0);
            let pages = number(&home, "/pages");
            assert!((2..=5).contains(&pages), "{pages}");

            let room = |size| {
                let flags = MsFlags::MS_REMOUNT;
                mount(Some("tmpfs"), dir, Some("tmpfs"), flags, Some(size)).unwrap();
            };
            room("size=60M");
            assert_eq!(append(lines(40_001..=120_000)).code, 0);
            assert_eq!(number(&home, "/pages"), 20);
            std::fs::remove_dir_all(&home).unwrap();
            removed_files_are_gone(dir);
            room("size=6M");
        }
    });
}

/// Before anything is written, with figures and what to do about it.
#[test]
fn a_ring_for_which_the_disk_has_no_room_is_told_when_it_is_made() {
    with_room_for(6, |dir| {
        let home = dir.join("ring");
        let make = |pages: &str, more: &[&str]| {
            let args = ["append", "--no-sync", "--page-size", "1M", "--ring-size", pages];
            run(waldo().args(args).args(more).arg(&home), b"x\n")
        };
        let done = make("20", &[]);
        for part in ["takes up to 22.0 MiB", "has 6.00 MiB left", "appends are refused", "--ring-size"] {
            assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
        }
        assert!(!make("20", &[]).stderr.contains("takes up to"), "only when it is made");
        std::fs::remove_dir_all(&home).unwrap();
        let told = "its oldest records are dropped early";
        assert!(make("20", &["--on-full", "drop-oldest"]).stderr.contains(told));
        std::fs::remove_dir_all(&home).unwrap();
        removed_files_are_gone(dir);
        assert!(!make("3", &[]).stderr.contains("takes up to"));
    });
}
