//! The link file in the ring's directory, which leads readers to the segment.

use crate::disk::{Directory, Disk, FileRights};
use std::io::{self, Read};
use waldo_shm_protocol::link::{LINK_LEN_MAX, Link};
use waldo_shm_protocol::names;

/// What the link names; `None` if there is none that can be used.
pub(super) fn read(dir: &Directory) -> Option<Link> {
    let mut content = Vec::new();
    dir.open_to_read(names::LINK).ok()?.take(LINK_LEN_MAX as u64 + 1).read_to_end(&mut content).ok()?;
    (content.len() <= LINK_LEN_MAX).then(|| Link::parse(&content).ok())?
}

/// Replaces the link. On a full disk the old link, which no longer leads anywhere, has to make room.
pub(super) fn write(disk: &dyn Disk, link: &Link, rights: FileRights) -> io::Result<()> {
    match replace(disk, link, rights) {
        Err(error) if no_room(&error) => {
            let _ = disk.remove(names::LINK);
            replace(disk, link, rights)
        }
        outcome => outcome,
    }
}

fn replace(disk: &dyn Disk, link: &Link, rights: FileRights) -> io::Result<()> {
    let scratch = format!("{}link", names::SCRATCH_PREFIX);
    let _ = disk.remove(&scratch);
    let write = || {
        disk.create(&scratch, rights)?.write_all_at(link.render().as_bytes(), 0)?;
        disk.rename(&scratch, names::LINK)
    };
    write().inspect_err(|_| {
        // Half of it would only take room.
        let _ = disk.remove(&scratch);
    })
}

pub(super) fn no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
