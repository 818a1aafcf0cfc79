//! Who may read a file: its permission bits and its group. They are changed in an order in which nobody may
//! read the file meanwhile who may read it neither before nor after.

use nix::unistd::{Gid, fchown};
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// Permission bits and group of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRights {
    /// The permission bits.
    pub mode: u32,
    /// The group's number; `None` for the one that the kernel gives to a new file, or that a file has.
    pub group: Option<u32>,
}

impl FileRights {
    /// For what the writer alone opens.
    pub const PRIVATE: FileRights = FileRights { mode: 0o600, group: None };

    /// What `stat` says.
    pub(crate) fn of(stat: &Metadata) -> FileRights {
        FileRights { mode: stat.mode() & 0o7777, group: Some(stat.gid()) }
    }

    /// Gives them to `file`.
    ///
    /// # Errors
    /// What the system says. Where it does not let this process give the group away, the file is as before.
    pub(crate) fn set(self, file: &File) -> io::Result<()> {
        let before = FileRights::of(&file.metadata()?);
        let mut mode = before.mode;
        if let Some(group) = self.group.filter(|group| before.group != Some(*group)) {
            // While the group changes, only what both modes allow is allowed: the bits of one mode never
            // apply to the group of the other.
            if mode & self.mode != mode {
                set_mode(file, mode & self.mode)?;
            }
            if let Err(errno) = fchown(file, None, Some(Gid::from_raw(group))) {
                set_mode(file, before.mode)?;
                return Err(errno.into());
            }
            mode = file.metadata()?.mode() & 0o7777;
        }
        if mode == self.mode { Ok(()) } else { set_mode(file, self.mode) }
    }

    /// Gives them to `file`, as far as this process may. If the process may not change the group, the file
    /// gets only the permissions that hold for any group.
    ///
    /// # Errors
    /// What the system says otherwise.
    pub(crate) fn give(self, file: &File) -> io::Result<()> {
        match self.set(file) {
            Err(error) if self.group.is_some() && cannot_give(&error) => {
                set_mode(file, self.mode_without_group())
            }
            outcome => outcome,
        }
    }

    /// Whether a file has what [`FileRights::give`] would give it.
    pub(crate) fn are_of(self, stat: &Metadata) -> bool {
        let found = FileRights::of(stat);
        match self.group {
            Some(_) if found.group != self.group => found.mode == self.mode_without_group(),
            _ => found.mode == self.mode,
        }
    }

    /// The rights that both have.
    pub(crate) fn of_both(self, other: FileRights) -> FileRights {
        if self.group == other.group {
            return FileRights { mode: self.mode & other.mode, ..self };
        }
        FileRights { mode: self.mode_without_group() & other.mode_without_group(), group: None }
    }

    /// The bits of a file that has another group: what group and others both may.
    pub(crate) fn mode_without_group(self) -> u32 {
        let both = (self.mode >> 3) & self.mode & 0o7;
        self.mode & 0o700 | both << 3 | both
    }
}

/// Whether the group was refused: it is not this process's, or none at all in its user namespace, where the
/// files of a directory may have such a group.
fn cannot_give(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::EINVAL))
}

fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}
