//! The ring's directory, held open. Every file operation is relative to it: a renamed directory stays the
//! ring's, and the writer ignores another directory that is then at the old path.

use super::Disk;
use super::descriptors;
use super::file_rights::FileRights;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long an open waits for another process's lease on the file. The kernel breaks the lease after
/// `/proc/sys/fs/lease-break-time`, which is 45 s unless it was changed.
const LEASE_PATIENCE: Duration = Duration::from_secs(50);
const LEASE_PAUSE: Duration = Duration::from_millis(2);

/// An open directory. Clones share the descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    dir: Arc<File>,
}

/// Device and inode number: what a name leads to.
pub(crate) type Object = [u64; 2];

pub(crate) fn object_of(file: &File) -> io::Result<Object> {
    let stat = file.metadata()?;
    Ok([stat.dev(), stat.ino()])
}

impl Directory {
    pub(crate) fn open(path: &Path) -> io::Result<Directory> {
        let flags = libc::O_DIRECTORY | libc::O_NONBLOCK;
        let dir = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        Ok(Directory { path: path.to_owned(), dir: Arc::new(dir) })
    }

    /// The directory that `disk` works in, or the one at `path` if `disk` is not the operating system's.
    pub(crate) fn of(disk: &dyn Disk, path: &Path) -> io::Result<Directory> {
        match disk.directory() {
            Some(dir) => {
                let dir = File::from(dir.try_clone_to_owned()?);
                Ok(Directory { path: path.to_owned(), dir: Arc::new(dir) })
            }
            None => Directory::open(path),
        }
    }

    /// The full path of a name, for messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn home(&self) -> &Path {
        &self.path
    }

    /// Which directory this is.
    pub(crate) fn object(&self) -> io::Result<Object> {
        object_of(&self.dir)
    }

    /// The directory itself, open.
    pub(crate) fn itself(&self) -> &File {
        &self.dir
    }

    /// What the file `name` is like; a symbolic link is not followed. `None` if there is none.
    pub(crate) fn stat(&self, name: &str) -> io::Result<Option<FileStat>> {
        match fstatat(&*self.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Which file `name` leads to; a symbolic link is not followed. `None` if there is none.
    pub(crate) fn object_at(&self, name: &str) -> io::Result<Option<Object>> {
        Ok(self.stat(name)?.map(|stat| [stat.st_dev, stat.st_ino]))
    }

    /// Makes a new file with these rights, as far as this process may give them, open for reading and
    /// writing. Fails if the name is taken.
    pub(crate) fn create(&self, name: &str, rights: FileRights) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
        // Open to no other user until it has the right group. `give` then sets the mode, whatever the umask.
        let file = self.openat(name, flags, Mode::from_bits_truncate(FileRights::PRIVATE.mode))?;
        rights.give(&file)?;
        Ok(file)
    }

    /// Opens an existing file for reading and writing. Refuses anything but a regular file, and never blocks.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<File> {
        self.open_regular(name, OFlag::O_RDWR)
    }

    /// The same, for reading only.
    pub(crate) fn open_to_read(&self, name: &str) -> io::Result<File> {
        self.open_regular(name, OFlag::O_RDONLY)
    }

    fn open_regular(&self, name: &str, access: OFlag) -> io::Result<File> {
        let begun = Instant::now();
        let file = loop {
            match self.openat(name, access | OFlag::O_NONBLOCK, Mode::empty()) {
                // Another process has a lease on the file, and has been told to release it.
                Err(error) if is_leased(&error) && begun.elapsed() < LEASE_PATIENCE => {
                    thread::sleep(LEASE_PAUSE);
                }
                outcome => break outcome?,
            }
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        // It was for the opening only.
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
        Ok(file)
    }

    fn openat(&self, name: &str, flags: OFlag, mode: Mode) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        descriptors::with_room(|| Ok(File::from(openat(&*self.dir, name, flags, mode)?)))
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&*self.dir, from, &*self.dir, to)?)
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&*self.dir, name, UnlinkatFlags::NoRemoveDir)?)
    }

    pub(crate) fn list(&self) -> io::Result<Vec<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        // A description of its own: the place in the directory belongs to the description.
        let mut dir = descriptors::with_room(|| Ok(Dir::openat(&*self.dir, ".", flags, Mode::empty())?))?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            // Names that are not UTF-8 are not ours.
            names.extend(
                entry?
                    .file_name()
                    .to_str()
                    .ok()
                    .filter(|name| !matches!(*name, "." | ".."))
                    .map(str::to_owned),
            );
        }
        Ok(names)
    }

    /// Makes every name change so far durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.dir.sync_all()
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Whether a file could not be opened without waiting, because another process has a lease on it.
pub(crate) fn is_leased(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EWOULDBLOCK)
}
