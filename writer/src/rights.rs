//! Who may read a ring: the group and the permission bits of its directory, its files and its control
//! segment.
//!
//! Group and mode belong to the ring: new files and the segment get those of `ring.meta`. If a writer is
//! opened with others, it changes them before anything else:
//!
//! ```text
//! refuse_group  before a directory is made: may this process give a file to that group?
//! plan          lock taken, nothing changed: do directory and files belong to this user?
//! carry_out     directory --> link, pages --> flushed --> ring.meta --> flushed
//! ```
//!
//! The directory is changed first, so that users who are to lose access lose it at once, and new files get
//! the group. `ring.meta` comes last, when all else is durable, because new files follow it. If the writer is
//! killed in between, or the power fails, some files have the old rights and others the new ones; the next
//! opening with the same options completes the change.

mod names_of;
mod permitted;
#[cfg(test)]
mod tests;

pub use names_of::{UnknownGroup, group_id};

use crate::disk::{Directory, FileRights};
use crate::error::OpenError;
use crate::options::WriterOptions;
use names_of::{group_text, user_text};
use nix::libc::{S_IFMT, S_IFREG};
use nix::sys::stat::FileStat;
use nix::unistd::{getegid, geteuid, syncfs};
use permitted::{is_group, is_mine, is_user, keeps_set_group_id, may_give, may_regroup};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use waldo_shm_protocol::names;

/// Permission bits of the files of a ring that is made.
pub(crate) const DEFAULT_MODE: u32 = 0o640;
const SET_GROUP_ID: u32 = 0o2000;
const STICKY: u32 = 0o1000;

/// What the system's answers are about, for messages.
const CHANGE: &str = "change who may read";

/// Refuses if the options name a group that this process may not give to a file in `home`.
///
/// # Errors
/// [`OpenError::Rights`].
pub(crate) fn refuse_group(home: &Path, options: &WriterOptions) -> Result<(), OpenError> {
    match options.group.and_then(why_not_given) {
        Some(reason) => Err(OpenError::Rights { path: home.to_owned(), reason }),
        None => Ok(()),
    }
}

/// Why this process could not give a ring to `group`, and what to do; `None` if it could.
pub fn why_not_given(group: u32) -> Option<String> {
    if may_give(group) {
        return None;
    }
    if !is_group(group) {
        return Some(format!(
            "group {group} is none in this user namespace (/proc/self/gid_map does not have it), so that no file can be given \
             to it. Name another group, or have the namespace made with this one"
        ));
    }
    let (user, group) = (user_text(geteuid().as_raw()), group_text(group));
    Some(format!(
        "{user} is no member of {group}. Have the user added to the group (with systemd: SupplementaryGroups=), or name \
         another group"
    ))
}

/// The rights of the files of the ring in `dir`, which new files get too.
pub(crate) fn of_ring(dir: &Directory, options: &WriterOptions) -> Result<FileRights, OpenError> {
    let meta = meta_stat(dir)?;
    let rights = FileRights {
        mode: options.mode.or(meta.map(mode_of_ring)).unwrap_or(DEFAULT_MODE),
        group: options.group.or(meta.map(|meta| meta.st_gid)),
    };
    if let Some(group) = rights.group
        && rights.mode_without_group() != rights.mode
        && !may_give(group)
    {
        tracing::warn!(
            "{}: {} is no member of {}, which the ring's files belong to: that group cannot read the control segment, and \
             follows the files; nor can it read new pages, if it has them not from the directory's set-group-id bit",
            dir.home().display(),
            user_text(geteuid().as_raw()),
            group_text(group)
        );
    }
    Ok(rights)
}

/// The rights that the files of a new ring get.
pub(crate) fn of_new_ring(options: &WriterOptions) -> FileRights {
    FileRights { mode: options.mode.unwrap_or(DEFAULT_MODE), group: options.group }
}

/// The change of rights that an opening asks for.
#[derive(Debug)]
pub(crate) struct RightsChange {
    dir: Directory,
    /// `None` if the directory stays as it is.
    home: Option<FileRights>,
    files: FileRights,
    /// The files that have others, but for `ring.meta`.
    names: Vec<String>,
    /// Whether `ring.meta` has others.
    meta: bool,
}

