//! The lock that proves that there is only one writer.
//!
//! The lock is on `writer.lock`. A file can be removed or replaced while it is locked, so there are three
//! further checks: the name must lead to the locked file when the lock has been taken; it must lead there as
//! long as the writer lives ([`LockWatch`]); and `ring.meta` is locked too, a file that nobody removes
//! together with a stray lock file.

#![allow(unsafe_code, reason = "OFD locks have no safe wrapper that takes them without waiting")]

mod holder;
#[cfg(test)]
mod tests;

use crate::disk::{Directory, FileRights, Object, object_of};
use crate::error::OpenError;
use holder::Holder;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use waldo_shm_protocol::names;

/// Between two tries. A killed writer's lock goes within a millisecond or two, and who takes over waits for
/// that.
const PAUSE: Duration = Duration::from_micros(500);

/// The ring's write lock; released when the last reference to its open file description is dropped.
#[derive(Debug)]
pub(crate) struct WriterLock {
    file: File,
    dir: Directory,
    object: Object,
    made: bool,
    /// Locked as well, once there is one.
    meta: Option<File>,
}

impl WriterLock {
    /// Takes the lock in `dir`, trying for as long as [`Holder::patience`] says.
    pub(crate) fn take(dir: &Directory) -> Result<WriterLock, OpenError> {
        let path = dir.path(names::LOCK);
        let begun = Instant::now();
        loop {
            let (file, made) = open_or_make(dir).map_err(OpenError::io("open", &path))?;
            let holder = Holder::read(&file);
            if let Some(lock) = WriterLock::lock(dir, file, made).map_err(OpenError::io("lock", &path))? {
                return Ok(lock);
            }
            if begun.elapsed() >= holder.patience() {
                return Err(OpenError::Locked { path, holder: holder.to_string() });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Locks `file`; `None` if another process has locked it, or if it has been removed or replaced since it
    /// was opened: another writer may lock the new file.
    fn lock(dir: &Directory, file: File, made: bool) -> io::Result<Option<WriterLock>> {
        if !try_lock(&file)? {
            return Ok(None);
        }
        let object = object_of(&file)?;
        if dir.object_at(names::LOCK)? != Some(object) {
            return Ok(None);
        }
        Holder::write(&file)?;
        Ok(Some(WriterLock { file, dir: dir.clone(), object, made, meta: None }))
    }

    /// Locks `ring.meta` too, if there is one. Refuses if another writer has locked `ring.meta`: the lock
    /// file of that writer has been removed or replaced, and it may not have noticed yet.
    pub(crate) fn hold_meta(&mut self) -> Result<(), OpenError> {
        let path = self.dir.path(names::META);
        let file = match self.dir.open_file(names::META) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(OpenError::Io { action: "open", path, source: error }),
        };
        let begun = Instant::now();
        while !try_lock(&file).map_err(OpenError::io("lock", &path))? {
            if !write_locked(&file).map_err(OpenError::io("look at the lock of", &path))? {
                // Any process that may read the file can lock it for reading, but no writer does. There is
                // one proof less.
                tracing::warn!("{}: a reader has locked it, so that the writer cannot", path.display());
                break;
            }
            if begun.elapsed() >= holder::PATIENCE_UNSEEN {
                let holder = "another process, whose writer.lock was removed or replaced,".into();
                return Err(OpenError::Locked { path, holder });
            }
            std::thread::sleep(PAUSE);
        }
        self.meta = Some(file);
        Ok(())
    }

    /// Refuses if the ring in `dir` has a running writer, which holds the lock or, if its lock file was
    /// removed, the lock on `ring.meta`. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError::Locked`], and what the system says.
    pub(crate) fn refuse_if_held(dir: &Directory) -> Result<(), OpenError> {
        for name in [names::LOCK, names::META] {
            let look = |file: File| Ok(write_locked(&file)?.then_some(file));
            let held = match dir.open_to_read(name).and_then(look) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                held => held.map_err(OpenError::io("look at", dir.path(name)))?,
            };
            if let Some(file) = held {
                let holder = match name {
                    names::LOCK => Holder::read(&file).to_string(),
                    _ => "a process whose lock file was removed or replaced".into(),
                };
                return Err(OpenError::Locked { path: dir.path(names::LOCK), holder });
            }
        }
        Ok(())
    }

    /// Whether there was no lock file. If the ring exists, somebody must have removed the file.
    pub(crate) fn was_missing(&self) -> bool {
        self.made
    }

    /// The check that the running writer makes now and then.
    pub(crate) fn watch(&self) -> LockWatch {
        LockWatch { dir: self.dir.clone(), object: self.object }
    }

    /// The descriptor, to be kept registered with io_uring so that the lock outlives writes in flight.
    pub(crate) fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl Drop for WriterLock {
    /// Releases the lock for good. If the descriptor were only closed, io_uring would still hold the lock
    /// until it drops its reference some time later. Nothing of this writer is in flight any more: the engine
    /// was dropped before.
    fn drop(&mut self) {
        // It is released with the description anyway; this only makes it prompt. The lock file's goes last:
        // who gets it finds the other free.
        self.meta = None;
        let _ = set_lock(&self.file, libc::F_OFD_SETLK, libc::F_UNLCK);
    }
}

/// Tells whether the lock still keeps others out.
#[derive(Clone, Debug)]
pub(crate) struct LockWatch {
    dir: Directory,
    object: Object,
}

impl LockWatch {
    /// The reason why this writer must stop; `None` while the name leads to the locked file.
    pub(crate) fn lost(&self) -> Option<io::Error> {
        let path = self.dir.path(names::LOCK);
        match self.dir.object_at(names::LOCK) {
            Ok(Some(object)) if object == self.object => None,
            Ok(found) => {
                let what = if found.is_some() { "replaced" } else { "removed" };
                Some(io::Error::other(format!(
                    "{} was {what} while this writer had it locked, so another writer could come",
                    path.display()
                )))
            }
            // Nothing is known then.
            Err(error) => {
                tracing::warn!("cannot look at {}: {error}", path.display());
                None
            }
        }
    }
}

/// The lock file, and whether it was made.
fn open_or_make(dir: &Directory) -> io::Result<(File, bool)> {
    loop {
        match dir.open_file(names::LOCK) {
            Ok(file) => {
                // Mode 0600: a reader that could open it could lock the writer out.
                if file.metadata()?.permissions().mode() & 0o7777 != 0o600 {
                    file.set_permissions(Permissions::from_mode(0o600))?;
                }
                return Ok((file, false));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match dir.create(names::LOCK, FileRights::PRIVATE) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            outcome => return Ok((outcome?, true)),
        }
    }
}

/// `false` if another process has it.
fn try_lock(file: &File) -> io::Result<bool> {
    match set_lock(file, libc::F_OFD_SETLK, libc::F_WRLCK) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether another process has locked the file for writing, for which it must have been opened for writing.
fn write_locked(file: &File) -> io::Result<bool> {
    Ok(set_lock(file, libc::F_OFD_GETLK, libc::F_WRLCK)? == libc::F_WRLCK)
}

/// Returns the type of the lock that the kernel has put in place of the one asked for, with F_OFD_GETLK.
fn set_lock(file: &File, command: libc::c_int, kind: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: an all-zero flock is a valid value: a lock from offset 0 to the end, no pid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: `lock` lives through the call, which may write it.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) } {
        0 => Ok(libc::c_int::from(lock.l_type)),
        _ => Err(io::Error::last_os_error()),
    }
}
