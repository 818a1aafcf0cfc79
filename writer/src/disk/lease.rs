//! Write leases: the kernel's guarantee that no other process has a file open or mapped.

#![allow(unsafe_code, reason = "system calls without safe wrappers: leases, and waiting for their signal")]

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Runs `action` while no process has `file` open or mapped except through this description, and none can
/// open it; returns `false` if one has.
pub(crate) fn nobody_else_has(file: &File, action: &mut dyn FnMut()) -> io::Result<bool> {
    let Some(lease) = Lease::take(file)? else { return Ok(false) };
    action();
    drop(lease);
    Ok(true)
}

/// A write lease. While it is held, this is the only open description of the file, no process maps the file,
/// and a process that opens the file waits.
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
            // Another process has the file open or mapped.
            Some(libc::EAGAIN) => Ok(None),
            // No leases here, or not the owner: nothing can be proven, so nothing is recycled.
            Some(libc::EINVAL | libc::EACCES | libc::EPERM | libc::ENOLCK | libc::EOPNOTSUPP) => Ok(None),
            _ => Err(error),
        }
    }
}

impl Lease<'_> {
    /// Whether no process has tried to open the file since the lease was granted. A process that still waits
    /// counts too: the kernel does not say whether it has already let that process in.
    pub(super) fn is_whole(&self) -> bool {
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
