//! What goes wrong is said in words that help, with the right exit code.

use crate::support::*;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

#[test]
fn nonsense_on_the_command_line_is_code_2() {
    let place = Place::new();
    let home = place.ring("ring", b"x\n");
    let ring = home.to_str().unwrap();
    for args in [
        &["--nonsense"][..],
        &["frobnicate"],
        &[],
        &["tail"],
        &["tail", ring, "--from", "nowhere"],
        &["tail", ring, "--format", "xml"],
        &["append", ring, "--page-size", "12Q"],
        &["append", ring, "--page-size", "1000"],
        &["append", ring, "--no-sync", "--sync-interval", "5"],
        &["inspect", ring, "page"],
        &["demo", "--readers", "0"],
    ] {
        let done = run(waldo().args(args), b"");
        assert_eq!(done.code, 2, "{args:?}: {}", done.stderr);
        assert!(!done.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn help_teaches() {
    for command in ["demo", "append", "serve", "tail", "stat", "verify", "inspect"] {
        let done = run(waldo().args([command, "--help"]), b"");
        assert_eq!(done.code, 0);
        assert!(done.text().contains("Example"), "{command} --help has no example");
    }
    for what in ["write", "read", "latency", "open"] {
        let done = run(waldo().args(["bench", what, "--help"]), b"");
        assert_eq!(done.code, 0);
        assert!(done.text().contains("Example"), "bench {what} --help has no example");
    }
    let done = run(waldo().arg("--help"), b"");
    assert!(done.text().contains("waldo demo") && !done.text().contains("demo-reader"));
}

#[test]
fn a_missing_ring_and_a_directory_that_is_none_are_named() {
    let place = Place::new();
    for (home, make) in [("missing", false), ("empty", true)] {
        let home = place.join(home);
        if make {
            std::fs::create_dir(&home).unwrap();
        }
        for command in ["tail", "stat", "verify", "inspect"] {
            let done = run(waldo().arg(command).arg(&home), b"");
            assert_eq!(done.code, 1, "{command}: {}", done.stderr);
            assert!(done.stderr.contains(home.to_str().unwrap()), "{command}: {}", done.stderr);
            assert_eq!(done.stderr.lines().count(), 1, "{command}: {}", done.stderr);
        }
    }
}

#[test]
fn a_line_too_long_is_named_and_those_before_it_stay() {
    let place = Place::new();
    let home = place.join("ring");
    let mut text = b"one\ntwo\n".to_vec();
    text.extend(std::iter::repeat_n(b'x', 1 << 20));
    text.extend_from_slice(b"\nfour\n");
    let done = run(waldo().args(["append", "--page-size", "4M"]).arg(&home), &text);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("line 3 is too long"), "{}", done.stderr);
    assert!(done.stderr.contains("at most 1048520"), "{}", done.stderr);
    assert_eq!(run(waldo().arg("tail").arg(&home), b"").text(), "one\ntwo\n");
}

#[test]
fn a_line_too_long_for_a_small_page_is_named_too() {
    let place = Place::new();
    let home = place.join("ring");
    let text = format!("one\n{}\n", "x".repeat(20_000));
    let done = run(waldo().args(["append", "--page-size", "16K"]).arg(&home), text.as_bytes());
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("line 2 is too long"), "{}", done.stderr);
    assert_eq!(run(waldo().arg("tail").arg(&home), b"").text(), "one\n");
}

#[test]
fn a_lapped_reader_is_told_where_to_go_on() {
    let place = Place::new();
    let home = place.join("ring");
    let text: String = (1..=5000).map(|i| format!("{i}\n")).collect();
    let done = run(
        waldo()
            .args(["append", "--no-sync", "--page-size", "16K", "--ring-size", "4", "--batch", "4K"])
            .arg(&home),
        text.as_bytes(),
    );
    assert_eq!(done.code, 0, "{}", done.stderr);
    let lapped = run(waldo().arg("tail").arg(&home).args(["--from", "2"]), b"");
    assert_eq!(lapped.code, 1, "{}", lapped.stderr);
    assert!(lapped.stderr.contains("--on-lapped oldest"), "{}", lapped.stderr);
    let all = run(waldo().arg("tail").arg(&home), b"");
    assert_eq!(all.code, 0, "{}", all.stderr);
    let on = run(waldo().arg("tail").arg(&home).args(["--from", "2", "--on-lapped", "oldest"]), b"");
    assert_eq!((on.code, &on.stdout), (0, &all.stdout), "{}", on.stderr);
    assert!(on.stderr.contains("overtaken"), "{}", on.stderr);
    assert!(all.text().ends_with("4999\n5000\n"));
}

/// Flips a bit in the first place where `needle` stands in a page.
fn damage(home: &std::path::Path, needle: &[u8]) -> PathBuf {
    for entry in std::fs::read_dir(home).unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|w| w == needle) {
            let file = std::fs::OpenOptions::new().write(true).open(entry.path()).unwrap();
            file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
            return entry.path();
        }
    }
    panic!("no page holds the bytes that were appended");
}

#[test]
fn verify_finds_a_flipped_bit() {
    let place = Place::new();
    let home = place.ring("ring", b"alpha\nbravo\ncharlie\n");
    let good = run(waldo().arg("verify").arg(&home), b"");
    assert_eq!(good.code, 0, "{}", good.stderr);
    assert!(good.text().contains('3'), "{}", good.text());
    let page = damage(&home, b"bravo");
    let bad = run(waldo().arg("verify").arg(&home), b"");
    assert_eq!(bad.code, 1);
    let said = format!("{}{}", bad.text(), bad.stderr);
    assert!(said.contains(page.file_name().unwrap().to_str().unwrap()), "{said}");
    assert!(said.contains("payload"), "{said}");
}

#[test]
fn tail_stops_at_a_flipped_bit_if_it_is_to_verify() {
    let place = Place::new();
    let home = place.join("ring");
    let text: String =
        (0..5000).map(|i| if i == 50 { "victim\n".into() } else { format!("{i}\n") }).collect();
    let done = run(waldo().args(["append", "--page-size", "64K"]).arg(&home), text.as_bytes());
    assert_eq!(done.code, 0, "{}", done.stderr);
    let page = damage(&home, b"victim");
    let plain = run(waldo().arg("tail").arg(&home), b"");
    assert_eq!(
        (plain.code, plain.text().lines().count()),
        (0, 5000),
        "headers alone are checked: {}",
        plain.stderr
    );
    let careful = run(waldo().args(["tail", "--verify"]).arg(&home), b"");
    assert_eq!(careful.code, 1);
    assert_eq!(careful.text().lines().count(), 50, "what comes before the damage is printed");
    assert!(careful.stderr.contains(page.file_name().unwrap().to_str().unwrap()), "{}", careful.stderr);
}
