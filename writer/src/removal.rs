//! Removing a ring, and nothing else.
//!
//! The metadata is removed first, in one step: from then on there is no ring, neither for readers, which
//! report that, nor for a writer. If the rest is interrupted, files remain that belong to no ring, and the
//! next run removes them. The lock is held from the beginning and its file is removed last, so that no writer
//! makes a ring among those files.

#[cfg(test)]
mod tests;

use crate::control::{left_over, refuse_if_alive, refuse_if_written};
use crate::disk::{Directory, object_of};
use crate::error::OpenError;
use crate::lock::WriterLock;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use thiserror::Error;
use waldo_shm_protocol::meta::{META_LEN, Meta};
use waldo_shm_protocol::page::{PAGE_MAGIC, PAGE_MAGIC_RETIRED, PageHeader};
use waldo_shm_protocol::{RingId, names};

/// Bytes of a page's header.
const HEADER_LEN: usize = 128;

/// First bytes of `ring.meta`, whatever else is wrong with the file.
const META_MAGIC: &[u8; 8] = b"WALDORG\n";

/// What is removed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// Names of the files, in the order of their removal.
    pub files: Vec<String>,
    /// The bytes that they take on the disk.
    pub bytes: u64,
    /// What else is in the directory and stays.
    pub left: Vec<String>,
    /// There is metadata: this is a ring, and not the remains of one.
    pub is_ring: bool,
    /// The control segment that was removed; a plan does not look for it.
    pub segment: Option<String>,
    /// The directory was empty then, and has been removed too.
    pub directory: bool,
}

/// Why a ring is not removed. Nothing has been removed then, except after [`RemovalError::Io`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RemovalError {
    /// The path leads over a symbolic link.
    #[error("{} is a symbolic link; name the directory that it leads to", .0.display())]
    Link(PathBuf),
    /// Another user's.
    #[error("{} belongs to user {owner}: only that user removes the ring", .home.display())]
    Owner {
        /// The directory.
        home: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// There is neither metadata nor a page.
    #[error("{}: no ring here, and no remains of one", .0.display())]
    NotARing(PathBuf),
    /// A writer lives, or the ring cannot be looked at.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file could not be removed.
    #[error("cannot remove {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Says what [`remove`] would do. Changes nothing. `extras` are names of files that belong to the ring's
/// user, a journal say, and go with it.
///
/// # Errors
/// [`RemovalError`], for example if the ring has a live writer.
pub fn plan(home: impl AsRef<Path>, extras: &[&str]) -> Result<Removal, RemovalError> {
    let (dir, _) = open(home.as_ref())?;
    let (removal, ring_id) = look(&dir, extras)?;
    refuse_if_written(&dir, ring_id.as_ref())?;
    Ok(removal)
}

/// Removes the ring in `home`, its control segment, and the directory if nothing else is in it.
///
/// # Errors
/// As [`plan`], and if a file cannot be removed; the next run continues.
pub fn remove(home: impl AsRef<Path>, extras: &[&str]) -> Result<Removal, RemovalError> {
    Unwritten::take(home.as_ref(), extras)?.remove()
}

/// Calls [`remove`] if `wanted` returns true. The writer's lock is held during that call, so no writer
/// appends between the answer and the removal. `None` if the ring stays, unchanged.
///
/// # Errors
/// As [`remove`].
pub fn remove_if(
    home: impl AsRef<Path>,
    extras: &[&str],
    wanted: impl FnOnce() -> bool,
) -> Result<Option<Removal>, RemovalError> {
    let ring = Unwritten::take(home.as_ref(), extras)?;
    if wanted() { ring.remove().map(Some) } else { ring.leave().map(|()| None) }
}

/// A ring whose lock is held: as long as this lives, no writer comes.
struct Unwritten {
    dir: Directory,
    path: PathBuf,
    lock: WriterLock,
    removal: Removal,
    ring_id: Option<RingId>,
}

impl Unwritten {
    fn take(home: &Path, extras: &[&str]) -> Result<Unwritten, RemovalError> {
        let (dir, path) = open(home)?;
        // Before the lock, which would be made.
        look(&dir, extras)?;
        let mut lock = WriterLock::take(&dir)?;
        lock.hold_meta()?;
        let (removal, ring_id) = look(&dir, extras)?;
        if let (true, Some(ring_id)) = (lock.was_missing(), &ring_id) {
            refuse_if_alive(&dir, ring_id)?;
        }
        Ok(Unwritten { dir, path, lock, removal, ring_id })
    }

    fn remove(self) -> Result<Removal, RemovalError> {
        let Unwritten { dir, path, lock, mut removal, ring_id } = self;
        let failed = |name: &str| {
            let path = dir.path(name);
            move |source| RemovalError::Io { path, source }
        };
        // As long as the link is there.
        let segment = left_over::remove_of(&dir, ring_id);
        for name in &removal.files {
            match dir.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(name)(error)),
                _ => {}
            }
            if name == names::META {
                dir.sync().map_err(failed(name))?;
            }
        }
        removal.segment = segment.map_err(failed(names::LINK))?;
        dir.sync().map_err(failed("."))?;
        drop(lock);
        let same = File::open(&path).and_then(|now| object_of(&now)).ok() == dir.object().ok();
        removal.directory = same && removal.left.is_empty() && fs::remove_dir(&path).is_ok();
        Ok(removal)
    }

    fn leave(self) -> Result<(), RemovalError> {
        if self.lock.was_missing() {
            let path = self.dir.path(names::LOCK);
            self.dir.remove(names::LOCK).map_err(|source| RemovalError::Io { path, source })?;
        }
        Ok(())
    }
}