impl RightsChange {
    /// Finds out what has to be changed in `dir`, whose lock the caller holds. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError::Rights`] if something is not this user's, and what the system says.
    pub(crate) fn plan(dir: &Directory, options: &WriterOptions) -> Result<RightsChange, OpenError> {
        let files = FileRights { mode: options.mode.unwrap_or(DEFAULT_MODE), group: options.group };
        let mut change = RightsChange { dir: dir.clone(), home: None, files, names: Vec::new(), meta: false };
        if options.mode.is_none() && options.group.is_none() {
            return Ok(change);
        }
        let meta = meta_stat(dir)?;
        change.files.mode = options.mode.or(meta.map(mode_of_ring)).unwrap_or(DEFAULT_MODE);
        change.home = plan_home(dir, meta, change.files)?;
        change.look_for_files()?;
        Ok(change)
    }

    /// Looks which of the ring's files have other rights than they are to have. What is no regular file is
    /// none of them: who opens the ring comes upon that without following a link. Nor is the lock, which
    /// nobody but its owner can open.
    fn look_for_files(&mut self) -> Result<(), OpenError> {
        let (dir, files) = (&self.dir, self.files);
        for name in dir.list().map_err(OpenError::io("list", dir.home()))? {
            if !matches!(&*name, names::META | names::LINK) && names::parse_page(&name).is_none() {
                continue;
            }
            let stat = dir.stat(&name).map_err(OpenError::io("look at", dir.path(&name)))?;
            let Some(stat) = stat.filter(|stat| stat.st_mode & S_IFMT == S_IFREG) else { continue };
            let group_differs = files.group.is_some_and(|group| group != stat.st_gid);
            if !group_differs && stat.st_mode & 0o7777 == files.mode {
                continue;
            }
            refuse_owner(&dir.path(&name), stat.st_uid)?;
            if let Some(group) = files.group {
                refuse_regrouping(&dir.path(&name), (stat.st_uid, stat.st_gid), group)?;
            }
            match &*name {
                names::META => self.meta = true,
                _ => self.names.push(name),
            }
        }
        self.names.sort();
        Ok(())
    }

    /// Changes what was found.
    ///
    /// # Errors
    /// What the system says. What has been changed by then stays.
    pub(crate) fn carry_out(&self) -> Result<(), OpenError> {
        let dir = &self.dir;
        if let Some(home) = self.home {
            home.set(dir.itself()).map_err(OpenError::io(CHANGE, dir.home()))?;
        }
        for name in &self.names {
            self.change(name)?;
        }
        // Also where only `ring.meta` is left: an opening that was killed may have changed all else, and the
        // disk may have none of it yet.
        if self.home.is_some() || self.meta || !self.names.is_empty() {
            // What a flush of `ring.meta` makes durable besides is up to the file system. This is all.
            syncfs(dir.itself())
                .map_err(io::Error::from)
                .map_err(OpenError::io("make durable what was changed in", dir.home()))?;
        }
        if self.meta {
            let meta = self.change(names::META)?;
            meta.sync_all().map_err(OpenError::io("flush", dir.path(names::META)))?;
        }
        Ok(())
    }

    fn change(&self, name: &str) -> Result<File, OpenError> {
        let change = || -> io::Result<File> {
            let file = self.dir.open_to_read(name)?;
            self.files.set(&file)?;
            Ok(file)
        };
        change().map_err(OpenError::io(CHANGE, self.dir.path(name)))
    }
}

