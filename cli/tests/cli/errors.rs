//! What goes wrong is said in words that help, with the right exit code.

use crate::support::*;
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
        &["tail", ring, "--format", "{sequence}"],
        &["tail", ring, "--since", "the day before yesterday"],
        &["tail", ring, "--lines", "ten"],
        &["tail", ring, "--lines", "+3", "--from", "4"],
        &["tail", ring, "--grep", "(unclosed"],
        &["tail", ring, "--checkpoint-every", "1"],
        &["tail", ring, "--wait=soon"],
        &["append", ring, "--page-size", "12Q"],
        &["append", ring, "--page-size", "1000"],
        &["append", ring, "--no-sync", "--sync-interval", "5"],
        &["replay", ring, "to", "--ring-size", "0"],
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
    for command in ["demo", "append", "serve", "tail", "stat", "verify", "repair", "inspect"] {
        let done = run(waldo().args([command, "--help"]), b"");
        assert_eq!(done.code, 0);
        assert!(done.text().contains("Example"), "{command} --help has no example");
    }
    let done = run(waldo().arg("--help"), b"");
    assert!(done.text().contains("waldo demo") && !done.text().contains("demo-reader"));
}

#[test]
fn who_asks_for_the_measurements_is_told_where_they_went() {
    let done = run(waldo().args(["bench", "write", "--seconds", "5", "--help"]), b"");
    assert_eq!((done.code, done.stderr.lines().count()), (2, 1), "{}", done.stderr);
    assert!(
        done.stderr.contains("cargo run --release -p waldo-suite -- write --seconds 5 --help"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_missing_ring_and_a_directory_that_is_none_are_named() {
    let place = Place::new();
    for (home, make) in [("missing", false), ("empty", true)] {
        let home = place.join(home);
        if make {
            std::fs::create_dir(&home).unwrap();
        }
        for command in ["tail", "stat", "verify", "repair", "inspect"] {
            let done = run(waldo().arg(command).arg(&home), b"");
            assert_eq!(done.code, 1, "{command}: {}", done.stderr);
            assert!(done.stderr.contains(home.to_str().unwrap()), "{command}: {}", done.stderr);
            assert_eq!(done.stderr.lines().count(), 1, "{command}: {}", done.stderr);
        }
    }
}

/// A line that was too long ended the command there and then. It is left out, with its place told, and the
/// exit code says so.
#[test]
fn a_line_too_long_is_named_and_all_others_are_appended() {
    let place = Place::new();
    let mut text = b"one\ntwo\n".to_vec();
    text.extend(std::iter::repeat_n(b'x', 1 << 20));
    text.extend_from_slice(b"\nfour\n");
    let append = |name: &str, long: &[&str]| {
        let home = place.join(name);
        let done = run(waldo().args(["append", "--page-size", "4M"]).args(long).arg(&home), &text);
        let lines = run(waldo().arg("tail").arg(&home), b"");
        let lengths: Vec<usize> = lines.text().lines().map(str::len).collect();
        (done, lengths)
    };
    let (done, lengths) = append("refused", &[]);
    assert_eq!((done.code, lengths), (3, vec![3, 3, 4]));
    assert!(done.stderr.contains("line 3, at byte 8 of the input, is too long"), "{}", done.stderr);
    assert!(done.stderr.contains("at most 1048520"), "{}", done.stderr);
    assert!(done.stderr.contains("1 records of the input refused"), "{}", done.stderr);
    let (done, lengths) = append("split", &["--long-lines", "split"]);
    assert_eq!((done.code, lengths), (0, vec![3, 3, 1_048_520, 56, 4]), "{}", done.stderr);
    let (done, lengths) = append("truncated", &["--long-lines", "truncate"]);
    assert_eq!((done.code, lengths), (0, vec![3, 3, 1_048_520, 4]), "{}", done.stderr);
}

#[test]
fn a_line_too_long_for_a_small_page_is_named_too() {
    let place = Place::new();
    let home = place.join("ring");
    let text = format!("one\n{}\nthree\n", "x".repeat(20_000));
    let done = run(waldo().args(["append", "--page-size", "16K"]).arg(&home), text.as_bytes());
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("line 2, at byte 4 of the input, is too long"), "{}", done.stderr);
    assert_eq!(run(waldo().arg("tail").arg(&home), b"").text(), "one\nthree\n");
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

/// `tail` printed damaged records unless it was asked to verify, and ended with exit code 0 in front of
/// damage behind which it knew of no record, with --verify too.
#[test]
fn tail_stops_at_a_flipped_bit_and_says_so() {
    let place = Place::new();
    for victim in [50, 4999] {
        let home = place.join(&format!("ring-{victim}"));
        let text: String =
            (0..5000).map(|i| if i == victim { format!("victim {i}\n") } else { format!("{i}\n") }).collect();
        let done = run(waldo().args(["append", "--page-size", "64K"]).arg(&home), text.as_bytes());
        assert_eq!(done.code, 0, "{}", done.stderr);
        let page = damage(&home, b"victim");
        for args in [&[][..], &["--verify"], &["--check", "payloads"]] {
            let careful = run(waldo().arg("tail").args(args).arg(&home), b"");
            assert_eq!(careful.code, 1, "{args:?}");
            assert_eq!(careful.text().lines().count(), victim, "what comes before the damage is printed");
            assert!(
                careful.stderr.contains(page.file_name().unwrap().to_str().unwrap()),
                "{}",
                careful.stderr
            );
        }
        if victim == 50 {
            let trusting = run(waldo().args(["tail", "--check", "headers"]).arg(&home), b"");
            assert_eq!((trusting.code, trusting.text().lines().count()), (0, 5000), "{}", trusting.stderr);
        }
    }
}

/// Damage below what had been durable makes a ring unusable until somebody decides what is to stay.
#[test]
fn repair_says_what_it_would_do_and_does_it_when_told_to() {
    let place = Place::new();
    let home = place.join("ring");
    let text: String =
        (0..5000).map(|i| if i == 1200 { "victim\n".into() } else { format!("{i}\n") }).collect();
    let done = run(waldo().args(["append", "--page-size", "64K"]).arg(&home), text.as_bytes());
    assert_eq!(done.code, 0, "{}", done.stderr);
    let order = run(waldo().arg("repair").arg(&home), b"");
    assert_eq!(order.code, 0, "{}", order.stderr);
    assert!(order.text().contains("nothing to repair"), "{}", order.text());
    let page = damage(&home, b"victim");
    let before = content(&home);
    let verified = run(waldo().arg("verify").arg(&home), b"");
    assert!(
        verified.stderr.contains("`waldo repair` would keep records 1202 to 5000"),
        "{}",
        verified.stderr
    );
    let planned = run(waldo().arg("repair").arg(&home), b"");
    assert_eq!((planned.code, content(&home)), (1, before.clone()), "{}", planned.stderr);
    let said = planned.text();
    for wanted in
        [page.file_name().unwrap().to_str().unwrap(), "after record 1200", "1202 to 5000", "--keep older"]
    {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // Whoever does not read what is printed goes by the exit code: it was 0, and nothing was repaired.
    assert_eq!(run_unread(waldo().arg("repair").arg(&home)).code, 1);
    let done = run_unread(waldo().args(["repair", "--apply"]).arg(&home));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_ne!(content(&home), before);
    assert!(place.join("ring-backup-1").join(page.file_name().unwrap()).exists());
    let tail = run(waldo().args(["tail", "--from", "oldest"]).arg(&home), b"");
    assert_eq!((tail.code, tail.text().lines().next()), (0, Some("1201")), "{}", tail.stderr);
    assert_eq!(tail.text().lines().count(), 3799);
    assert_eq!(run(waldo().arg("verify").arg(&home), b"").code, 0);
    assert_eq!(run(waldo().arg("append").arg(&home), b"more\n").code, 0);
}

fn content(home: &std::path::Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let mut content: Vec<_> = files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    content.sort();
    content
}

/// An append with default flags to a ring that somebody had made bigger dropped 194,012 records.
#[test]
fn a_ring_keeps_its_size_unless_a_change_is_asked_for() {
    let place = Place::new();
    let home = place.join("ring");
    let text: String = (0..2000).map(|i| format!("{i}\n")).collect();
    let made = ["append", "--page-size", "16K", "--ring-size", "12"];
    assert_eq!(run(waldo().args(made).arg(&home), text.as_bytes()).code, 0);
    let all = run(waldo().arg("tail").arg(&home), b"").stdout;
    let shape = || {
        let status = run(waldo().args(["stat", "--json"]).arg(&home), b"");
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        (status["ring_size"].as_u64().unwrap(), status["page_len"].as_u64().unwrap())
    };
    for flags in [&[][..], &["--ring-size", "2"]] {
        let done = run(waldo().arg("append").args(flags).arg(&home), b"");
        assert_eq!((done.code, shape()), (0, (12, 16384)), "{flags:?}: {}", done.stderr);
        assert_eq!(done.stderr.contains("keeps its 12 pages"), !flags.is_empty(), "{}", done.stderr);
        assert!(run(waldo().arg("tail").arg(&home), b"").stdout == all, "{flags:?} dropped records");
    }
    let done = run(waldo().args(["append", "--resize", "--ring-size", "2"]).arg(&home), b"last\n");
    assert_eq!((done.code, shape()), (0, (2, 16384)), "{}", done.stderr);
    assert!(done.stderr.contains("are dropped (pages 1 to"), "{}", done.stderr);
}

/// Whoever makes a ring that does not fit would hear of it when the disk is full.
#[test]
fn a_ring_that_will_not_fit_on_its_disk_is_told_so() {
    let place = Place::new();
    let made = |name: &str, pages: &str| {
        let args = ["append", "--page-size", "1M", "--ring-size", pages];
        let done = run(waldo().args(args).arg(place.join(name)), b"x\n");
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.stderr
    };
    let stat = nix::sys::statvfs::statvfs(place.path()).unwrap();
    let room = stat.blocks_available() * stat.fragment_size() as u64;
    // Pages of a megabyte: as many as there can be may fit on a large disk.
    let (large, small) = (65_536, 2);
    assert_eq!(made("large", &large.to_string()).contains("when the ring is full"), (large << 20) > room);
    assert!(!made("small", &small.to_string()).contains("when the ring is full"));
    // It is there: nobody is told again.
    assert!(!made("large", &large.to_string()).contains("when the ring is full"));
}

/// A pipe in the place of the metadata was waited for, deaf to SIGTERM, by every command that read the
/// metadata by itself.
#[test]
fn a_pipe_in_the_place_of_the_metadata_is_no_ring_for_any_command() {
    let place = Place::new();
    let home = place.join("ring");
    std::fs::create_dir(&home).unwrap();
    nix::unistd::mkfifo(&home.join("ring.meta"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (home, there, other) = (home.to_str().unwrap(), place.ring("there", b"x\n"), place.join("other"));
    let (there, other) = (there.to_str().unwrap(), other.to_str().unwrap());
    for args in [
        &["append", home][..],
        &["serve", home],
        &["tail", home],
        &["stat", home],
        &["verify", home],
        &["repair", home],
        &["resize", home, "--ring-size", "3", "--yes"],
        &["rm", home],
        &["snapshot", home, other],
        &["replay", home, other],
        &["replay", there, home],
    ] {
        let done = run(waldo().args(args), b"");
        assert!(matches!(done.code, 1..=3) && !done.stderr.is_empty(), "{args:?}: {}", done.code);
    }
}
