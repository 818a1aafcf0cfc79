//! One user's files of one ring, opened so that no other user can interfere.

use super::ReportError;
use super::process::ReaderProcess;
use super::report::{Content, LEN_MAX, ReaderReport};
use crate::id_text::{parse_id, render_id};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use waldo_shm_protocol::RingId;

/// What the name of a user's directory begins with; the user's number follows. The names of control segments
/// begin with `waldo-`, and a search for those must not find these directories.
const PREFIX: &str = "waldo.readers.";
/// What the name of a file ends with that is no report yet.
const SCRATCH: &str = ".new";
/// Attempts at a directory that another reader of this user removes because it is empty.
const TRIES: u32 = 16;

/// Where a user's reports of a ring are.
pub(super) struct ReportFiles {
    upper: PathBuf,
    lower: PathBuf,
    user: u32,
}

/// The same, open.
pub(super) struct OpenFiles {
    dir: File,
    user: u32,
}

impl ReportFiles {
    pub(super) fn new(base: &Path, user: u32, ring_id: &RingId) -> ReportFiles {
        let upper = base.join(format!("{PREFIX}{user}"));
        ReportFiles { lower: upper.join(render_id(ring_id)), upper, user }
    }

    /// The users who have a directory in `base`.
    pub(super) fn users(base: &Path) -> io::Result<Vec<u32>> {
        let user = |name: &str| -> Option<u32> { name.strip_prefix(PREFIX)?.parse().ok() };
        let entries = std::fs::read_dir(base)?.flatten();
        let mut users: Vec<u32> =
            entries.filter_map(|entry| entry.file_name().to_str().and_then(user)).collect();
        users.sort_unstable();
        users.dedup();
        Ok(users)
    }