/// The directory, and its path without links in the last place.
fn open(home: &Path) -> Result<(Directory, PathBuf), RemovalError> {
    let failed = |error| RemovalError::Open(OpenError::io("look at", home)(error));
    // Without a slash at the end, which would follow a link.
    let path: PathBuf = home.components().collect();
    let stat = fs::symlink_metadata(&path).map_err(failed)?;
    if stat.is_symlink() {
        return Err(RemovalError::Link(path));
    }
    let dir = Directory::open(&path).map_err(failed)?;
    if dir.object().map_err(failed)? != [stat.dev(), stat.ino()] {
        return Err(RemovalError::Link(path));
    }
    if stat.uid() != nix::unistd::geteuid().as_raw() {
        return Err(RemovalError::Owner { home: path, owner: stat.uid() });
    }
    Ok((dir, path))
}

/// What is in the directory, and whose ring that is.
fn look(dir: &Directory, extras: &[&str]) -> Result<(Removal, Option<RingId>), RemovalError> {
    let failed = |name: &str| {
        let path = dir.path(name);
        move |error| RemovalError::Open(OpenError::io("look at", &path)(error))
    };
    let (is_ring, ring_id) = match dir.open_to_read(names::META) {
        Ok(file) => {
            let mut content = Vec::new();
            file.take(META_LEN as u64 + 1).read_to_end(&mut content).map_err(failed(names::META))?;
            (content.starts_with(META_MAGIC), Meta::check(&content).ok().map(|meta| meta.ring_id))
        }
        Err(_) => (false, None),
    };
    let mut removal = Removal { is_ring, ..Removal::default() };
    let mut ranked = Vec::new();
    let mut pages = 0;
    for name in dir.list().map_err(failed("."))? {
        let rank = rank(&name, extras);
        // A link, a directory or another user's file under such a name is none of the ring's.
        let file = rank.and_then(|_| dir.open_to_read(&name).ok());
        let stat = file.as_ref().and_then(|file| file.metadata().ok());
        let (Some(rank), Some(mut file), Some(stat)) = (rank, file, stat) else {
            removal.left.push(name);
            continue;
        };
        if rank == Rank::Page {
            if !is_page_of(&mut file, stat.len(), is_ring, ring_id) {
                removal.left.push(name);
                continue;
            }
            pages += 1;
        }
        removal.bytes += stat.blocks() * 512;
        ranked.push((rank, name));
    }
    if !is_ring && pages == 0 {
        return Err(RemovalError::NotARing(dir.home().to_path_buf()));
    }
    ranked.sort();
    removal.left.sort();
    removal.files = ranked.into_iter().map(|(_, name)| name).collect();
    Ok((removal, ring_id))
}

/// The order in which files go. Names of pages sort as the pages do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Meta,
    Page,
    Extra,
    Scratch,
    Link,
    Lock,
}

fn rank(name: &str, extras: &[&str]) -> Option<Rank> {
    match name {
        names::META => Some(Rank::Meta),
        names::LINK => Some(Rank::Link),
        names::LOCK => Some(Rank::Lock),
        name if names::parse_page(name).is_some() => Some(Rank::Page),
        name if name.starts_with(names::SCRATCH_PREFIX) => Some(Rank::Scratch),
        name if extras.contains(&name) => Some(Rank::Extra),
        _ => None,
    }
}

/// Whether a file under a page's name is one of this ring: a damaged one goes with its ring, one of another
/// ring does not.
fn is_page_of(file: &mut File, len: u64, is_ring: bool, ring_id: Option<RingId>) -> bool {
    let mut head = [0; HEADER_LEN];
    let whole = file.read_exact(&mut head).is_ok();
    match PageHeader::check_any(&head, len) {
        Ok(header) if whole => ring_id.is_none_or(|ring_id| header.fields().ring_id == ring_id),
        _ => is_ring || [PAGE_MAGIC, PAGE_MAGIC_RETIRED].iter().any(|magic| head.starts_with(magic)),
    }
}
