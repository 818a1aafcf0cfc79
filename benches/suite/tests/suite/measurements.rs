//! `waldo-suite`: every measurement runs, its results can be read, and nothing is left behind.

use crate::support::*;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Next to nothing, but all of it.
const TINY: [&str; 6] = ["--seconds", "0.01", "--page-size", "1M", "--ring-size", "3"];

/// Measures with `--json` and `--report`, and looks at what both say.
fn measure(what: &str, more: &[&str]) -> Value {
    let place = Place::new();
    let (dir, stem) = (place.join("dir"), place.join("result"));
    std::fs::create_dir(&dir).unwrap();
    let mut command = waldo();
    command.arg(what).args(TINY).args(more).arg("--json");
    let done = run(command.arg("--dir").arg(&dir).arg("--report").arg(&stem), b"");
    assert_eq!(done.code, 0, "{what}: {}", done.stderr);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "{what} leaves something behind");

    let printed: Value = serde_json::from_slice(&done.stdout).unwrap();
    let json = std::fs::read_to_string(place.join("result.json")).unwrap();
    let written: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(printed, written, "{what}");
    assert!(printed["command"].as_str().unwrap().starts_with(&format!("waldo-suite {what} --seconds 0.01")));
    assert!(printed["machine"]["cores"].as_u64().unwrap() > 0);
    for row in printed["data"]["rows"].as_array().unwrap() {
        assert!(row["ours"].as_f64().is_some(), "{what}: {row}");
    }

    let html = std::fs::read_to_string(place.join("result.html")).unwrap();
    assert!(html.contains("<svg") && html.trim_end().ends_with("</html>"), "{what}");
    for text in [&html, &json] {
        assert!(!text.contains("NaN"), "{what} holds a figure that is none");
    }
    printed
}

fn rows(result: &Value) -> Vec<&str> {
    result["data"]["rows"].as_array().unwrap().iter().map(|row| row["topic"].as_str().unwrap()).collect()
}

#[test]
fn writing_is_measured_in_every_regime() {
    let result = measure("write", &["--producers", "4", "--depth", "4"]);
    for topic in [
        "lone",
        "batch",
        "lone, durable",
        "batch, durable",
        "group",
        "rotation",
        "first lap",
        "sustained",
        "recycling",
    ] {
        assert!(rows(&result).contains(&topic), "{topic}");
    }
    assert_eq!(result["plots"].as_array().unwrap().len(), 5);
}

#[test]
fn reading_is_measured() {
    // One after the other, so that it shows which of them does not end, should one not.
    for (regime, count) in [("seek", 4), ("scan", 12), ("streams", 1), ("memory", 3)] {
        let result = measure("read", &["--size", "64,1000", "--regime", regime]);
        assert_eq!(rows(&result).iter().filter(|topic| **topic == regime).count(), count, "{regime}");
    }
}

#[test]
fn latency_is_measured_for_readers_that_spin_and_that_sleep() {
    let result = measure("latency", &["--rate", "500,5000"]);
    assert_eq!(rows(&result).len(), 4);
    assert_eq!(result["plots"][0]["series"].as_array().unwrap().len(), 4);
    assert!(result["notes"].to_string().contains("coordinated omission"));
}

#[test]
fn opening_is_measured_for_each_size() {
    let result = measure("open", &["--size", "3M,6M"]);
    assert_eq!(rows(&result).len(), 6);
    assert_eq!(result["plots"][0]["series"][0]["points"].as_array().unwrap().len(), 2);
}

#[test]
fn producers_are_measured_by_every_way_beside_the_others() {
    let result = measure("producers", &["--producers", "1,3", "--batch", "10"]);
    for acks in ["committed", "durable"] {
        // Socket and lane beside embedding, and the one beside the other.
        assert_eq!(rows(&result).iter().filter(|topic| **topic == acks).count(), 6, "{acks}");
    }
    let text = result["tables"].to_string();
    for row in ["3 producers, socket", "3 producers, lane", "3 producers, embedded"] {
        assert!(text.contains(row), "{row} is missing in {text}");
    }
    let alone = measure("producers", &["--producers", "2", "--transport", "lane", "--acks", "committed"]);
    assert_eq!(rows(&alone), ["committed"]);
}

