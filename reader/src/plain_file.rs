//! Opening regular files, without blocking on anything else in their place.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens the file at `path` for reading, if it is a regular file. Never blocks, even if a pipe that nobody
/// writes to is in its place.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for anything but a regular file, and what the system says.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    plain(OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK).open(path)?)
}

/// `file`, which was opened without blocking, if it is a regular file.
///
/// # Errors
/// As [`open_plain`].
pub(crate) fn plain(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_plain()) }
}

/// The error for anything but a regular file.
pub(crate) fn not_plain() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}
