//! Opening files without waiting for what stands in their place.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens the file at `path` for reading, if it is one. Never waits: what has been put in a file's place may
/// be a pipe that nobody writes to.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for what is no regular file, and what the system says.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    plain(OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK).open(path)?)
}

/// The file, which has been opened without waiting, if it is one.
///
/// # Errors
/// As [`open_plain`].
pub(crate) fn plain(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_plain()) }
}

/// What is said of anything else.
pub(crate) fn not_plain() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}
