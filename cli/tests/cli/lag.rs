//! `waldo lag`: readers that make themselves seen.

use crate::dying::to_die_at;
use crate::points::Point;
use crate::scene::Scene;
use crate::support::*;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;

#[test]
fn a_follower_is_seen_live_behind_dead_and_not_at_all() {
    let scene = Scene::new();
    let home = scene.place.join("ring");
    let mut writer = Process::start(waldo().arg("append").args(SMALL).arg(&home));
    writer.write(b"1\n2\n3\n");
    until_tip(&home, 3);
    assert_eq!(scene.rows(&home).len(), 0);
    let mut follower = scene.follower(&home, "indexer");
    let row = scene.until_row(&home, "position", 3.into());
    assert_eq!((&row["reader"], &row["state"]), (&"indexer".into(), &"live".into()));
    assert_eq!((&row["behind"], &row["waiting_ms"]), (&0.into(), &Value::Null));
    assert_eq!(row["pid"].as_u64(), Some(follower.pid().into()));
    // What it reads later is seen as well, though it sleeps when a report is due.
    writer.write(b"4\n");
    scene.until_row(&home, "position", 4.into());
    follower.signal(Signal::SIGSTOP);
    writer.write(b"5\n6\n");
    until_tip(&home, 6);
    let row = scene.until_row(&home, "behind", 2.into());
    assert!(row["waiting_ms"].as_f64().is_some() && row["state"] == "live", "{row}");
    follower.signal(Signal::SIGKILL);
    follower.wait();
    let row = scene.until_row(&home, "state", "dead".into());
    assert_eq!(row["behind"], 2);
    // The limit, for whoever watches over it.
    for (max, code) in [("1", 4), ("2", 0)] {
        let done = run(scene.waldo().args(["lag", "--max-behind", max]).arg(&home), b"");
        assert_eq!(done.code, code, "{}", done.stderr);
        assert!(done.text().contains("indexer") && (code == 0 || done.stderr.contains("2 behind")));
    }
    // The next one of this name takes its place, and its report away when it ends.
    let follower = scene.follower(&home, "indexer");
    scene.until_row(&home, "state", "live".into());
    follower.signal(Signal::SIGTERM);
    assert_eq!(follower.finish().code, 143);
    assert_eq!(scene.rows(&home).len(), 0);
    assert_eq!(std::fs::read_dir(&scene.readers).unwrap().count(), 0);
    assert_eq!(writer.finish().code, 0);
}

/// A follower that sleeps is ended by another thread, without its destructors: its report stayed, and it
/// counted as killed.
#[test]
fn a_follower_that_sleeps_takes_its_report_away() {
    let scene = Scene::new();
    let home = scene.place.ring("ring", b"1\n2\n3\n");
    let mut follower = scene.follower(&home, "signalled");
    scene.until_row(&home, "position", 3.into());
    follower.signal(Signal::SIGTERM);
    assert_eq!(follower.wait().code, 143);
    assert_eq!(scene.rows(&home).len(), 0);
    let tail = ["tail", "-f", "--from", "oldest", "--name", "unread"];
    let mut command = scene.waldo();
    let mut unread = Killed(command.args(tail).arg(&home).stdout(Stdio::piped()).spawn().unwrap());
    scene.until_row(&home, "position", 3.into());
    drop(unread.0.stdout.take());
    until("it ends", || unread.0.try_wait().unwrap());
    assert_eq!(scene.rows(&home).len(), 0);
    assert_eq!(std::fs::read_dir(&scene.readers).unwrap().count(), 0);
}

#[test]
fn checkpoint_files_are_compared_with_the_ring() {
    let scene = Scene::new();
    let home = scene.place.ring("ring", b"1\n2\n3\n4\n");
    let progress = scene.place.join("progress");
    let tail = |home: &Path, count: &str| {
        let done = run(
            waldo().args(["tail", "-n", "+1", "--count", count, "--checkpoint"]).arg(&progress).arg(home),
            b"",
        );
        assert_eq!(done.code, 0, "{}", done.stderr);
    };
    tail(&home, "1");
    let lag = |home: &Path, args: &[&str]| {
        run(scene.waldo().arg("lag").arg(home).args(args).arg("--checkpoint").arg(&progress), b"")
    };
    let row = |home: &Path| -> Value { serde_json::from_slice(&lag(home, &["--json"]).stdout).unwrap() };
    let found = row(&home);
    assert_eq!((&found["state"], &found["kind"]), (&"saved".into(), &"checkpoint".into()));
    assert_eq!((&found["position"], &found["behind"], &found["tip"]), (&1.into(), &3.into(), &4.into()));
    assert_eq!((lag(&home, &["--max-behind", "3"]).code, lag(&home, &["--max-behind", "2"]).code), (0, 4));
    // Overtaken counts whatever the limit.
    let line = [vec![b'x'; 1 << 19], b"\n".to_vec()].concat();
    assert_eq!(run(waldo().arg("append").arg(&home), &line.repeat(12)).code, 0);
    assert_eq!(row(&home)["state"], "overtaken");
    assert_eq!(lag(&home, &["--max-behind", "1000000"]).code, 4);
    // Another ring's, and none.
    let other = scene.place.ring("other", b"x\n");
    let done = lag(&other, &[]);
    assert!(done.code == 1 && done.stderr.contains("of another ring"), "{}", done.stderr);
    std::fs::remove_file(&progress).unwrap();
    let done = lag(&home, &[]);
    assert!(done.code == 1 && done.stderr.contains("no such file"), "{}", done.stderr);
}

