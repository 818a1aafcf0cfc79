//! The whole program, small: real processes, every system that this machine has.

#![allow(clippy::unwrap_used, reason = "tests: what is not there fails the test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn compare(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_waldo-compare"))
        .args(["--dir", dir.to_str().unwrap(), "--patience", "30"])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Two subscribers get every record through each of `systems`.
fn delivers(systems: &str) {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("out.json");
    let arguments = ["--subscribers", "2", "--records", "500", "--rate", "1000", "--seconds", "0.05"];
    let more = ["--only", systems, "--json", json.to_str().unwrap()];
    let output = compare(dir.path(), &[arguments.as_slice(), more.as_slice()].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), systems.split(',').count());
    for run in runs {
        assert_eq!(run["stopped"], serde_json::Value::Null, "{run:#}");
        assert_eq!(run["flood"]["records"], 500.0, "{run:#}");
        for phase in ["paced", "flood"] {
            assert_eq!(run[phase]["lost"], 0.0, "{run:#}");
            assert_eq!(run[phase]["bad"], 0.0, "{run:#}");
            assert!(run[phase]["delivered_per_s"].as_f64().unwrap() > 0.0, "{run:#}");
        }
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["out.json"]);
}

#[test]
fn waldo_and_sockets_deliver_everything() {
    delivers("waldo,unix");
}

#[test]
#[cfg(feature = "lmdb")]
fn lmdb_delivers_everything() {
    delivers("lmdb");
}

#[test]
#[cfg(feature = "iceoryx2")]
fn iceoryx2_delivers_everything() {
    delivers("iceoryx2");
}

#[test]
#[cfg(feature = "redis")]
fn redis_delivers_everything_or_the_table_says_how_to_install_it() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| dir.join("redis-server").is_file()) {
        return delivers("redis,redis-aof");
    }
    let dir = tempfile::tempdir().unwrap();
    let output =
        compare(dir.path(), &["--subscribers", "1", "--records", "10", "--rate", "0", "--only", "redis"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("apt-get install redis-server"), "{}", text(&output.stdout));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let output = compare(Path::new("/no/such/folder"), &["--subscribers", "1", "--only", "unix"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/no/such/folder"), "{}", text(&output.stderr));
}
