//! How large a ring is to be, in pages, bytes, or a time at a rate.

use crate::support::*;
use std::path::Path;

/// What `waldo append` said, and the pages of the ring then.
fn append(home: &Path, args: &[&str]) -> (Done, Option<u64>) {
    let done = run(waldo().args(["append", "--page-size", "16K"]).args(args).arg(home), b"x\n");
    let status = run(waldo().args(["stat", "--json"]).arg(home), b"");
    let status: Option<serde_json::Value> = serde_json::from_slice(&status.stdout).ok();
    (done, status.and_then(|status| status["ring_size"].as_u64()))
}

#[test]
fn a_ring_is_made_as_large_as_was_said() {
    for (args, pages, told) in [
        (&["--size", "1M"][..], 64, ""),
        (&["--size", "1M", "--ring-size", "64"], 64, ""),
        (&["--size", "100000"], 6, "6 pages are taken, which are 98,304 bytes"),
        (&["--keep", "10s", "--rate", "100K/s"], 64, "10s at 100 KiB/s are 1000 KiB: 64 pages of 16.0 KiB"),
    ] {
        let place = Place::new();
        let (done, found) = append(&place.join("ring"), args);
        assert_eq!((done.code, found), (0, Some(pages)), "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(told), "{args:?}: {}", done.stderr);
    }
}

#[test]
fn a_size_that_cannot_be_makes_no_ring() {
    for (args, told) in [
        (&["--size", "16000"][..], "smallest ring has one page of 16.0 KiB"),
        (
            &["--size", "2G"],
            "131,072 pages of 16.0 KiB, and a ring has 1 to 65,536: choose other pages, of 32.0 KiB",
        ),
        (
            &["--size", "1M", "--ring-size", "8"],
            "says 8 pages of 16.0 KiB, the size says 64: give one of the two",
        ),
        (&["--size", "1M", "--keep", "1h", "--rate", "1K"], "cannot be used with"),
        (&["--keep", "1h"], "--rate"),
        (&["--rate", "0", "--keep", "1h"], "a rate of 0"),
    ] {
        let place = Place::new();
        let (done, found) = append(&place.join("ring"), args);
        assert_eq!((done.code, found), (2, None), "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(told), "{args:?}: {}", done.stderr);
    }
}

/// A ring that is there keeps its size, as with a number of pages.
#[test]
fn another_size_of_a_ring_that_is_there_is_told_and_applied_when_asked_for() {
    let place = Place::new();
    let home = place.join("ring");
    assert_eq!(append(&home, &["--size", "1M"]).1, Some(64));
    let (done, found) = append(&home, &["--size", "2M"]);
    assert_eq!(found, Some(64));
    assert!(done.stderr.contains("keeps its 64 pages"), "{}", done.stderr);
    assert_eq!(append(&home, &["--size", "2M", "--resize"]).1, Some(128));
}
