//! The directory of a ring: the one that was opened, and the one that its path leads to now.
//!
//! A path can come to lead to another directory: a directory is moved, a backup is put in its place, a
//! symbolic link is flipped, a ring is removed and made again. So a reader opens the directory once, and
//! looks for files of the ring in the open directory, wherever that is now. Only [`Home::whereabouts`] checks
//! whether the path still leads there, at the rare looks of
//! [`AttachedRing`](crate::source::attached_ring::AttachedRing).

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstatat, lstat};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Changed more lately, a file may be changed again without a difference in its [`Stamp`]: a file system's
/// clock may not tell two changes apart that come soon after each other.
const AT_REST: Duration = Duration::from_secs(2);

/// Which inode something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    dev: u64,
    ino: u64,
}

impl Object {
    pub(crate) fn of(stat: &Metadata) -> Object {
        Object { dev: stat.dev(), ino: stat.ino() }
    }

    /// Device and inode number, as the header of a control segment names them.
    pub(crate) fn words(self) -> [u64; 2] {
        [self.dev, self.ino]
    }
}

/// What distinguishes two states of a file without reading it: the inode, and the time of its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    object: Object,
    len: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<FileStat> for Stamp {
    fn from(stat: FileStat) -> Stamp {
        Stamp {
            object: Object { dev: stat.st_dev, ino: stat.st_ino },
            len: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl Stamp {
    /// The state of the file at `path`; a symbolic link counts as itself. `None` if there is none, or its
    /// state cannot be read.
    pub(crate) fn at(path: &Path) -> Option<Stamp> {
        lstat(path).ok().map(Stamp::from)
    }

    /// Whether the file has been unchanged for so long that the next change is certain to show.
    pub(crate) fn is_at_rest(&self) -> bool {
        let since = |(seconds, _): (i64, i64)| {
            let time =
                SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))?;
            time.elapsed().ok()
        };
        // A time in the future tells nothing.
        [self.modified, self.changed].into_iter().all(|time| since(time).is_some_and(|age| age > AT_REST))
    }
}

/// A ring's open directory. An open directory keeps its inode, so no other directory can be mistaken for it.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    dir: File,
    object: Object,
    owner: u32,
}

/// Where the path of a [`Home`] leads now.
#[derive(Debug)]
pub(crate) enum Whereabouts {
    /// To the directory that was opened.
    Here,
    /// To another one.
    Elsewhere(Home),
    /// To nothing that can be looked at.
    Nowhere,
}

impl Home {
    /// Opens the directory that `path` leads to, only as a base for opening its files.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn open(path: &Path) -> io::Result<Home> {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let dir = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let stat = dir.metadata()?;
        Ok(Home { path: path.to_path_buf(), dir, object: Object::of(&stat), owner: stat.uid() })
    }

    /// The path by which the directory was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn dir(&self) -> &File {
        &self.dir
    }

    pub(crate) fn object(&self) -> Object {
        self.object
    }

    /// Whose directory it is.
    pub(crate) fn owner(&self) -> u32 {
        self.owner
    }

    /// Opens file `name` in the directory for reading, with these additional flags.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn open_file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | flags;
        Ok(File::from(openat(&self.dir, name, flags, Mode::empty())?))
    }

    /// The state of file `name` in the directory; `None` if there is none, or its state cannot be read.
    pub(crate) fn stamp(&self, name: &str) -> Option<Stamp> {
        fstatat(&self.dir, name, AtFlags::empty()).ok().map(Stamp::from)
    }

    /// The inode that `name` in the directory stands for; a symbolic link counts as itself. `None` if there
    /// is none.
    ///
    /// # Errors
    /// What the system says otherwise.
    pub(crate) fn inode(&self, name: &str) -> io::Result<Option<(u64, u64)>> {
        match fstatat(&self.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the path leads now.
    pub(crate) fn whereabouts(&self) -> Whereabouts {
        match std::fs::metadata(&self.path) {
            Ok(stat) if Object::of(&stat) == self.object => Whereabouts::Here,
            Ok(_) => Home::open(&self.path).map_or(Whereabouts::Nowhere, |home| match home.object {
                object if object == self.object => Whereabouts::Here,
                _ => Whereabouts::Elsewhere(home),
            }),
            Err(_) => Whereabouts::Nowhere,
        }
    }

    /// A path that leads to this directory now; `None` if none is known, or the directory has been removed.
    pub(crate) fn path_now(&self) -> Option<PathBuf> {
        let leads_here =
            |path: &Path| std::fs::metadata(path).is_ok_and(|stat| Object::of(&stat) == self.object);
        if leads_here(&self.path) {
            return Some(self.path.clone());
        }
        let path = std::fs::read_link(format!("/proc/self/fd/{}", self.dir.as_raw_fd())).ok()?;
        leads_here(&path).then_some(path)
    }
}
