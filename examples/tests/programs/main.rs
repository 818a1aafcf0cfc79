//! The examples, run as a user runs them.

#![allow(clippy::unwrap_used, reason = "tests: what goes wrong fails the test")]

mod market_data;
mod place;
mod program;
mod ring_log;
mod to_sqlite;
mod write_ahead_log;

use program::program;

#[test]
fn each_says_how_it_is_used_and_what_is_wrong() {
    for name in ["write_ahead_log", "market_data", "ring_log", "to_sqlite"] {
        let help = program(name).arg("--help").output().unwrap();
        assert!(help.status.success(), "{name}");
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(text.contains("Example:") && text.contains("Exit codes:"), "{name}: {text}");
        let bare = program(name).output().unwrap();
        assert_eq!(bare.status.code(), Some(2), "{name}");
    }
    let dir = place::Place::new();
    let [missing, file] = ["missing", "file"].map(|name| dir.path(name));
    for (name, args) in [
        ("write_ahead_log", vec!["replica".as_ref(), missing.as_os_str(), file.as_os_str()]),
        ("market_data", vec!["subscribe".as_ref(), missing.as_os_str()]),
        ("to_sqlite", vec![missing.as_os_str(), file.as_os_str()]),
    ] {
        let output = program(name).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("error: ") && text.contains("missing: no ring here"), "{name}: {text}");
    }
}
