//! The fan-out bench, small: real processes, everything delivered, and nothing left behind.

use crate::support::*;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::process::Command;

fn fanout(place: &Place, args: &[&str]) -> Command {
    let mut command = waldo();
    command.args(["fanout", "--json", "--baseline", "1"]).env("TMPDIR", place.path()).args(args);
    for (name, small) in [("--seconds", "1"), ("--ring-size", "3"), ("--page-size", "4M")] {
        if !args.contains(&name) {
            command.args([name, small]);
        }
    }
    command
}

fn delivered(place: &Place, args: &[&str]) -> Value {
    let done = run(&mut fanout(place, args), b"");
    let complaints: Vec<&str> = done.stderr.lines().filter(|l| !l.starts_with("waldo: written ")).collect();
    assert_eq!((done.code, complaints), (0, vec![]), "{args:?}");
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let data = &report["data"];
    assert_eq!((&data["failed"], &data["missed"]), (&0.into(), &0.into()));
    let appended = data["loads"]["active"]["appends"].as_u64().unwrap();
    assert_eq!(data["records"].as_u64(), Some(appended * data["readers"].as_u64().unwrap()));
    assert!(appended > 0 && data["unread_age"]["count"].as_u64() > Some(0));
    assert_eq!(data["wake"].as_array().unwrap().len(), 5);
    assert!(data["wake"].as_array().unwrap().iter().all(|ping| ping["count"] == data["readers"]));
    report
}

fn left(place: &Place) -> usize {
    place.path().read_dir().unwrap().count()
}

#[test]
fn every_process_gets_every_record() {
    let (place, results) = (Place::new(), Place::new());
    let stem = results.join("today");
    let report =
        delivered(&place, &["--readers", "20", "--rate", "1000", "--report", stem.to_str().unwrap()]);
    assert_eq!(report["data"]["readers"], 20);
    assert!(report["data"]["reader_process"]["private_kib"].as_u64() > Some(0));
    assert!(report["data"]["flushes"]["idle"]["count"].as_u64() > Some(0));
    assert_eq!(left(&place), 0, "something is left in the temporary directory");
    let page = std::fs::read_to_string(results.join("today.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("NaN"), "no plots");
    let written: Value = serde_json::from_slice(&std::fs::read(results.join("today.json")).unwrap()).unwrap();
    assert_eq!(written["data"], report["data"]);
}

#[test]
fn every_stream_gets_every_record_durably() {
    let place = Place::new();
    let report = delivered(&place, &["--readers", "50", "--mode", "streams", "--rate", "200", "--sync"]);
    assert_eq!(report["data"]["readers"], 50);
    assert_eq!(left(&place), 0);
}

#[test]
fn a_scheduling_that_exists_is_taken() {
    let place = Place::new();
    let args =
        ["--readers", "3", "--rate", "100", "--scheduling", "slice:500us", "--reader-scheduling", "batch"];
    delivered(&place, &args);
}

#[test]
fn an_interrupt_leaves_nothing() {
    let place = Place::new();
    let mut child = Process::start(&mut fanout(&place, &["--readers", "30", "--seconds", "600"]));
    until("all processes run", || (processes_with(place.path()).len() == 31).then_some(()));
    child.signal(Signal::SIGINT);
    let done = child.wait();
    assert_eq!(done.code, 130, "{}", done.stderr);
    assert!(done.stderr.contains("nothing is left behind"), "{}", done.stderr);
    assert!(processes_with(place.path()).is_empty());
    assert_eq!(left(&place), 0);
}

#[test]
fn a_bench_that_is_killed_leaves_nothing() {
    let place = Place::new();
    let mut child = Process::start(&mut fanout(&place, &["--readers", "10", "--seconds", "600"]));
    until("all processes run", || (processes_with(place.path()).len() == 11).then_some(()));
    let home = place.path().read_dir().unwrap().flatten().next().unwrap().path().join("ring");
    let segment = std::path::Path::new("/dev/shm").join(segment_name(&home).unwrap().trim_start_matches('/'));
    assert!(segment.exists());
    child.signal(Signal::SIGKILL);
    child.wait();
    until("no process is left", || processes_with(place.path()).is_empty().then_some(()));
    until("the files are gone", || (left(&place) == 0).then_some(()));
    assert!(!segment.exists());
}

#[test]
fn nonsense_is_refused_before_anything_starts() {
    let place = Place::new();
    for (args, what) in [
        (["--size", "3"], "at least 16 bytes"),
        (["--size", "1M"], "make --page-size at least"),
        (["--scheduling", "fast"], "realtime:1 to realtime:99"),
        (["--report", "/no/such/place/x"], "name another place"),
        (["--page-size", "1T"], "--page-size"),
        (["--dir", "/no/such/place"], "/no/such/place"),
    ] {
        let done = run(&mut fanout(&place, &args), b"");
        assert_ne!(done.code, 0, "{args:?}");
        assert!(done.stderr.contains(what), "{args:?}: {}", done.stderr);
        assert_eq!(left(&place), 0);
    }
}
