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

/// How long while the holder has been killed and is not gone yet: a flush that it is in has to end first.
const PATIENCE_DYING: Duration = Duration::from_secs(15);

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
        let begun = Instant::now();
        while let Err(error) = try_lock(&file) {
            if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) {
                return Err(OpenError::Io { action: "lock", path, source: error });
            }
            let waited = begun.elapsed();
            if waited >= PATIENCE {
                let mut holder = String::new();
                // A name that cannot be read changes nothing.
                let _ =
                    file.rewind().and_then(|()| Read::by_ref(&mut file).take(64).read_to_string(&mut holder));
                let pid = holder.trim();
                if waited < PATIENCE_DYING && is_dying(pid) {
                    std::thread::sleep(PAUSE);
                    continue;
                }
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

/// Whether the process with this number has ended but for its last threads, or is about to: it is a zombie, or
/// SIGKILL waits for it. Decides how long to wait and nothing else.
fn is_dying(pid: &str) -> bool {
    let Ok(status) = pid.parse::<u32>().map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")))
    else {
        return false;
    };
    let Ok(status) = status else { return false };
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let zombie = field("State:").is_some_and(|state| state.starts_with(['Z', 'X']));
    let kill = 1 << (libc::SIGKILL - 1);
    let killed = |name| {
        field(name).and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & kill != 0)
    };
    zombie || killed("SigPnd:") || killed("ShdPnd:")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_ended_but_is_not_gone_is_dying() {
        assert!(!is_dying(&std::process::id().to_string()));
        assert!(!is_dying("") && !is_dying("nobody") && !is_dying("4294967295"));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().to_string();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_dying(&pid) {
            assert!(Instant::now() < deadline, "not seen to have ended");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!is_dying(&pid));
    }
}
