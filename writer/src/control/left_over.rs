//! Segments whose ring is gone: each takes a megabyte of /dev/shm until the next reboot. A writer removes
//! them before it makes a new segment.

use super::link_file;
use super::object::{self, OwnSegment, posix_name};
use crate::disk::{Directory, nobody_else_has};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::meta::{META_LEN, Meta};
use waldo_shm_protocol::segment::SegmentIdentity;
use waldo_shm_protocol::{RingId, names};

/// Objects that are looked at, so that opening a ring does not take long among many.
const LOOKED_AT_MAX: usize = 1024;

/// Removes this user's control segments (POSIX objects) whose directory is no longer at the path that they
/// name, and that no process has open or mapped: no writer, and no reader that waits for one. The kernel
/// tells the latter (a write lease), so it holds for processes in other containers too. A ring that was moved
/// gets a new segment.
pub(super) fn sweep() {
    sweep_directory(Path::new("/dev/shm"));
}

fn sweep_directory(shm: &Path) {
    let Ok(entries) = fs::read_dir(shm) else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names.filter(|name| name.starts_with("waldo-")).take(LOOKED_AT_MAX) {
        let link = Link::Posix(format!("/{name}"));
        match if_left_over(&link, true) {
            Ok(true) => tracing::info!("removed the control segment {name}: its ring is gone"),
            Ok(false) => {}
            Err(error) => tracing::debug!("left the control segment {name} alone: {error}"),
        }
    }
}

/// Whether the object is left over; with `remove` it goes then.
fn if_left_over(link: &Link, remove: bool) -> io::Result<bool> {
    let Some(file) = object::open(link, false)? else { return Ok(false) };
    let stat = file.metadata()?;
    if !stat.is_file() || stat.uid() != nix::unistd::geteuid().as_raw() {
        return Ok(false);
    }
    let Some(head) = object::read_head(&file, stat.len())? else { return Ok(false) };
    let Some(home) = object::read_home_path(&file) else { return Ok(false) };
    if !head.magic || !is_gone(&home, &head.identity) {
        return Ok(false);
    }
    let mut removed = Ok(());
    let unused = nobody_else_has(&file, &mut || {
        if remove {
            // Still in that proof: a writer that opens it by name now waits, and finds it gone.
            removed = object::remove(link, [stat.dev(), stat.ino()]);
        }
    })?;
    removed.map(|()| unused)
}

/// A POSIX object with the name of a control segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentEntry {
    /// Its name, without the slash.
    pub name: String,
    /// The memory that it takes, in bytes.
    pub bytes: u64,
    /// The user it belongs to.
    pub owner: u32,
    /// What it says; `None` if it cannot be read, or is no control segment.
    pub content: Option<SegmentContent>,
}

/// What a control segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentContent {
    /// The ring.
    pub ring_id: RingId,
    /// The directory that it was made for, when it was made.
    pub home: PathBuf,
    /// Whether that ring is certainly not there any more.
    pub is_gone: bool,
}

/// All of them, by name.
pub(crate) fn list() -> io::Result<Vec<SegmentEntry>> {
    Ok(segment_names()?.into_iter().filter_map(entry).collect())
}

fn entry(name: String) -> Option<SegmentEntry> {
    let link = Link::Posix(format!("/{name}"));
    let stat = fs::symlink_metadata(object::path_of(&link)).ok().filter(fs::Metadata::is_file)?;
    let content = claim(&link, stat.len()).map(|claim| {
        let is_gone = claim.is_gone();
        SegmentContent { ring_id: claim.identity.ring_id, home: claim.home, is_gone }
    });
    Some(SegmentEntry { name, bytes: stat.blocks() * 512, owner: stat.uid(), content })
}

/// The place of its ring that a control segment names. The place has not been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingClaim {
    home: PathBuf,
    identity: SegmentIdentity,
}

impl RingClaim {
    /// The directory that the segment was made for, when it was made.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Whether that ring is certainly not there any more. Waits for the disk that it is on.
    pub fn is_gone(&self) -> bool {
        is_gone(&self.home, &self.identity)
    }
}

/// Those of all segments that can be read.
pub(crate) fn claims() -> io::Result<Vec<RingClaim>> {
    let claim = |name: String| {
        let link = Link::Posix(format!("/{name}"));
        let stat = fs::symlink_metadata(object::path_of(&link)).ok().filter(fs::Metadata::is_file)?;
        claim(&link, stat.len())
    };
    Ok(segment_names()?.into_iter().filter_map(claim).collect())
}

fn claim(link: &Link, len: u64) -> Option<RingClaim> {
    let file = object::open(link, false).ok()??;
    let head = object::read_head(&file, len).ok()?.filter(|head| head.magic)?;
    Some(RingClaim { home: object::read_home_path(&file)?, identity: head.identity })
}

/// The names of all objects that may be segments, in order.
fn segment_names() -> io::Result<Vec<String>> {
    let entries = fs::read_dir("/dev/shm")?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("waldo-")).collect();
    names.sort();
    Ok(names)
}

/// Whether [`remove`] would remove the object of this name.
pub(crate) fn is_left_over(name: &str) -> io::Result<bool> {
    if_left_over(&Link::Posix(format!("/{name}")), false)
}

/// Removes the object of this name as [`sweep`] would. `false` if it is to stay.
pub(crate) fn remove(name: &str) -> io::Result<bool> {
    if_left_over(&Link::Posix(format!("/{name}")), true)
}

/// Removes the segment of the ring in `dir`, whose lock the caller holds: of this user, and made for this
/// ring (if that is known) in this directory. Gives its name.
pub(crate) fn remove_of(dir: &Directory, ring_id: Option<RingId>) -> io::Result<Option<String>> {
    let home = dir.object()?;
    let link = link_file::read(dir).or_else(|| Some(Link::Posix(posix_name(&ring_id?, home))));
    let Some(link) = link else { return Ok(None) };
    let Some(file) = object::open(&link, false)? else { return Ok(None) };
    let stat = file.metadata()?;
    if !stat.is_file() || stat.uid() != nix::unistd::geteuid().as_raw() {
        return Ok(None);
    }
    let head = object::read_head(&file, stat.len())?.filter(|head| head.magic && head.identity.home == home);
    if head.is_none_or(|head| ring_id.is_some_and(|ring_id| head.identity.ring_id != ring_id)) {
        return Ok(None);
    }
    object::remove(&link, [stat.dev(), stat.ino()])?;
    Ok(Some(object::path_of(&link).display().to_string()))
}

/// Whether the ring is certainly not at this path any more. Numbers of inodes are used again, so its
/// `ring.meta` is asked as well.
fn is_gone(path: &Path, ring: &SegmentIdentity) -> bool {
    let look = || -> std::io::Result<bool> {
        let dir = Directory::open(path)?;
        if dir.object()? != ring.home {
            return Ok(true);
        }
        let mut content = Vec::new();
        dir.open_to_read(names::META)?.take(META_LEN as u64 + 1).read_to_end(&mut content)?;
        Ok(Meta::check(&content).is_ok_and(|meta| meta.ring_id != ring.ring_id))
    };
    look().unwrap_or_else(|error| matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)))
}

/// The epoch that a segment names, if it can be one: the last million are out of reach of any number of
/// starts.
pub(super) fn plausible_epoch(found: &OwnSegment) -> u32 {
    if found.head.epoch < u32::MAX - (1 << 20) { found.head.epoch } else { 0 }
}
