//! Temporary rings: gone after success, failure and Ctrl-C.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use waldo_terminal::units;

const SHM: &str = "/dev/shm";

/// A directory on the file system that is measured and one for control segments. The segments are named by
/// path, not as POSIX objects: it is the same tmpfs, and everything goes with one directory.
pub struct Scratch {
    disk: TempDir,
    shm: TempDir,
}

impl Scratch {
    /// Makes both. Fails if `dir` is no directory to write to, or has no room for `bytes`.
    pub fn make(dir: &Path, bytes: u64) -> anyhow::Result<Scratch> {
        let dir = std::path::absolute(dir)?;
        let make = |place: &Path| {
            let made = tempfile::Builder::new().prefix("waldo-bench-").tempdir_in(place);
            made.with_context(|| {
                format!(
                    "cannot make a directory in {}: name one that exists and may be written with --dir",
                    place.display()
                )
            })
        };
        let disk = make(&dir)?;
        let room = nix::sys::statvfs::statvfs(disk.path())
            .with_context(|| format!("cannot see how much room {} has", dir.display()))?;
        let room = room.blocks_available() * room.fragment_size();
        if room < bytes {
            bail!(
                "{} has {} left and this takes {}: name another place with --dir, or less with --page-size, \
                 --ring-size or --size",
                dir.display(),
                units::bytes(room),
                units::bytes(bytes)
            );
        }
        let shm = if Path::new(SHM).is_dir() { make(Path::new(SHM))? } else { make(disk.path())? };
        Ok(Scratch { disk, shm })
    }

    /// Room for one ring and one floor.
    pub fn area(&self) -> anyhow::Result<Area> {
        let make = |dir: &TempDir| {
            tempfile::tempdir_in(dir.path())
                .with_context(|| format!("cannot make a directory in {}", dir.path().display()))
        };
        let area = Area { disk: make(&self.disk)?, shm: make(&self.shm)? };
        std::fs::create_dir(area.floor()).context("cannot make a directory for the floor's files")?;
        Ok(area)
    }
}

/// Where one ring and its floor live.
pub struct Area {
    disk: TempDir,
    shm: TempDir,
}

impl Area {
    pub fn home(&self) -> PathBuf {
        self.disk.path().join("ring")
    }

    pub fn floor(&self) -> PathBuf {
        self.disk.path().join("floor")
    }

    pub fn control(&self) -> PathBuf {
        self.shm.path().join("control")
    }

    /// A file that two processes map.
    pub fn slate(&self) -> PathBuf {
        self.shm.path().join("slate")
    }
}
