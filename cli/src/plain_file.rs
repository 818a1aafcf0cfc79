//! Opening the files of a ring by name, safely even if another kind of file is in their place.

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a file for reading, if it is one. A pipe is not waited for, and a symbolic link not followed: it may
/// lead to what only this user can read.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for what is no regular file, and what the system says.
pub fn open(path: &Path) -> io::Result<File> {
    plain(OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOFOLLOW).open(path)?)
}

/// The same for a path that somebody has typed, which may be a symbolic link.
///
/// # Errors
/// As [`open`].
pub fn open_named(path: &Path) -> io::Result<File> {
    plain(OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?)
}

/// The file, which has been opened without waiting, if it is one.
///
/// # Errors
/// As [`open`].
pub fn plain(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "this is no regular file")),
    }
}

/// The first `len_max` bytes, and one more if there are more: enough to see that it is too long.
///
/// # Errors
/// What the system says.
pub fn beginning(file: &File, len_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(len_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// On a thread of its own: what waits for a pipe does so for ever.
    fn opened(path: &Path, open: fn(&Path) -> io::Result<File>) -> bool {
        let (sender, outcome) = channel();
        let path = path.to_owned();
        std::thread::spawn(move || sender.send(open(&path).is_ok()));
        outcome.recv_timeout(Duration::from_secs(20)).expect("opening a file does not wait")
    }

    #[test]
    fn only_files_are_opened_and_only_their_beginning_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let [file, pipe, link] = ["file", "pipe", "link"].map(|name| dir.path().join(name));
        fs::write(&file, b"0123456789").unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink(&file, &link).unwrap();
        for (path, by_name, named) in [
            (&file, true, true),
            (&pipe, false, false),
            (&link, false, true),
            (&dir.path().into(), false, false),
        ] {
            assert_eq!(
                (opened(path, open), opened(path, open_named)),
                (by_name, named),
                "{}",
                path.display()
            );
        }
        for (len_max, wanted) in [(4, 5), (9, 10), (10, 10), (20, 10)] {
            assert_eq!(beginning(&open(&file).unwrap(), len_max).unwrap().len(), wanted, "{len_max}");
        }
    }
}
