//! Who has the lock, according to the lock file's content. Used for messages, and for how long to wait; never
//! to decide who is the writer.

use crate::disk::{Object, object_of};
use std::fmt;
use std::fs::{File, metadata, read_dir, read_to_string};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

/// While the holder runs: it will not release the lock soon.
pub(super) const PATIENCE: Duration = Duration::from_millis(700);

/// While the holder is not visible from here: it may be in another pid namespace, or have ended while
/// io_uring still holds its open files.
pub(super) const PATIENCE_UNSEEN: Duration = Duration::from_secs(5);

/// After the holder was killed, whether it has ended or not: a flush in progress has to end first.
pub(super) const PATIENCE_DYING: Duration = Duration::from_secs(15);

/// Bytes of a lock file at most.
const LEN_MAX: usize = 32;

/// What the lock file says.
#[derive(Debug)]
pub(super) struct Holder {
    pid: Option<u32>,
    /// Which file that is.
    lock: Option<Object>,
}

/// What is known of a holder from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    Alive,
    /// It has ended but for its last threads, or SIGKILL waits for it, or nothing is left of it.
    Dying,
    Unseen,
}

impl Holder {
    /// Writes down this process. Refuses a file whose content is not a lock file's: a hard link to another
    /// file, say.
    pub(super) fn write(file: &File) -> io::Result<()> {
        let mut bytes = [0; LEN_MAX + 1];
        let len = file.read_at(&mut bytes, 0)?;
        // Zeros are what a power cut can leave of a number.
        let fits = bytes[..len].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'\n' | 0));
        if len > LEN_MAX || !fits {
            let message = "it holds something else than a process number: move it away if it is no lock file";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        file.set_len(0)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)
    }

    /// A name that cannot be read changes nothing.
    pub(super) fn read(file: &File) -> Holder {
        let mut bytes = [0; LEN_MAX];
        let len = file.read_at(&mut bytes, 0).unwrap_or(0);
        let pid = String::from_utf8_lossy(&bytes[..len]).trim().parse().ok();
        Holder { pid, lock: object_of(file).ok() }
    }

    pub(super) fn sight(&self) -> Sight {
        // Between taking the lock and naming itself.
        let Some(pid) = self.pid else { return Sight::Alive };
        match read_to_string(format!("/proc/{pid}/status")) {
            Ok(status) if is_dying(&status) => Sight::Dying,
            Ok(_) if self.is_open_in(pid) => Sight::Alive,
            // The number is that of a process in another container, or has been given to another process
            // since. Or /proc hides other users' processes (hidepid): it is not certain then that it is gone.
            _ => Sight::Unseen,
        }
    }

    /// Whether this process has the lock file open; true where that may not be asked.
    fn is_open_in(&self, pid: u32) -> bool {
        let Ok(entries) = read_dir(format!("/proc/{pid}/fd")) else { return true };
        let mut objects = entries.filter_map(|entry| metadata(entry.ok()?.path()).ok());
        objects.any(|stat| Some([stat.dev(), stat.ino()]) == self.lock)
    }

    pub(super) fn patience(&self) -> Duration {
        match self.sight() {
            Sight::Alive => PATIENCE,
            Sight::Dying => PATIENCE_DYING,
            Sight::Unseen => PATIENCE_UNSEEN,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.sight()) {
            (None, _) => f.write_str("another process"),
            (Some(pid), Sight::Unseen) => write!(
                f,
                "process {pid} (not seen here: in another container, or ended while something of it still has the lock)"
            ),
            (Some(pid), _) => write!(f, "process {pid}"),
        }
    }
}

/// Whether the process with this `/proc/<pid>/status` has ended but for its last threads, or is about to: it
/// is a zombie, or SIGKILL waits for it.
fn is_dying(status: &str) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let zombie = field("State:").is_some_and(|state| state.starts_with(['Z', 'X']));
    let kill = 1 << (libc::SIGKILL - 1);
    let killed = |name| {
        field(name).and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & kill != 0)
    };
    zombie || killed("SigPnd:") || killed("ShdPnd:")
}
