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
