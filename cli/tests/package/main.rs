//! The package in a clean root, as somebody meets it who has just installed it: the unit's command is killed
//! and started again while producers append and readers follow, all of them with the command `waldo`.
//!
//! `cargo test` lays out the programs that have just been built, by the package's own list of files. The long
//! run takes the package itself:
//! `WALDO_PACKAGE=FILE.deb cargo test --package waldo-cli --test package -- --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test, helpers included, fails by panicking")]

mod clean_root;
mod followers;
mod layout;
mod producers;
mod scenario;
mod service;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Names the directory that a test inside the namespaces works in.
const PLACE: &str = "WALDO_TEST_PACKAGE_PLACE";

/// How long anything may take before the test counts as failed. Never part of what is asserted.
const DEADLINE: Duration = Duration::from_secs(120);

/// Looks until `condition` holds; panics at the deadline.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        // Between two looks only: nothing depends on its length.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The package that the long run takes.
fn package() -> Option<PathBuf> {
    let named = std::env::var_os("WALDO_PACKAGE")?;
    // Cargo runs a test in the directory of its crate.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join(named);
    assert!(path.is_file(), "WALDO_PACKAGE: there is no {}", path.display());
    Some(path)
}

/// Why the test cannot run here.
fn missing() -> Option<String> {
    if package().is_none() {
        let service = layout::program("waldo-service");
        if !service.is_file() {
            return Some(format!(
                "{} is not there, `cargo build -p waldo-service` builds it",
                service.display()
            ));
        }
    }
    let tried = Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => None,
        _ => Some("no namespaces here (not root?)".to_owned()),
    }
}

/// Everything lives in namespaces of its own and goes with their first process: processes, mounts, shared
/// memory. That one goes with this one.
#[test]
fn everybody_goes_on_while_the_installed_service_is_killed_again_and_again() {
    if let Some(reason) = missing() {
        println!("left out: {reason}");
        return;
    }
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_service_is_killed_inside", "--ignored", "--nocapture"])
        .env(PLACE, place.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains(scenario::DONE), "see above");
}

#[test]
#[ignore = "the test above runs it in namespaces of its own"]
fn the_service_is_killed_inside() {
    if let Some(place) = std::env::var_os(PLACE) {
        scenario::run(Path::new(&place));
    }
}
