//! Opening page files, and reading their headers before anything is mapped.

use crate::error::ReadError;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;
use waldo_shm_protocol::page::{PageFault, PageHeader, RawPageHeader};
use waldo_shm_protocol::{RingId, names};

/// Longest time for which an open is tried again because a process has a lease on the page.
const LEASE_PATIENCE: Duration = Duration::from_secs(1);
const LEASE_PAUSE_MAX: Duration = Duration::from_millis(5);

/// The result of an attempt to open a page.
pub(crate) enum Opened<T> {
    /// There it is.
    Page(T),
    /// The name leads nowhere, or to a file whose header is not that of the page: trimmed, if the ring's
    /// oldest page is a newer one by now; damage if it still is not after a few tries.
    Gone(ReadError),
}

/// Opens page `id` for reading and checks its header, read into private memory: a page that is being recycled
/// is recognised before anything is mapped.
///
/// # Errors
/// As [`Pages::map`].
pub(crate) fn open(path: &Path, ring_id: &RingId, id: u64) -> Result<Opened<(File, PageHeader)>, ReadError> {
    let opened = open_with(|flags| OpenOptions::new().read(true).custom_flags(flags).open(path));
    check(opened, path, ring_id, id)
}

/// Opens a page with `open`, which is given the flags.
///
/// Never blocks in the kernel: a pipe in a page's place would block a reader for ever, and the lease of a
/// stopped writer for 45 s. So an open that meets a lease fails, and is tried again for up to
/// [`LEASE_PATIENCE`]. The writer holds a lease for microseconds, and the page has lost its name before: the
/// second try finds no file, or another page that has the name by then.
pub(super) fn open_with(open: impl Fn(i32) -> io::Result<File>) -> io::Result<File> {
    let always = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    // Without O_NOATIME, the first read after each append would write the access time, under locks of the
    // inode.
    let once = || match open(always | libc::O_NOATIME) {
        // The kernel grants this to the file's owner only.
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => open(always),
        opened => opened,
    };
    let mut pause = Duration::from_micros(50);
    let mut left = LEASE_PATIENCE;
    loop {
        match once() {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && !left.is_zero() => {
                std::thread::sleep(pause);
                left = left.saturating_sub(pause);
                pause = (2 * pause).min(LEASE_PAUSE_MAX);
            }
            opened => return opened,
        }
    }
}

/// Checks the header of the file that was opened as page `id`.
pub(super) fn check(
    opened: io::Result<File>,
    path: &Path,
    ring_id: &RingId,
    id: u64,
) -> Result<Opened<(File, PageHeader)>, ReadError> {
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Opened::Gone(ReadError::io(path, e))),
        Err(e) => return Err(ReadError::io(path, e)),
    };
    let stat = file.metadata().map_err(|e| ReadError::io(path, e))?;
    if !stat.is_file() {
        return Err(ReadError::Page { path: path.to_path_buf(), fault: PageFault::Magic });
    }
    let mut bytes = [0; size_of::<RawPageHeader>()];
    let got = read_at(&file, &mut bytes, 0).map_err(|e| ReadError::io(path, e))?;
    match PageHeader::check(&bytes[..got], stat.len(), ring_id, id) {
        Ok(header) => Ok(Opened::Page((file, header))),
        // Trimming may explain any fault: the page may have been opened just before its name was removed, and
        // read while its header was overwritten.
        Err(fault) => Ok(Opened::Gone(ReadError::Page { path: path.to_path_buf(), fault })),
    }
}

/// Reads up to `bytes.len()` bytes at `offset`; fewer only at the end of the file.
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

/// Ids of all page files in `home`, in order.
pub(crate) fn list(home: &Path) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(home)? {
        ids.extend(entry?.file_name().to_str().and_then(names::parse_page));
    }
    ids.sort_unstable();
    Ok(ids)
}