/// The rights that the directory must get; `None` if it has them, or if this user may not change them and the
/// requested group and mode do not require the change.
fn plan_home(
    dir: &Directory,
    meta: Option<FileStat>,
    files: FileRights,
) -> Result<Option<FileRights>, OpenError> {
    let stat = dir.itself().metadata().map_err(OpenError::io("look at", dir.home()))?;
    let before = FileRights::of(&stat);
    let wanted = home_rights(&stat, meta, files);
    // Who may not give the set-group-id bit need not take it away: new files get their group without it, too.
    let bit_alone = FileRights { mode: wanted.mode | SET_GROUP_ID, ..wanted };
    if wanted == before || bit_alone == before {
        return Ok(None);
    }
    let is_others = !is_mine(stat.uid());
    let Some(group) = files.group else {
        // Only the mode of the files was asked for. The set-group-id bit is worth more than search bits:
        // without it new pages would be of another group.
        let keeps = wanted.mode & SET_GROUP_ID == 0 || keeps_set_group_id(stat.gid());
        return Ok((!is_others && keeps && before.mode & STICKY == 0).then_some(wanted));
    };
    let through = search_bits(files.mode);
    if is_others && before.group == Some(group) && before.mode & through == through {
        // All that the readers need, and new files get their group without its help.
        return Ok(None);
    }
    refuse_owner(dir.home(), stat.uid())?;
    refuse_regrouping(dir.home(), (stat.uid(), stat.gid()), group)?;
    if before.mode & STICKY != 0 {
        let reason =
            "it is a directory that users share (sticky bit). Choose one that is the ring's alone".into();
        return Err(OpenError::Rights { path: dir.home().to_owned(), reason });
    }
    Ok(Some(wanted))
}

/// The rights of the directory of a ring whose files are to have `files`: users who may read the files may
/// list the directory and search it, and no other user may.
fn home_rights(stat: &Metadata, meta: Option<FileStat>, files: FileRights) -> FileRights {
    let before = stat.mode() & 0o7777;
    let through = search_bits(files.mode);
    let new_files = if before & SET_GROUP_ID == 0 { getegid().as_raw() } else { stat.gid() };
    let of_files = files.group.or(meta.map(|meta| meta.st_gid)).unwrap_or(new_files);
    let of_home = files.group.unwrap_or(stat.gid());
    let mut mode = before | 0o700;
    if of_home == of_files {
        mode = mode & !0o055 | through;
    } else {
        // The bits for others are those that the files' group goes by.
        mode |= through & 0o007;
    }
    if files.group.is_some() {
        // Who may not give it gives new files their group one by one.
        mode = mode & !SET_GROUP_ID | if keeps_set_group_id(of_home) { SET_GROUP_ID } else { 0 };
    }
    if of_home != stat.gid() {
        // The options do not say that the new group may remove files.
        mode &= !0o020;
    }
    FileRights { mode, group: Some(of_home) }
}

/// Read and search bits for those of whom `mode` says that they may read.
fn search_bits(mode: u32) -> u32 {
    let read = mode & 0o044;
    read | read >> 2
}

fn mode_of_ring(meta: FileStat) -> u32 {
    meta.st_mode & 0o666 | 0o600
}

fn meta_stat(dir: &Directory) -> Result<Option<FileStat>, OpenError> {
    dir.stat(names::META).map_err(OpenError::io("look at", dir.path(names::META)))
}

/// Refuses if this process may not change the mode of what belongs to `owner`.
fn refuse_owner(path: &Path, owner: u32) -> Result<(), OpenError> {
    if is_mine(owner) {
        return Ok(());
    }
    Err(OpenError::Rights { path: path.to_owned(), reason: why_not_owned(owner) })
}

/// Refuses if this process may change the mode of what has this owner and group, but not the group.
fn refuse_regrouping(path: &Path, (owner, before): (u32, u32), group: u32) -> Result<(), OpenError> {
    if before == group || may_regroup(owner, before, group) {
        return Ok(());
    }
    let reason = match why_not_given(group) {
        Some(reason) => reason,
        None if is_group(before) => why_not_owned(owner),
        None => "its group is none in this user namespace (/proc/self/gid_map), and this user is no member of the new one: \
                 change it by chgrp outside of the namespace"
            .into(),
    };
    Err(OpenError::Rights { path: path.to_owned(), reason })
}

fn why_not_owned(owner: u32) -> String {
    if !is_user(owner) {
        return "it belongs to a user who is none in this user namespace (/proc/self/uid_map), so that nobody here can change \
                it: change it by chgrp and chmod outside of the namespace"
            .into();
    }
    format!(
        "it belongs to {}, and this is {}. Only its owner and root can change it: have one of them open the ring, or change \
         it by chgrp and chmod",
        user_text(owner),
        user_text(geteuid().as_raw())
    )
}
