//! One writer, proven by a lock (D11).

#![allow(unsafe_code, reason = "OFD locks have no safe wrapper that takes them without waiting")]

use crate::error::OpenError;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};
use waldo_shm_protocol::names;

/// How long to go on trying: io_uring keeps a killed writer's files open for a moment.
const PATIENCE: Duration = Duration::from_millis(700);

/// Between two tries. A killed writer's lock goes within a millisecond or two, and who takes over waits for that.
const PAUSE: Duration = Duration::from_micros(500);

/// The ring's write lock; released when the last reference to its open file description goes.
#[derive(Debug)]
pub(crate) struct WriterLock(File);

impl WriterLock {
    /// Takes the lock in `home`, trying for [`PATIENCE`].
    pub(crate) fn take(home: &Path) -> Result<WriterLock, OpenError> {
        let path = home.join(names::LOCK);
        // Mode 0600: a reader that could open it could lock the writer out.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(OpenError::io("open", &path))?;
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(OpenError::io("set the mode of", &path))?;
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = try_lock(&file) {
            if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) {
                return Err(OpenError::Io { action: "lock", path, source: error });
            }
            if Instant::now() >= deadline {
                let mut holder = String::new();
                // For people only; an unreadable name changes nothing.
                let _ = Read::by_ref(&mut file).take(64).read_to_string(&mut holder);
                let pid = holder.trim();
                let holder = if pid.is_empty() { "another process".into() } else { format!("process {pid}") };
                return Err(OpenError::Locked { path, holder });
            }
            std::thread::sleep(PAUSE);
        }
        let name_holder = |file: &mut File| -> io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        name_holder(&mut file).map_err(OpenError::io("write", &path))?;
        Ok(WriterLock(file))
    }

    /// The descriptor, to be kept registered with io_uring so that the lock outlives writes in flight.
    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Drop for WriterLock {
    /// Gives the lock up for good. Closing the descriptor alone would leave it to io_uring, which lets go of its
    /// reference some time later. By now nothing of this writer is in flight: the engine has gone before.
    fn drop(&mut self) {
        // It is released with the description anyway; this only makes it prompt.
        let _ = set_lock(&self.0, libc::F_UNLCK);
    }
}

fn try_lock(file: &File) -> io::Result<()> {
    set_lock(file, libc::F_WRLCK)
}

fn set_lock(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: an all-zero flock is a valid value: a lock from offset 0 to the end, no pid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: `lock` lives through the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
