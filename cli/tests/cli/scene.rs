//! Rings, and a place of their own for what readers report.

use crate::support::*;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A place for rings, and one for the files of their readers.
pub struct Scene {
    pub place: Place,
    pub readers: PathBuf,
}

impl Scene {
    pub fn new() -> Scene {
        let place = Place::new();
        let readers = place.join("readers");
        std::fs::create_dir(&readers).unwrap();
        Scene { place, readers }
    }

    /// The command, which has readers report there.
    pub fn waldo(&self) -> Command {
        let mut command = waldo();
        command.env("WALDO_READERS", &self.readers);
        command
    }

    /// Somebody who follows the ring and is seen.
    pub fn follower(&self, home: &Path, name: &str) -> Process {
        Process::start(self.waldo().args(["tail", "-f", "--from", "oldest", "--name", name]).arg(home))
    }

    /// The rows of `lag`.
    pub fn rows(&self, home: &Path) -> Vec<Value> {
        let done = run(self.waldo().args(["lag", "--json"]).arg(home), b"");
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until the one row has this in it.
    pub fn until_row(&self, home: &Path, field: &str, value: Value) -> Value {
        until("the reader is where it should be", || {
            let rows = self.rows(home);
            assert!(rows.len() <= 1, "{rows:?}");
            rows.into_iter().find(|row| row[field] == value)
        })
    }
}
