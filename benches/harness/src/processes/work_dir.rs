//! The working directory of a command with a crowd: removed when the command ends, whatever happens.

use anyhow::{Context, bail};
use nix::fcntl::OFlag;
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::Mode;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use waldo::protocol::link::Link;
use waldo::protocol::names;

/// A directory for the event log and the ring, removed when this is dropped.
pub struct WorkDir {
    dir: TempDir,
    home: PathBuf,
    kept: bool,
}

impl WorkDir {
    /// Makes the directory, with a name that begins with `prefix`. With `keep` the ring is made there
    /// instead, and stays.
    pub fn new(prefix: &str, keep: Option<&Path>) -> anyhow::Result<WorkDir> {
        let dir = temporary(prefix, None)?;
        let home = match keep {
            None => dir.path().join("ring"),
            Some(path) => {
                std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
                if path
                    .read_dir()
                    .with_context(|| format!("cannot list {}", path.display()))?
                    .next()
                    .is_some()
                {
                    bail!("{} is not empty: --keep takes a new or an empty directory", path.display());
                }
                std::path::absolute(path)?
            }
        };
        Ok(WorkDir { dir, home, kept: keep.is_some() })
    }

    /// Makes the directory inside `place` (the temporary directory if it is `None`), with the ring in it.
    pub fn new_in(prefix: &str, place: Option<&Path>) -> anyhow::Result<WorkDir> {
        let dir = temporary(prefix, place)?;
        let home = dir.path().join("ring");
        Ok(WorkDir { dir, home, kept: false })
    }

    /// The directory of the ring.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Whether the ring stays.
    pub fn kept(&self) -> bool {
        self.kept
    }

    /// An existing directory on the file system that the ring will be on.
    pub fn place(&self) -> &Path {
        if self.kept { &self.home } else { self.dir.path() }
    }

    /// The file of the event log.
    pub fn board(&self) -> PathBuf {
        self.dir.path().join("board")
    }
}

fn temporary(prefix: &str, place: Option<&Path>) -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(prefix);
    match place {
        None => builder.tempdir().context("cannot make a temporary directory (TMPDIR names where)"),
        Some(place) => builder
            .tempdir_in(std::path::absolute(place)?)
            .with_context(|| format!("cannot make a directory in {}", place.display())),
    }
}

impl Drop for WorkDir {
    /// Removes what a writer that was killed has left in shared memory; the directory removes itself.
    fn drop(&mut self) {
        let Ok(content) = std::fs::read(self.home.join(names::LINK)) else { return };
        if let Ok(Link::Posix(name)) = Link::parse(&content)
            && shm_open(name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).is_ok()
        {
            // If this fails, there is nothing else that could be done.
            let _ = shm_unlink(name.as_str());
        }
    }
}