#[test]
fn one_regime_is_printed_as_a_table_with_its_verdict() {
    let place = Place::new();
    let mut command = waldo();
    command.args(["write", "--regime", "lone", "--size", "100"]).args(TINY);
    let done = run(command.arg("--dir").arg(place.path()), b"");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let text = done.text();
    for word in ["file system", "Writer::append_payloads, 100 B", "floor", "ratio", "<= 1.50 x", "Goals met"]
    {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    assert!(!text.contains("rotation"));
}

#[test]
fn readers_that_are_stopped_keep_pages_from_being_recycled() {
    let more = ["--regime", "recycling", "--readers", "0,6", "--stopped", "3", "--page-every", "30ms"];
    let result = measure("write", &more);
    let rows = result["data"]["rows"].as_array().unwrap();
    let found = |name: &str| {
        let row = rows.iter().find(|row| row["row"] == name);
        row.unwrap_or_else(|| panic!("no row {name}"))["ours"].as_f64().unwrap()
    };
    assert_eq!(found("0 readers: pages recycled"), 1.0);
    let stuck = found("6 readers, 3 stopped for good: pages stuck at the end, 64 counted at most");
    assert!((1.0..=6.0).contains(&stuck), "{stuck}: each of the three keeps what it maps");
}

#[test]
fn nonsense_is_told_before_anything_is_measured() {
    let place = Place::new();
    let dir = place.path().to_str().unwrap();
    let missing = place.join("missing");
    let missing = missing.to_str().unwrap();
    let stem = format!("{missing}/stem");
    for (code, says, args) in [
        (2, "seconds", &["write", "--seconds", "0"][..]),
        (2, "seconds", &["write", "--seconds", "NaN"]),
        (2, "--regime", &["write", "--regime", "everything"]),
        (2, "--batch", &["write", "--batch", "1G"]),
        (2, "--batch", &["write", "--batch", "10"]),
        (2, "--size", &["write", "--size", "0"]),
        (2, "--readers", &["write", "--readers", "many"]),
        (2, "--page-every", &["write", "--page-every", "5"]),
        (2, "--size", &["read", "--size", "1G"]),
        (2, "--size", &["latency", "--size", "7"]),
        (2, "--rate", &["latency", "--rate", "0"]),
        (2, "--size", &["open", "--size", "1M"]),
        (2, "--page-size", &["open", "--page-size", "1000"]),
        (2, "--ring-size", &["read", "--ring-size", "0"]),
        (1, "--dir", &["read", "--dir", missing]),
        (1, "--dir", &["read", "--dir", dir, "--page-size", "2G", "--ring-size", "60000"]),
        (1, "another place", &["open", "--report", &stem]),
        (2, "--help", &[]),
    ] {
        let done = run(waldo().args(args), b"");
        assert_eq!(done.code, code, "{args:?}: {}", done.stderr);
        assert!(done.stderr.contains(says), "{args:?}: {}", done.stderr);
        assert!(done.stdout.is_empty());
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

/// The link file of a ring somewhere below `dir`, if there is one by now.
fn link(dir: &Path) -> Option<PathBuf> {
    std::fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.ends_with("control.link") { Some(path) } else { link(&path) }
    })
}

#[test]
fn an_interrupted_measurement_leaves_nothing() {
    for (what, signal) in [
        ("write", Signal::SIGINT),
        ("read", Signal::SIGTERM),
        ("latency", Signal::SIGINT),
        ("open", Signal::SIGINT),
    ] {
        let place = Place::new();
        let mut command = waldo();
        command.args([what, "--seconds", "600", "--page-size", "1M", "--dir"]).arg(place.path());
        let mut process = Process::start(&mut command);
        let control = until("there is a ring", || {
            let text = std::fs::read_to_string(link(place.path())?).ok()?;
            text.lines().find_map(|line| line.strip_prefix("path ")).map(PathBuf::from)
        });
        process.signal(signal);
        let done = process.wait();
        assert_eq!(done.code, 128 + signal as i32, "{what}: {}", done.stderr);
        assert!(done.stdout.is_empty());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "{what}");
        assert!(!control.ancestors().nth(2).unwrap().exists(), "{what} leaves {}", control.display());
        assert!(processes_with(place.path()).is_empty(), "{what}");
    }
}

#[test]
fn help_teaches() {
    for what in ["write", "read", "latency", "open", "fanout"] {
        let done = run(waldo().args([what, "--help"]), b"");
        assert_eq!(done.code, 0);
        assert!(done.text().contains("Example"), "{what} --help has no example");
    }
}
