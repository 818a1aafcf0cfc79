//! Temporary files: gone after success, failure, panic and Ctrl-C.

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const SHM: &str = "/dev/shm";

/// A directory on the file system that is measured and one for control segments. The segments are named by path,
/// not as POSIX objects: it is the same tmpfs, and everything goes with one directory.
pub struct Scratch {
    disk: TempDir,
    shm: TempDir,
}

impl Scratch {
    pub fn make(dir: Option<&Path>) -> anyhow::Result<Scratch> {
        let below_target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None if below_target.is_dir() => below_target.to_owned(),
            None => std::env::temp_dir(),
        };
        let make = |place: &Path| {
            let made = tempfile::Builder::new().prefix("waldo-bench-").tempdir_in(place);
            made.with_context(|| format!("cannot make a directory in {}", place.display()))
        };
        let disk = make(&std::path::absolute(dir)?)?;
        let shm = if Path::new(SHM).is_dir() { make(Path::new(SHM))? } else { make(disk.path())? };
        let scratch = Scratch { disk, shm };
        scratch.clean_up_when_interrupted()?;
        Ok(scratch)
    }

    fn clean_up_when_interrupted(&self) -> anyhow::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot handle signals")?;
        let paths = [self.disk.path().to_owned(), self.shm.path().to_owned()];
        std::thread::spawn(move || {
            let Some(signal) = signals.forever().next() else { return };
            for path in paths {
                // Another thread may be making files there at this moment.
                for _ in 0..100 {
                    let _ = std::fs::remove_dir_all(&path);
                    if !path.exists() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            std::process::exit(128 + signal);
        });
        Ok(())
    }

    /// The directory on the file system that is measured.
    pub fn path(&self) -> &Path {
        self.disk.path()
    }

    /// Room for one ring and one floor.
    pub fn area(&self) -> anyhow::Result<Area> {
        let area = Area {
            disk: tempfile::tempdir_in(self.disk.path())?,
            shm: tempfile::tempdir_in(self.shm.path())?,
        };
        std::fs::create_dir(area.floor())?;
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
    pub fn board(&self) -> PathBuf {
        self.shm.path().join("board")
    }
}
