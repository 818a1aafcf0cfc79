//! The real file system.

#![allow(unsafe_code, reason = "system calls without safe wrappers: pwritev2, cachestat, leases")]

use super::directory::Directory;
use super::proof::{LeaseProof, has_other_names};
use super::{Disk, DiskFile, file_length};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// A directory of the operating system. It is held open, and everything is done relative to it: if it is
/// renamed, this goes on where it is now, and never touches what has come in its place.
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
    fn create(&self, name: &str, mode: u32) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.dir.create(name, mode)?))
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
        let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(nix::sys::uio::pwritev(&self.file, parts, offset)?)
    }

    fn write_durable_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file_length::block_signal();
        if self.dsync.load(Ordering::Relaxed) {
            let iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
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

    fn allocate(&self, len: u64) -> io::Result<()> {
        file_length::block_signal();
        let bytes = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        match fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
            // The zeros written next allocate as well.
            Err(nix::errno::Errno::EOPNOTSUPP) => self.file.set_len(len),
            other => Ok(other?),
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
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
        // The kernel takes the lease away from a process that does not answer for too long, say because it
        // was stopped: then somebody may have opened the file before the action was done.
        Ok(lease.is_whole() && !has_other_names(&self.file)?)
    }

    fn fd(&self) -> Option<RawFd> {
        Some(self.file.as_raw_fd())
    }
}

/// Runs `action` while it is certain that no process has `file` open or mapped but through this description,
/// and none can open it; `false` if one has.
pub(crate) fn nobody_else_has(file: &File, action: &mut dyn FnMut()) -> io::Result<bool> {
    let Some(lease) = Lease::take(file)? else { return Ok(false) };
    action();
    drop(lease);
    Ok(true)
}

/// A write lease: while it is held, this is the only open description of the file, nobody maps it, and
/// whoever opens it waits.
pub(super) struct Lease<'a> {
    file: &'a File,
    /// Behind the lease, so that it ends later.
    _quiet: WithoutSigio,
}

impl<'a> Lease<'a> {
    pub(super) fn take(file: &'a File) -> io::Result<Option<Lease<'a>>> {
        let fd = file.as_raw_fd();
        // An open() that runs into the lease sends a signal whose default action would end the process: it
        // goes to this thread, and is blocked here.
        let quiet = WithoutSigio::begin()?;
        // SAFETY: takes no arguments and cannot fail.
        let tid = unsafe { libc::gettid() };
        let owner = FOwnerEx { kind: F_OWNER_TID, pid: tid };
        // SAFETY: `owner` has the layout of the kernel's `struct f_owner_ex` and lives through the call.
        if unsafe { libc::fcntl(fd, F_SETOWN_EX, &raw const owner) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: passes integers only.
        if unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_WRLCK) } == 0 {
            return Ok(Some(Lease { file, _quiet: quiet }));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // Somebody has it open or mapped.
            Some(libc::EAGAIN) => Ok(None),
            // No leases here, or not the owner: nothing can be proven, so nothing is recycled.
            Some(libc::EINVAL | libc::EACCES | libc::EPERM | libc::ENOLCK | libc::EOPNOTSUPP) => Ok(None),
            _ => Err(error),
        }
    }
}

impl Lease<'_> {
    /// Whether nobody has asked for the file since the lease was granted. Somebody who waits for it counts:
    /// the kernel does not say whether it has let them in already.
    fn is_whole(&self) -> bool {
        // SAFETY: passes integers only.
        unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GETLEASE) == libc::F_WRLCK }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // SAFETY: passes integers only. It can fail only where there is no lease to drop.
        unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    }
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

const F_SETOWN_EX: libc::c_int = 15;
const F_OWNER_TID: libc::c_int = 0;

#[repr(C)]
struct FOwnerEx {
    kind: libc::c_int,
    pid: libc::pid_t,
}

/// While this lives SIGIO does not reach the thread. What came meanwhile is taken back, and the thread is as
/// it was.
struct WithoutSigio {
    was_blocked: bool,
}

impl WithoutSigio {
    fn begin() -> io::Result<WithoutSigio> {
        let before = sigio().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(WithoutSigio { was_blocked: before.contains(Signal::SIGIO) })
    }
}

impl Drop for WithoutSigio {
    fn drop(&mut self) {
        if self.was_blocked {
            return;
        }
        let (set, now) = (sigio(), libc::timespec { tv_sec: 0, tv_nsec: 0 });
        // SAFETY: set and time live through the call; nothing is to be known about the signal.
        while unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &raw const now) } > 0 {}
        // It cannot fail with this signal.
        let _ = set.thread_unblock();
    }
}

fn sigio() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGIO);
    set
}
