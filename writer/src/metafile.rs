//! The open `ring.meta`.

use crate::disk::{Disk, DiskFile, FileRights};
use crate::error::OpenError;
use std::io;
use std::sync::Arc;
use waldo_shm_protocol::meta::{META_LEN, Meta};
use waldo_shm_protocol::names;

/// The file and what its newest slot says.
pub(crate) struct MetaFile {
    file: Arc<dyn DiskFile>,
    pub(crate) meta: Meta,
}

impl MetaFile {
    /// Makes the file of a new ring, durably: first under another name, so that no process sees half a file.
    pub(crate) fn create(disk: &dyn Disk, rights: FileRights, meta: Meta) -> Result<MetaFile, OpenError> {
        let scratch = format!("{}meta", names::SCRATCH_PREFIX);
        let make = || -> io::Result<Arc<dyn DiskFile>> {
            let file = disk.create(&scratch, rights)?;
            let mut content = [0; META_LEN];
            for counter in [meta.counter, meta.counter + 1] {
                let (at, slot) = Meta { counter, ..meta }.encode();
                content[at as usize..at as usize + slot.len()].copy_from_slice(&slot);
            }
            file.write_all_at(&content, 0)?;
            file.sync_data()?;
            disk.rename(&scratch, names::META)?;
            disk.sync_dir()?;
            Ok(file)
        };
        let file = make().map_err(OpenError::io("create", disk.path(names::META)))?;
        Ok(MetaFile { file, meta: Meta { counter: meta.counter + 1, ..meta } })
    }

    /// Opens the file; `None` if there is none.
    pub(crate) fn open(disk: &dyn Disk) -> Result<Option<MetaFile>, OpenError> {
        let path = disk.path(names::META);
        let file = match disk.open(names::META) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::Io { action: "open", path, source: error }),
        };
        // One byte more than there should be, so that a longer file is noticed.
        let mut content = vec![0; META_LEN + 1];
        let len = file.read_up_to(&mut content, 0).map_err(OpenError::io("read", &path))?;
        let meta = Meta::check(&content[..len]).map_err(|fault| OpenError::Meta { path, fault })?;
        Ok(Some(MetaFile { file, meta }))
    }

    /// Writes a changed version durably, into the slot that does not hold the current one.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Meta)) -> io::Result<()> {
        let mut next = self.meta;
        change(&mut next);
        next.counter = self.meta.counter + 1;
        let (at, slot) = next.encode();
        self.file.write_all_at(&slot, at)?;
        self.file.sync_data()?;
        self.meta = next;
        Ok(())
    }
}
