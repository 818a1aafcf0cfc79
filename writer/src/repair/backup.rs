//! The directory that keeps what a repair takes out of a ring.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A new directory, `<name of home>-backup-<number>`, beside the ring or in `place`.
pub(super) fn make(home: &Path, place: Option<&Path>) -> io::Result<PathBuf> {
    let home = fs::canonicalize(home)?;
    let parent = place.or(home.parent()).unwrap_or(Path::new("/"));
    let name = home.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for number in 1.. {
        let path = parent.join(format!("{name}-backup-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => {
                File::open(parent)?.sync_all()?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes a copy of `file` in the backup, durably. A name is enough where a file system can give a file two:
/// nobody writes into it any more.
pub(super) fn keep(file: &Path, backup: &Path) -> io::Result<()> {
    let target = backup.join(file.file_name().unwrap_or_default());
    match fs::hard_link(file, &target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(_) => {
            fs::copy(file, &target)?;
        }
    }
    File::open(&target)?.sync_all()?;
    File::open(backup)?.sync_all()
}
