//! The file systems that it all happens on. Everything is mounted in a namespace of its own.

use crate::machine::{FileSystem, Machine};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    Tmpfs,
    Ext4,
    Xfs,
    Overlay,
}

impl Ground {
    pub const ALL: [Ground; 4] = [Ground::Tmpfs, Ground::Ext4, Ground::Xfs, Ground::Overlay];

    pub fn name(self) -> &'static str {
        match self {
            Ground::Tmpfs => "tmpfs",
            Ground::Ext4 => "ext4",
            Ground::Xfs => "xfs",
            Ground::Overlay => "overlayfs",
        }
    }
}

/// A directory on such a file system. All of it goes with the last process that uses it.
pub struct Place {
    top: PathBuf,
    other: PathBuf,
    _machine: Machine,
}

impl Place {
    /// # Errors
    /// Why there is none here, for the log.
    pub fn new(ground: Ground) -> Result<Place, String> {
        let file_system = if ground == Ground::Xfs { FileSystem::Xfs } else { FileSystem::Ext4 };
        let mut machine = Machine::new(file_system)?;
        machine.mount("defaults")?;
        let tmpfs = machine.tmpfs();
        let other = tmpfs.join("other");
        std::fs::create_dir(&other).map_err(|error| error.to_string())?;
        let top = match ground {
            Ground::Ext4 | Ground::Xfs => machine.top(),
            Ground::Tmpfs => {
                let top = tmpfs.join("rings");
                std::fs::create_dir(&top).map_err(|error| error.to_string())?;
                top
            }
            Ground::Overlay => overlay(&machine.top(), &tmpfs)?,
        };
        Ok(Place { top, other, _machine: machine })
    }

    pub fn top(&self) -> &Path {
        &self.top
    }

    /// A directory on a tmpfs that is not /dev/shm.
    pub fn other(&self) -> &Path {
        &self.other
    }
}

/// What a container without a volume has: an upper directory on a file system with leases.
fn overlay(upper: &Path, tmpfs: &Path) -> Result<PathBuf, String> {
    let dirs = [tmpfs.join("lower"), upper.join("upper"), upper.join("work"), tmpfs.join("merged")];
    for dir in &dirs {
        std::fs::create_dir(dir).map_err(|error| error.to_string())?;
    }
    let [lower, upper, work, merged] = dirs;
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let mut mount = Command::new("mount");
    mount.args(["-t", "overlay", "-o", &options, "overlay"]).arg(&merged);
    let output = mount.output().map_err(|error| format!("mount: {error}"))?;
    match output.status.success() {
        true => Ok(merged),
        false => Err(format!("no overlay: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
