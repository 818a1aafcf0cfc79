//! Where a copy is made. The directory is held open, and every operation is relative to it, so a user who can
//! rename directories above it cannot interfere. (When root copies a ring, the ring's user may be able to.)

use anyhow::{Context, bail};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, syncfs, unlinkat};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Names that are tried for a directory that has no name yet. More are taken only by copies that were
/// killed.
const TRIES_MAX: u32 = 1000;

const SET_GROUP_ID: u32 = 0o2000;

/// A directory for a copy.
pub struct CopyPlace {
    /// Where the copy is asked for.
    to: PathBuf,
    dir: File,
    /// The directory has been made for the copy, and is not complete.
    unnamed: Option<Unnamed>,
}

struct Unnamed {
    parent: File,
    /// Another one than that which it is to have, until the very end.
    name: OsString,
    /// The set-group-id bit, if it is to have it.
    set_group_id: u32,
}

impl CopyPlace {
    /// The empty directory `to`; or, if there is nothing, one that gets this name in the end.
    ///
    /// # Errors
    /// If the directory is not empty, and what making it meets.
    pub fn find(to: &Path, mode: u32) -> anyhow::Result<CopyPlace> {
        // Without a slash at the end.
        let to: PathBuf = to.components().collect();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match openat(AT_FDCWD, &to, flags, Mode::empty()) {
            Ok(dir) => {
                let place = CopyPlace { to, dir: dir.into(), unnamed: None };
                let cannot = || format!("cannot copy to {}", place.to.display());
                if !place.names().with_context(cannot)?.is_empty() {
                    bail!("{} is there and not empty: name a new directory for the copy", place.to.display());
                }
                Ok(place)
            }
            Err(Errno::ENOENT) if fs::symlink_metadata(&to).is_err() => {
                CopyPlace::beside(&to, mode).with_context(|| format!("cannot make {}", to.display()))
            }
            Err(errno) => Err(errno).with_context(|| format!("cannot copy to {}", to.display())),
        }
    }

    fn beside(to: &Path, mode: u32) -> io::Result<CopyPlace> {
        let own = to.file_name().ok_or(ErrorKind::InvalidInput)?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Not to be read: who may make something in a directory need not be allowed to list it.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let parent = File::from(openat(AT_FDCWD, parent, flags, Mode::empty())?);
        let (mode, set_group_id) = (mode & 0o777, mode & SET_GROUP_ID);
        for n in 0..TRIES_MAX {
            let mut name = OsString::from(".");
            name.push(own);
            name.push(format!(".snapshot-{}-{n}", std::process::id()));
            match mkdirat(&parent, name.as_os_str(), Mode::from_bits_truncate(mode)) {
                Err(Errno::EEXIST) => continue,
                made => made?,
            }
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let dir = File::from(openat(&parent, name.as_os_str(), flags, Mode::empty())?);
            if dir.metadata()?.uid() != geteuid().as_raw() {
                return Err(io::Error::other(
                    "somebody else has taken the place of the directory that was made",
                ));
            }
            return Ok(CopyPlace {
                to: to.to_path_buf(),
                dir,
                unnamed: Some(Unnamed { parent, name, set_group_id }),
            });
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Where the copy is asked for. To be named in errors: what a directory is called until the copy is
    /// complete means nothing to anybody, and is gone by the time they read it.
    pub fn target(&self) -> &Path {
        &self.to
    }

    /// The path of a file that is there now, for people who are to look at it.
    pub fn path_now(&self, name: &str) -> PathBuf {
        match &self.unnamed {
            Some(unnamed) => self.to.with_file_name(&unnamed.name).join(name),
            None => self.to.join(name),
        }
    }

    /// Makes a file.
    pub fn create(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(&self.dir, name, flags, Mode::from_bits_truncate(mode))?.into())
    }

    /// Names of all that is there.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut names = Vec::new();
        for entry in Dir::openat(&self.dir, ".", flags, Mode::empty())?.iter() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Renames a file, unless the new name is taken.
    pub fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let is_free = || fstatat(&self.dir, to, AtFlags::AT_SYMLINK_NOFOLLOW) == Err(Errno::ENOENT);
        match renameat2(&self.dir, from, &self.dir, to, RenameFlags::RENAME_NOREPLACE) {
            // A file system that cannot do that.
            Err(Errno::EINVAL | Errno::ENOSYS) if is_free() => Ok(renameat(&self.dir, from, &self.dir, to)?),
            outcome => Ok(outcome?),
        }
    }

