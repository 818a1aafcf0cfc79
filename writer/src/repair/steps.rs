//! Carrying out what was found.

use super::look::Found;
use super::{Action, Repair, backup, page};
use crate::disk::FileRights;
use crate::error::OpenError;
use crate::rights::DEFAULT_MODE;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use waldo_shm_protocol::meta::{META_LEN, Meta};
use waldo_shm_protocol::names;

/// Under this name a changed file is made. A writer removes it if it is left over.
fn scratch() -> String {
    format!("{}repair", names::SCRATCH_PREFIX)
}

pub(super) fn carry_out(home: &Path, found: Found, place: Option<&Path>) -> Result<Repair, OpenError> {
    let cannot_keep = OpenError::io("make the backup of", home);
    let backup = backup::make(home, place).map_err(cannot_keep)?;
    let mut report = found.report.clone();
    for action in &found.report.actions {
        let name = match action {
            Action::Exchange { from, .. } => from,
            Action::Remove { name, .. } | Action::Rewrite { name, .. } => name,
        };
        step(home, &found, action, &backup).map_err(OpenError::io("repair", home.join(name)))?;
    }
    report.backup = Some(backup);
    Ok(report)
}

fn step(home: &Path, found: &Found, action: &Action, backup: &Path) -> io::Result<()> {
    match action {
        Action::Exchange { from, to } => {
            let (from, to) = (home.join(from), home.join(to));
            if to.try_exists()? {
                renameat2(AT_FDCWD, &from, AT_FDCWD, &to, RenameFlags::RENAME_EXCHANGE)?;
            } else {
                fs::rename(&from, &to)?;
            }
        }
        Action::Remove { name, .. } => {
            backup::keep(&home.join(name), backup)?;
            fs::remove_file(home.join(name))?;
        }
        Action::Rewrite { name, .. } if name == names::META => {
            if home.join(name).try_exists()? {
                backup::keep(&home.join(name), backup)?;
            }
            replace(home, name, &meta_bytes(&found.meta))?;
        }
        Action::Rewrite { name, .. } => {
            let path = home.join(name);
            backup::keep(&path, backup)?;
            let id = names::parse_page(name);
            let at = id.and_then(|id| found.kept.binary_search_by_key(&id, |(run, _)| run.page).ok());
            let kept = at.and_then(|at| found.kept.get(at));
            if let (Some((run, seal)), Some(header)) = (kept, id.and_then(|id| found.headers.get(&id))) {
                let bytes = page::rebuild(&page::read(&path)?, header, run, *seal);
                replace(home, name, &bytes)?;
            }
        }
    }
    File::open(home)?.sync_all()
}

/// Puts a new file into the place of `name`, which the same people may read as the old one.
fn replace(home: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let (scratch, target) = (home.join(scratch()), home.join(name));
    let rights = rights_of(&target).or_else(|| rights_of_pages(home));
    match fs::remove_file(&scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(FileRights::PRIVATE.mode).open(&scratch)?;
    file.write_all(bytes)?;
    rights.unwrap_or(FileRights { mode: DEFAULT_MODE, group: None }).give(&file)?;
    file.sync_all()?;
    fs::rename(&scratch, &target)
}

fn rights_of(path: &Path) -> Option<FileRights> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map(|stat| FileRights::of(&stat))
}

/// For a file that is missing: nobody may read it who may not read every page. Some pages may have been made
/// before the ring's rights were narrowed, or be what somebody has changed by hand.
fn rights_of_pages(home: &Path) -> Option<FileRights> {
    let is_page = |name: &OsString| name.to_str().is_some_and(|name| names::parse_page(name).is_some());
    let names = fs::read_dir(home).ok()?.flatten().map(|entry| entry.file_name()).filter(is_page);
    let of_all = names.filter_map(|name| rights_of(&home.join(name))).reduce(FileRights::of_both)?;
    Some(FileRights { mode: of_all.mode & 0o666 | 0o600, ..of_all })
}

/// Both slots with the same content.
fn meta_bytes(meta: &Meta) -> Vec<u8> {
    let mut content = vec![0; META_LEN];
    for counter in [meta.counter + 1, meta.counter + 2] {
        let (at, slot) = Meta { counter, ..*meta }.encode();
        content[at as usize..at as usize + slot.len()].copy_from_slice(&slot);
    }
    content
}