#[test]
fn a_position_that_the_log_has_lost_is_told() {
    let scene = Scene::new();
    let progress = scene.place.join("progress");
    let home = scene.place.ring("ring", b"1\n2\n3\n");
    let done = run(waldo().args(["tail", "--checkpoint"]).arg(&progress).arg(&home), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let copy = scene.place.join("copy");
    // The same ring as it was before, gone on in another way.
    let saved = std::fs::read_to_string(&progress).unwrap();
    assert_eq!(run(waldo().arg("snapshot").args([&home, &copy]), b"").code, 0);
    assert_eq!(run(waldo().arg("append").arg(&home), b"4\n5\n").code, 0);
    let done = run(waldo().args(["tail", "--checkpoint"]).arg(&progress).arg(&home), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let state = |home: &Path| -> Value {
        let done =
            run(scene.waldo().args(["lag", "--json"]).arg(home).arg("--checkpoint").arg(&progress), b"");
        serde_json::from_slice::<Value>(&done.stdout).unwrap()["state"].clone()
    };
    assert_eq!(state(&copy), "rewound");
    for _ in 0..2 {
        assert_eq!(run(waldo().arg("append").arg(&copy), b"another four\n").code, 0);
    }
    assert_eq!(state(&copy), "diverged");
    std::fs::write(&progress, saved).unwrap();
    assert_eq!(state(&copy), "saved");
}

#[test]
fn a_name_does_nothing_to_a_terminal() {
    let scene = Scene::new();
    let home = scene.place.ring("ring", b"1\n");
    let _follower = scene.follower(&home, "\u{202e}cod.exe");
    scene.until_row(&home, "position", 1.into());
    for args in [&["lag"][..], &["lag", "--json"]] {
        let done = run(scene.waldo().args(args).arg(&home), b"");
        assert!(!done.text().contains('\u{202e}') && done.text().contains("cod.exe"), "{}", done.text());
    }
    let done = run(scene.waldo().args(["tail", "--name", "\u{1b}[2J"]).arg(&home), b"");
    assert_eq!(done.code, 2, "{}", done.stderr);
}

/// Nothing depends on it.
#[test]
fn a_reader_that_cannot_be_seen_reads_all_the_same() {
    let scene = Scene::new();
    let home = scene.place.ring("ring", b"1\n2\n");
    std::fs::remove_dir(&scene.readers).unwrap();
    let done = run(scene.waldo().args(["tail", "--name", "x"]).arg(&home), b"");
    assert_eq!((done.code, done.text()), (0, "1\n2\n"), "{}", done.stderr);
    assert!(done.stderr.contains("cannot see this reader"), "{}", done.stderr);
    let done = run(scene.waldo().arg("lag").arg(&home), b"");
    assert!(done.code == 1 && done.stderr.contains("readers"), "{}", done.stderr);
}

/// The limit is answered by the exit code, whether anybody reads the table or not.
#[test]
fn a_limit_counts_though_nobody_reads_the_table() {
    let scene = Scene::new();
    let home = scene.place.ring("ring", b"1\n2\n3\n");
    let saved = scene.place.join("saved");
    let tail = ["tail", "--count", "1", "--from", "oldest", "--checkpoint"];
    assert_eq!(run(waldo().args(tail).arg(&saved).arg(&home), b"").code, 0);
    let lag = |max: &str| {
        let mut command = scene.waldo();
        command.args(["lag", "--max-behind", max]).arg(&home).arg("--checkpoint").arg(&saved);
        run_unread(&mut command).code
    };
    assert_eq!((lag("1"), lag("2")), (4, 0));
}

/// While a writer opens a ring, nothing says where the log ends: everybody passed for being there.
#[test]
fn behind_a_writer_that_died_while_it_opened_the_ring_readers_are_behind() {
    let scene = Scene::new();
    let text: String = (1..=3000).map(|n| format!("{n}\n")).collect();
    let home = scene.place.ring("ring", text.as_bytes());
    let saved = scene.place.join("saved");
    let tail = ["tail", "--count", "1", "--from", "oldest", "--checkpoint"];
    assert_eq!(run(waldo().args(tail).arg(&saved).arg(&home), b"").code, 0);
    let mut command = waldo();
    to_die_at(command.arg("append").arg(&home), Point::Flush);
    assert_eq!(run(&mut command, b"").code, -1);
    let done = run(scene.waldo().args(["lag", "--json"]).arg(&home).arg("--checkpoint").arg(&saved), b"");
    let row: Value = serde_json::from_str(done.text()).unwrap();
    assert_eq!((&row["behind"], &row["tip"]), (&2999.into(), &3000.into()), "{row}");
}

/// Damage to a ring is always a failure. The reader counted as one that had not said yet where it is.
#[test]
fn a_ring_that_is_damaged_where_a_reader_stands_is_a_failure() {
    let scene = Scene::new();
    let text: String = (1..=3000).map(|n| format!("record {n}\n")).collect();
    let home = scene.place.ring("ring", text.as_bytes());
    let saved = scene.place.join("saved");
    let tail = ["tail", "--count", "1", "--from", "1500", "--checkpoint"];
    assert_eq!(run(waldo().args(tail).arg(&saved).arg(&home), b"").code, 0);
    let page = std::fs::File::options().write(true).open(damage(&home, b"record 1500")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&page, &[0xff; 64], 0).unwrap();
    let done = run(scene.waldo().arg("lag").arg(&home).arg("--checkpoint").arg(&saved), b"");
    assert!(done.code == 1 && done.stderr.contains("page-"), "{}: {}", done.code, done.stderr);
}
