//! The directories of one round, which are always removed.

use anyhow::Context;
use std::fs;
use std::path::Path;
use tempfile::{Builder, TempDir};

const SHM: &str = "/dev/shm";

/// Removed, with all they hold, when dropped.
pub struct Scratch {
    /// For what is persisted.
    pub data: TempDir,
    /// For sockets and notes. The path is short: a socket's may have 107 bytes.
    pub run: TempDir,
    /// On the shared-memory file system.
    pub shm: TempDir,
    /// Shared-memory objects whose names start with this are removed, too.
    pub prefix: String,
}

impl Scratch {
    /// Makes the folders.
    pub fn new(dir: Option<&Path>) -> anyhow::Result<Scratch> {
        let temp = std::env::temp_dir();
        let dir = dir.unwrap_or(&temp);
        let make = |inside: &Path| {
            Builder::new().prefix("waldo-cmp-").tempdir_in(inside).with_context(|| {
                format!("cannot make a folder in {}: name one that can be written to", inside.display())
            })
        };
        let data = make(dir)?;
        let run = make(Path::new("/tmp"))?;
        let shm = make(Path::new(SHM))?;
        let name = shm.path().file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!("{name}_");
        Ok(Scratch { data, run, shm, prefix })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // iceoryx2's objects are not in a folder. What cannot be removed cannot be helped either.
        for entry in fs::read_dir(SHM).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&self.prefix) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
