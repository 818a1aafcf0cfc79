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
        (&["--keep", "10s", "--rate", "100K/s"], 89, "10s at 100 KiB/s are 1000 KiB: 89 pages of 16.0 KiB"),
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

/// Also with small pages, of which index and footer take a good part, and right after a page was begun.
#[test]
fn records_stay_for_the_time_that_was_said_at_the_rate_that_was_said() {
    // Each takes 32 bytes, 48, and none to fill up: 100 a second.
    let (seconds, of_second) = (10, 100);
    let args = ["--keep", "10s", "--rate", "8000", "--no-sync", "--page-size", "16K"];
    let place = Place::new();
    let home = place.join("ring");
    let text = |records| format!("{:031}x\n", 7).repeat(records);
    let mut kept = Vec::new();
    // The first fills the ring, the others go through more than one page of it.
    for records in [3000].into_iter().chain([10; 16]) {
        let done = run(waldo().arg("append").args(args).arg(&home), text(records).as_bytes());
        assert_eq!(done.code, 0, "{}", done.stderr);
        let status = run(waldo().args(["stat", "--json"]).arg(&home), b"");
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        let number = |name: &str| status[name].as_u64().unwrap();
        kept.push(number("tip_seq_no") - number("oldest_seq_no") + 1);
    }
    let least = *kept.iter().min().unwrap();
    // Two pages more would be too many.
    let of_two_pages = 2 * 16384 / 80;
    assert!((seconds * of_second..seconds * of_second + of_two_pages).contains(&least), "{kept:?}");
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
