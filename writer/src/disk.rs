//! The one seam between the writer and the file system: everything that touches a page file or the home
//! directory goes through [`Disk`] and [`DiskFile`], so that a simulated disk can stand in.

mod descriptors;
mod directory;
#[cfg(test)]
pub(crate) mod faulty;
pub(crate) mod file_length;
mod file_rights;
mod fs_kind;
mod lease;
mod os;
mod proof;
#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;

pub(crate) use descriptors::with_room;
pub(crate) use directory::{Directory, Object, is_leased, object_of};
pub use file_rights::FileRights;
pub(crate) use fs_kind::check_file_system;
pub(crate) use lease::nobody_else_has;
pub use os::OsDisk;

use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

/// A home directory. Names are plain file names in it.
pub trait Disk: Send + Sync + 'static {
    /// Makes a new file with these rights, as far as this process may give them, and opens it for reading and
    /// writing. Fails if the name is taken.
    fn create(&self, name: &str, rights: FileRights) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a regular file for reading and writing. Symbolic links are refused.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file, replacing the target.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a file's name away.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// The names in the directory, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes every name change so far durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// The full path of a name, for messages only: the directory may have been renamed.
    fn path(&self, name: &str) -> PathBuf;
    /// The open directory, where there is one. Lock and link are made in it.
    fn directory(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Whether [`DiskFile::if_unshared`] can ever say yes here: whether this file system can prove that no
    /// other process has a file.
    fn can_prove_unshared(&self) -> bool {
        true
    }
}

/// What [`DiskFile::allocate`] could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Blocks are reserved.
    Reserved,
    /// The file system cannot reserve any: only writing takes room.
    LengthOnly,
}

/// An open file. The writer has exactly one of these per page; with two, the kernel would never grant the
/// lease in [`DiskFile::if_unshared`].
pub trait DiskFile: Send + Sync + 'static {
    /// Writes some of `bytes` at `offset`; returns how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Writes some of what `parts` hold, one behind the other, at `offset`; returns how many bytes. There are
    /// at most 1024 parts.
    fn write_parts_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        match parts.iter().find(|part| !part.is_empty()) {
            Some(part) => self.write_at(part, offset),
            None => Ok(0),
        }
    }
    /// The same as [`DiskFile::write_at`], and what was written is durable when this returns.
    fn write_durable_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Reads some bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes everything written so far durable. After an error nothing is known about any of it.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes the file `len` bytes long and reserves blocks for all of them, so that no write into them lacks
    /// room later. What was never written reads as zeros.
    fn allocate(&self, len: u64) -> io::Result<Allocation>;
    /// Whether the file has the rights that [`Disk::create`] would give it.
    fn has_rights(&self, _rights: FileRights) -> io::Result<bool> {
        Ok(true)
    }
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Where from `offset` on the first byte may be other than zero because something was written there;
    /// `offset` itself where that cannot be told, the file's length if there is no such byte.
    fn next_written(&self, offset: u64) -> io::Result<u64> {
        Ok(offset)
    }
    /// Where from `offset` on the first byte stands that was never written, as far as the file system keeps
    /// account of that; the file's length if there is no such byte or that cannot be told.
    fn next_unwritten(&self, _offset: u64) -> io::Result<u64> {
        self.size()
    }
    /// Whether all of these bytes are in the page cache; `true` where that cannot be told.
    fn cached(&self, _offset: u64, _len: u64) -> io::Result<bool> {
        Ok(true)
    }
    /// Runs `action` while no other process has the file open or mapped, none can open it, and it has no
    /// second name (a hard link). `Ok(true)` says that all of that held until `action` was done. `Ok(false)`
    /// that it did not, or that nothing can be proven here; `action` may have run then, but the file must not
    /// be written to any more. `action` must be short: an open() elsewhere waits for it.
    fn if_unshared(&self, action: &mut dyn FnMut() -> io::Result<()>) -> io::Result<bool>;
    /// The descriptor, for io_uring; `None` where there is no such thing.
    fn fd(&self) -> Option<RawFd>;
}

/// What holds of every file: whole writes and reads out of partial ones.
impl dyn DiskFile {
    /// Writes all of `bytes` at `offset`.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        all(bytes, offset, |rest, at| self.write_at(rest, at))
    }

    /// Writes all that `parts` hold, one after the other, at `offset`. The content of `parts` is undefined
    /// afterwards.
    pub fn write_all_parts_at(&self, mut parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        // Empty parts at the front would look like a write of nothing.
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match self.write_parts_at(parts, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    IoSlice::advance_slices(&mut parts, n);
                    offset += n as u64;
                }
                Err(error) if transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`; durable when it returns.
    pub fn write_all_durable_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        all(bytes, offset, |rest, at| self.write_durable_at(rest, at))
    }

    /// Fills `bytes` from `offset` on as far as the file goes; returns how many bytes that was.
    pub fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match self.read_at(&mut bytes[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

fn all(
    mut rest: &[u8],
    mut at: u64,
    mut write: impl FnMut(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !rest.is_empty() {
        match write(rest, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                rest = &rest[n..];
                at += n as u64;
            }
            Err(error) if transient(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}
