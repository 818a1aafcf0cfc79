//! Proof that no other process has a file: before the writer relies on write leases, it tests that they prove
//! this.

use super::directory::Directory;
use super::file_rights::FileRights;
use super::lease::Lease;
use memmap2::MmapOptions;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a write lease proves, on the file system of this directory, that no other process has a file. On
/// overlayfs it does not: a mapping there is of the file in the layer below, which the lease does not cover.
/// Tested once.
#[derive(Debug)]
pub(super) struct LeaseProof {
    dir: Directory,
    holds: OnceLock<bool>,
    failed: AtomicBool,
}

impl LeaseProof {
    pub(super) fn new(dir: Directory) -> LeaseProof {
        LeaseProof { dir, holds: OnceLock::new(), failed: AtomicBool::new(false) }
    }

    pub(super) fn holds_here(&self) -> bool {
        if let Some(holds) = self.holds.get() {
            return *holds;
        }
        let home = self.dir.home().display();
        match self.attempt() {
            Ok(holds) => {
                if !holds && self.holds.set(false).is_ok() {
                    tracing::warn!(
                        "{home}: on this file system nothing proves that nobody has a file mapped, so pages are made anew \
                         instead of being used again; a volume of ext4 or XFS is faster"
                    );
                }
                *self.holds.get_or_init(|| holds)
            }
            // Say because the disk is full; the next time may be better.
            Err(error) => {
                if !self.failed.swap(true, Ordering::Relaxed) {
                    tracing::warn!("{home}: cannot try whether files can be proven unshared: {error}");
                }
                false
            }
        }
    }

    /// Maps a file, closes what it was mapped through, and asks for the lease: it must be refused; and
    /// granted once the mapping is gone.
    fn attempt(&self) -> io::Result<bool> {
        let name = format!("{}lease", waldo_shm_protocol::names::SCRATCH_PREFIX);
        let _ = self.dir.remove(&name);
        let file = self.dir.create(&name, FileRights::PRIVATE)?;
        let attempt = || -> io::Result<bool> {
            let reader = self.dir.open_to_read(&name)?;
            // Nothing is ever read there: the file is empty.
            let map = MmapOptions::new().len(4096).map_raw_read_only(&reader)?;
            drop(reader);
            let refused = Lease::take(&file)?.is_none();
            drop(map);
            Ok(refused && Lease::take(&file)?.is_some())
        };
        let outcome = attempt();
        self.dir.remove(&name)?;
        outcome
    }
}

/// Whether the file has another name than the one that the writer knows, as in a backup made of hard links.
pub(super) fn has_other_names(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() > 1)
}
