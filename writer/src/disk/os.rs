//! The real file system.

#![allow(unsafe_code, reason = "system calls without safe wrappers: pwritev2, cachestat")]

use super::directory::Directory;
use super::lease::Lease;
use super::proof::{LeaseProof, has_other_names};
use super::{Allocation, Disk, DiskFile, FileRights, file_length};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// A directory of the operating system. The directory is held open, and every operation is relative to it:
/// after a rename, operations continue in the renamed directory, and never touch what is now at the old path.
#[derive(Debug)]
pub struct OsDisk {
    dir: Directory,
    proof: Arc<LeaseProof>,
}

impl OsDisk {
    /// Opens the directory `home`.
    pub fn open(home: &Path) -> io::Result<OsDisk> {
        let dir = Directory::open(home)?;
        let proof = Arc::new(LeaseProof::new(dir.clone()));
        Ok(OsDisk { dir, proof })
    }

    fn file(&self, file: File) -> Arc<dyn DiskFile> {
        Arc::new(OsFile { file, dsync: AtomicBool::new(true), proof: Arc::clone(&self.proof) })
    }
}

impl Disk for OsDisk {
    fn create(&self, name: &str, rights: FileRights) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.dir.create(name, rights)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.dir.open_file(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.dir.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.dir.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.dir.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.dir.sync()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path(name)
    }

    fn directory(&self) -> Option<BorrowedFd<'_>> {
        Some(self.dir.as_fd())
    }

    fn can_prove_unshared(&self) -> bool {
        self.proof.holds_here()
    }
}

#[derive(Debug)]
struct OsFile {
    file: File,
    /// Whether `pwritev2` knows RWF_DSYNC here; some file systems do not.
    dsync: AtomicBool,
    proof: Arc<LeaseProof>,
}

impl DiskFile for OsFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file_length::block_signal();
        self.file.write_at(bytes, offset)
    }

    fn write_parts_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        file_length::block_signal();
        let offset = file_offset(offset)?;
        Ok(nix::sys::uio::pwritev(&self.file, parts, offset)?)
    }

    fn write_durable_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file_length::block_signal();
        if self.dsync.load(Ordering::Relaxed) {
            let iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            let offset = file_offset(offset)?;
            // SAFETY: `iov` describes `bytes`, which the kernel only reads and which lives through the call.
            let n = unsafe { libc::pwritev2(self.file.as_raw_fd(), &iov, 1, offset, libc::RWF_DSYNC) };
            match usize::try_from(n) {
                Ok(n) => return Ok(n),
                Err(_) => match io::Error::last_os_error() {
                    error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                        self.dsync.store(false, Ordering::Relaxed);
                    }
                    error => return Err(error),
                },
            }
        }
        let n = self.file.write_at(bytes, offset)?;
        self.file.sync_data()?;
        Ok(n)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<Allocation> {
        let found = self.file.metadata()?;
        if found.len() >= len && found.blocks() * 512 >= found.len() {
            return Ok(Allocation::Reserved);
        }
        file_length::block_signal();
        let bytes = file_offset(len)?;
        match fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::EOPNOTSUPP) => {
                self.file.set_len(len)?;
                Ok(Allocation::LengthOnly)
            }
            other => {
                other?;
                Ok(Allocation::Reserved)
            }
        }
    }

    fn has_rights(&self, rights: FileRights) -> io::Result<bool> {
        Ok(rights.are_of(&self.file.metadata()?))
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn next_written(&self, offset: u64) -> io::Result<u64> {
        match lseek(&self.file, file_offset(offset)?, Whence::SeekData) {
            // Nothing up to the end.
            Err(Errno::ENXIO) => self.size(),
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(offset),
            found => Ok(u64::try_from(found?).unwrap_or(offset)),
        }
    }

    fn next_unwritten(&self, offset: u64) -> io::Result<u64> {
        match lseek(&self.file, file_offset(offset)?, Whence::SeekHole) {
            Err(Errno::ENXIO | Errno::EINVAL | Errno::EOPNOTSUPP) => self.size(),
            found => Ok(u64::try_from(found?).unwrap_or(offset)),
        }
    }

    fn cached(&self, offset: u64, len: u64) -> io::Result<bool> {
        let range = CacheRange { offset, len };
        let mut found = CacheStat::default();
        // SAFETY: both structures have the layout of the kernel's and live through the call, which writes the
        // second.
        let outcome = unsafe {
            libc::syscall(SYS_CACHESTAT, self.file.as_raw_fd(), &raw const range, &raw mut found, 0u32)
        };
        if outcome == 0 {
            let page = memory_page();
            return Ok(found.cached >= (offset + len).div_ceil(page) - offset / page);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // Before Linux 6.5, filtered out, or a file system that has none.
            Some(libc::ENOSYS | libc::EPERM | libc::EOPNOTSUPP) => Ok(true),
            _ => Err(error),
        }
    }

    fn if_unshared(&self, action: &mut dyn FnMut() -> io::Result<()>) -> io::Result<bool> {
        if !self.proof.holds_here() {
            return Ok(false);
        }
        let Some(lease) = Lease::take(&self.file)? else { return Ok(false) };
        if has_other_names(&self.file)? {
            return Ok(false);
        }
        action()?;
        // The kernel breaks the lease of a process that does not answer for too long, say because it was
        // stopped: then another process may have opened the file before the action was done.
        Ok(lease.is_whole() && !has_other_names(&self.file)?)
    }

    fn fd(&self) -> Option<RawFd> {
        Some(self.file.as_raw_fd())
    }
}

fn file_offset(offset: u64) -> io::Result<libc::off_t> {
    Ok(libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?)
}

/// The same number on every architecture.
const SYS_CACHESTAT: libc::c_long = 451;

/// Bytes of a page of memory, the unit that the kernel counts in.
fn memory_page() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
        bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0).unwrap_or(4096)
    })
}

/// The kernel's `struct cachestat_range`.
#[repr(C)]
struct CacheRange {
    offset: u64,
    len: u64,
}

/// The kernel's `struct cachestat`, in pages.
#[repr(C)]
#[derive(Default)]
struct CacheStat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}