    /// The rings of which this user's readers report or have reported. None if the user has no directory.
    ///
    /// # Errors
    /// [`ReportError`].
    pub(super) fn rings(base: &Path, user: u32) -> Result<Vec<RingId>, ReportError> {
        let upper = base.join(format!("{PREFIX}{user}"));
        let dir = match enter(AT_FDCWD, &upper, &upper, user) {
            Ok(dir) => dir,
            Err(ReportError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let ring = |name: &String| parse_id(name).filter(|ring_id| render_id(ring_id) == *name);
        let mut rings: Vec<RingId> =
            OpenFiles { dir, user }.files(usize::MAX).iter().filter_map(ring).collect();
        rings.sort_unstable();
        Ok(rings)
    }

    /// The directory of this ring's files.
    pub(super) fn path(&self) -> &Path {
        &self.lower
    }

    /// # Errors
    /// [`ReportError`]; [`io::ErrorKind::NotFound`] if there is none.
    pub(super) fn open(&self) -> Result<OpenFiles, ReportError> {
        let upper = enter(AT_FDCWD, &self.upper, &self.upper, self.user)?;
        let name = self.lower.strip_prefix(&self.upper).unwrap_or(&self.lower);
        let dir = enter(std::os::fd::AsFd::as_fd(&upper), name, &self.lower, self.user)?;
        Ok(OpenFiles { dir, user: self.user })
    }

    /// Puts a file there, in one step. Makes missing directories, with a mode that lets everybody list them
    /// if the umask allows that.
    ///
    /// # Errors
    /// [`ReportError`].
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ReportError> {
        let mut tries = 0;
        loop {
            let error = match self.open() {
                Ok(place) => match place.write(name, bytes) {
                    Ok(()) => return Ok(()),
                    Err(source) => ReportError::Io { path: self.lower.join(name), source },
                },
                Err(error) => error,
            };
            tries += 1;
            match &error {
                ReportError::Io { source, .. }
                    if source.kind() == io::ErrorKind::NotFound && tries < TRIES =>
                {
                    self.make()?;
                }
                _ => return Err(error),
            }
        }
    }

    fn make(&self) -> Result<(), ReportError> {
        for path in [&self.upper, &self.lower] {
            match mkdirat(AT_FDCWD, path, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                // The upper one has been removed meanwhile; the caller tries again.
                Err(Errno::ENOENT) if path == &self.lower => {}
                Err(errno) => return Err(ReportError::Io { path: path.clone(), source: errno.into() }),
            }
        }
        Ok(())
    }

    /// Removes the directories if they are empty.
    pub(super) fn remove_if_empty(&self) {
        let _ = std::fs::remove_dir(&self.lower).and_then(|()| std::fs::remove_dir(&self.upper));
    }
}

/// Opens a directory if it is the user's, and only the user can write to it.
fn enter(parent: BorrowedFd<'_>, name: &Path, path: &Path, user: u32) -> Result<File, ReportError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = openat(parent, name, flags, Mode::empty()).map_err(io::Error::from);
    let found = opened.map(File::from).and_then(|dir| Ok((dir.metadata()?, dir)));
    let unsafe_path = || ReportError::Unsafe { path: path.to_path_buf() };
    match found {
        Ok((stat, dir)) if stat.uid() == user && stat.mode() & 0o022 == 0 => Ok(dir),
        Ok(_) => Err(unsafe_path()),
        // A link, or no directory.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR)) => Err(unsafe_path()),
        Err(source) => Err(ReportError::Io { path: path.to_path_buf(), source }),
    }
}

impl OpenFiles {
    /// Names of at most `max` files.
    pub(super) fn files(&self, max: usize) -> Vec<String> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let Ok(mut dir) = Dir::openat(&self.dir, ".", flags, Mode::empty()) else { return Vec::new() };
        let names =
            dir.iter().flatten().filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        names.filter(|name| name != "." && name != "..").take(max).collect()
    }

    /// Whether the file is being written, or was when its process ended.
    pub(super) fn is_scratch(name: &str) -> bool {
        name.ends_with(SCRATCH)
    }

    /// Reads a report. `None` if it has gone.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn read(
        &self,
        name: &str,
        ring_id: &RingId,
        here: &ReaderProcess,
    ) -> io::Result<Option<ReaderReport>> {
        // A pipe would block, and a link may lead to another user's file.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let stat = file.metadata()?;
        if !stat.is_file() || stat.uid() != self.user {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = Vec::new();
        file.take(LEN_MAX).read_to_end(&mut bytes)?;
        let content = Content::parse(&bytes).ok().filter(|content| content.position.ring_id == *ring_id);
        let content = content.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some(ReaderReport {
            name: content.name,
            user: self.user,
            pid: content.process.pid,
            process: content.process.state(here),
            position: content.position,
            time: content.time,
        }))
    }

    /// Whether the file has not been written for this long.
    pub(super) fn is_older(&self, name: &str, age: Duration) -> bool {
        let stat = nix::sys::stat::fstatat(&self.dir, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW);
        let seconds = stat.ok().and_then(|stat| u64::try_from(stat.st_mtime).ok());
        let written = seconds.map(|seconds| std::time::UNIX_EPOCH + Duration::from_secs(seconds));
        written.and_then(|time| time.elapsed().ok()).is_some_and(|since| since > age)
    }

    /// Whether the file is gone by this. Best effort: what stays is as good as the others, or tried again
    /// later.
    pub(super) fn remove(&self, name: &str) -> bool {
        unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir).is_ok()
    }

    /// Not flushed: it does not outlive the boot.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let scratch = format!("{name}{SCRATCH}");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let create = || openat(&self.dir, scratch.as_str(), flags, Mode::from_bits_truncate(0o644));
        let file = match create() {
            // An earlier attempt has left it. No other process has this name.
            Err(Errno::EEXIST) => {
                self.remove(&scratch);
                create()
            }
            other => other,
        }?;
        let written = File::from(file)
            .write_all(bytes)
            .and_then(|()| Ok(renameat(&self.dir, scratch.as_str(), &self.dir, name)?));
        if written.is_err() {
            self.remove(&scratch);
        }
        written
    }
}