    /// Makes the names in the directory durable.
    pub fn sync(&self) -> io::Result<()> {
        self.dir.sync_all()
    }

    /// Gives a directory that was made for the copy to `owner` and its name. The name is durable in the end,
    /// also that of a directory which was there: whoever made it need not have seen to that.
    pub fn complete(&mut self, owner: (u32, u32)) -> io::Result<()> {
        let Some(Unnamed { parent, name, set_group_id }) = &mut self.unnamed else {
            return sync_in("..", &self.dir, &self.dir);
        };
        // Not before: until now nobody else could put anything into it.
        give(&self.dir, owner)?;
        let stat = self.dir.metadata()?;
        // Where the group is another one, new files are not meant for it.
        if *set_group_id != 0 && stat.gid() == owner.1 {
            let mode = stat.mode() & 0o7777 | *set_group_id;
            self.dir.set_permissions(Permissions::from_mode(mode))?;
        }
        let own = self.to.file_name().ok_or(ErrorKind::InvalidInput)?;
        // An empty directory that has come meanwhile gives way; any other does not.
        renameat(&*parent, name.as_os_str(), &*parent, own)?;
        own.clone_into(name);
        let (found, made) = (fstatat(&*parent, own, AtFlags::AT_SYMLINK_NOFOLLOW)?, self.dir.metadata()?);
        if (found.st_dev, found.st_ino) != (made.dev(), made.ino()) {
            return Err(io::Error::other("somebody else has taken the place of the copy"));
        }
        sync_in(".", parent, &self.dir)?;
        self.unnamed = None;
        Ok(())
    }

    /// Removes these files again, and the directory if it was made for the copy.
    pub fn abandon(&self, files: &[String]) {
        // The metadata first. What cannot be removed is told by the error that led here.
        for name in files.iter().rev() {
            let _ = unlinkat(&self.dir, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        if let Some(Unnamed { parent, name, .. }) = &self.unnamed {
            let _ = unlinkat(parent, name.as_os_str(), UnlinkatFlags::RemoveDir);
        }
    }
}

/// Makes the names in the directory at `path`, looked for from `from`, durable. `copy` is on the same disk.
fn sync_in(path: &str, from: &File, copy: &File) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let synced = match openat(from, path, flags, Mode::empty()) {
        Ok(dir) => File::from(dir).sync_all(),
        // One that may not be listed may not be opened for this either.
        Err(Errno::EACCES) => syncfs(copy).map_err(io::Error::from),
        Err(errno) => Err(errno.into()),
    };
    match synced {
        // Directories of a file system in which nothing can be made (squashfs, say) cannot be flushed. The
        // copy may be on another one, mounted there.
        Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Ok(()),
        outcome => outcome,
    }
}

/// Gives what has been made to this user and group, which only root can do: the copy is to be that user's,
/// who goes on with it.
pub fn give(file: &File, (user, group): (u32, u32)) -> io::Result<()> {
    let stat = file.metadata()?;
    if geteuid().is_root() && (stat.uid(), stat.gid()) != (user, group) {
        fchown(file, Some(user), Some(group))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As where a volume is mounted in a container whose own files cannot be written.
    #[test]
    fn a_directory_that_cannot_be_flushed_is_no_reason_to_fail() {
        let here = File::open("/proc/self").unwrap();
        assert!(File::open("/proc").unwrap().sync_all().is_err(), "the system flushes this one");
        sync_in("..", &here, &here).unwrap();
        assert!(sync_in("none", &here, &here).is_err());
    }
}
