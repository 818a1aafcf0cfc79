//! The demo, small: real processes, verified, and nothing left behind.

use crate::support::*;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn demo(place: &Place, args: &[&str]) -> Command {
    let mut command = waldo();
    command.args(["demo", "--json"]).args(args).env("TMPDIR", place.path());
    command
}

fn verified(place: &Place, args: &[&str]) -> Value {
    let done = run(&mut demo(place, args), b"");
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{args:?}");
    assert_eq!(place.path().read_dir().unwrap().count(), 0, "something is left in the temporary directory");
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn every_reader_verifies_everything() {
    let place = Place::new();
    let report = verified(&place, &["--readers", "20", "--records", "2000"]);
    assert_eq!((&report["readers"], &report["verified"]), (&20.into(), &20.into()));
    // The end mark is a record too.
    assert_eq!(report["records"], 2001);
    assert!(report["reader_private_kib"].as_u64() > Some(0));
}

#[test]
fn a_ring_that_goes_round_overtakes_nobody() {
    let place = Place::new();
    let args = ["--readers", "5", "--records", "20000", "--ring-size", "4", "--page-size", "64K"];
    let report = verified(&place, &args);
    assert_eq!((&report["verified"], &report["records"]), (&5.into(), &20_001.into()));
}

#[test]
fn text_of_ones_own_and_a_ring_to_keep() {
    let text = Place::new();
    let input = text.join("input");
    std::fs::write(&input, b"one\r\n\n\xff\xfe\nlast").unwrap();
    let home = text.join("kept");
    let done = run(
        demo(&text, &["--readers", "3", "--page-size", "1M"])
            .arg("--input")
            .arg(&input)
            .arg("--keep")
            .arg(&home),
        b"",
    );
    assert_eq!(done.code, 0, "{}", done.stderr);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&report["verified"], &report["records"]), (&3.into(), &5.into()));
    let tail = run(waldo().arg("tail").arg(&home).args(["--count", "4"]), b"");
    assert_eq!(tail.stdout, b"one\r\n\n\xff\xfe\nlast\n", "{}", tail.stderr);
}

#[test]
fn the_writer_can_be_given_a_rate_and_a_time() {
    let place = Place::new();
    let report =
        verified(&place, &["--readers", "2", "--seconds", "1", "--rate", "1000", "--page-size", "1M"]);
    assert_eq!(report["verified"], 2);
    // A thousand in the second, give or take a piece, and the end mark.
    assert!(report["records"].as_u64() <= Some(1100), "{report}");
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    nothing_left_after(Signal::SIGINT, 130);
}

#[test]
fn a_demo_that_is_killed_leaves_nothing_behind() {
    nothing_left_after(Signal::SIGKILL, -1);
}

fn nothing_left_after(signal: Signal, code: i32) {
    const READERS: usize = 12;
    let place = Place::new();
    let mut process =
        Process::start(&mut demo(&place, &["--readers", "12", "--seconds", "600", "--rate", "1000"]));
    let home = until("there is a ring with all its processes", || {
        let dir = place.path().read_dir().unwrap().flatten().next()?.path();
        let all_there = processes_with(place.path()).len() == READERS + 1;
        let home = dir.join("ring");
        (all_there && segment_name(&home).is_some()).then_some(home)
    });
    until_tip(&home, 1);
    let segment = segment_name(&home).unwrap();
    let segment = Path::new("/dev/shm").join(segment.trim_start_matches('/'));
    assert!(segment.exists());
    process.signal(signal);
    let done = process.wait();
    assert_eq!(done.code, code, "{}", done.stderr);
    until("no process is left", || processes_with(place.path()).is_empty().then_some(()));
    until("the files are gone", || (place.path().read_dir().unwrap().count() == 0).then_some(()));
    until("the shared memory is gone", || (!segment.exists()).then_some(()));
}
