//! The writer's control segment: made, or taken over from the previous writer.
//!
//! An object with a segment's name is not trusted before it is known to be a segment: [`object`] checks its
//! first bytes, in private memory, and its owner, type and length. Only then is the object mapped, and only
//! once all its memory is allocated.

#![allow(unsafe_code, reason = "maps the control segment for writing")]

mod boot;
pub(crate) mod left_over;
mod life;
mod link_file;
mod object;
#[cfg(test)]
mod tests;
mod wanted;

pub(crate) use life::{refuse_if_alive, refuse_if_written};

use crate::clock;
use crate::disk::{Directory, Disk, FileRights, Object, object_of};
use crate::error::OpenError;
use crate::options::ControlPlace;
use crate::waking;
use memmap2::{Advice, MmapMut, MmapOptions};
use object::{HEAD_LEN, Head, posix_name};
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::segment::{
    Publisher, SEGMENT_MAGIC, STATUS_OFFSET, Segment, SegmentGeometry, SegmentIdentity, WriterState,
    header_at,
};
use waldo_shm_protocol::{RingId, names};
use wanted::Wanted;
use zerocopy::IntoBytes;

/// Where the previous writer had its segment, and whether a segment is there now. A custom place that is gone
/// is forgotten.
pub(crate) fn place_before(dir: &Directory) -> (ControlPlace, bool) {
    let Some(link) = link_file::read(dir) else { return (ControlPlace::Posix, false) };
    let is_there = matches!(object::open(&link, false), Ok(Some(_)));
    match link {
        Link::Path(path) if is_there => (ControlPlace::Path(path.into()), true),
        _ => (ControlPlace::Posix, is_there),
    }
}

/// The mapped segment. Dropping it unmaps; the segment itself stays unless [`Control::remove`] is called.
pub(crate) struct Control {
    publisher: Publisher<'static>,
    /// What `publisher` looks into.
    map: MmapMut,
    link: Link,
    object: Object,
    rights: FileRights,
    /// The segment that this one took the place of; its sleepers have not been woken yet.
    replaced: Mutex<Option<Box<Control>>>,
    /// The highest epoch that a segment of this ring and directory names; 0 if there was none.
    epoch_seen: u32,
    /// There was no room for the link.
    unlinked: AtomicBool,
    /// The segment's name does not lead to it any more.
    nameless: AtomicBool,
}

impl Control {
    /// The writer's view. Bound to `self`, whose mapping it looks into.
    pub(crate) fn publisher(&self) -> &Publisher<'_> {
        &self.publisher
    }

    /// Takes over the segment of the previous writer, if it has the same geometry, ring and boot; otherwise
    /// makes a new one and retires the old one. On return the state is [`WriterState::Recovering`].
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Directory,
        place: &ControlPlace,
        rights: FileRights,
        ring_id: RingId,
        shape: SegmentGeometry,
    ) -> Result<Control, OpenError> {
        let home = dir.object().map_err(OpenError::io("look at", dir.home()))?;
        let link = match place {
            ControlPlace::Posix => Link::Posix(posix_name(&ring_id, home)),
            ControlPlace::Path(path) => Link::Path(path.to_string_lossy().into_owned()),
        };
        let identity = SegmentIdentity { ring_id, boot_id: boot::boot_id(), home, instance: random_u64() };
        let wanted = Wanted { link, identity, shape, rights, dir };
        let named = link_file::read(dir);
        let before = named.clone().unwrap_or_else(|| wanted.link.clone());
        let (mut control, replaced) = wanted.find_or_make(before)?;
        // Seen alive from the first moment: readers wait for a writer that is about to say where the log
        // ends.
        control.publisher.beat(clock::boottime_ns());
        control.publisher.set_state(WriterState::Recovering);
        if named.as_ref() != Some(&control.link) {
            match link_file::write(disk, &control.link, rights) {
                Err(error) if link_file::no_room(&error) => {
                    let path = disk.path(names::LINK);
                    tracing::warn!(
                        "no room for {}: readers follow the files until there is ({error})",
                        path.display()
                    );
                    *control.unlinked.get_mut() = true;
                }
                outcome => outcome.map_err(OpenError::io("write", disk.path(names::LINK)))?,
            }
        }
        if let Some(replaced) = replaced {
            // Only now, so that a reader that sees this state finds the new segment at once; and before the
            // files of the log are changed.
            replaced.publisher.set_state(WriterState::Retired);
            if replaced.link != control.link {
                let _ = object::remove(&replaced.link, replaced.object);
            }
            *control.replaced.lock() = Some(Box::new(replaced));
        }
        Ok(control)
    }

    /// The highest epoch that an earlier segment of this ring and directory named, 0 if there was none. The
    /// writer takes an epoch above it.
    pub(crate) fn epoch_seen(&self) -> u32 {
        self.epoch_seen
    }

    /// Makes the link if there was no room for it before, and warns once if the segment has lost its name. To
    /// be called now and then.
    pub(crate) fn look_after(&self, disk: &dyn Disk) {
        if self.unlinked.load(Ordering::Relaxed) && link_file::write(disk, &self.link, self.rights).is_ok() {
            self.unlinked.store(false, Ordering::Relaxed);
        }
        if !self.nameless.load(Ordering::Relaxed) && !object::is_named(&self.link, self.object) {
            self.nameless.store(true, Ordering::Relaxed);
            tracing::warn!(
                "the control segment {} was removed or replaced (systemd's RemoveIPC does that): readers that come now \
                 follow the files, until the writer is restarted",
                name_of(&self.link)
            );
        }
    }

    /// Maps `file`, which is a segment of this shape and has all its memory.
    fn map(file: &File, link: Link, shape: SegmentGeometry, rights: FileRights) -> io::Result<Control> {
        let len = usize::try_from(shape.segment_len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        if file.metadata()?.len() < shape.segment_len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let object = object_of(file)?;
        // SAFETY: the object is this user's and as long as it has to be, and nobody else of this user
        // shortens it: the ring's lock is held, and the object is a segment of this ring.
        let map = unsafe { MmapOptions::new().len(len).map_mut(file) }?;
        let base = NonNull::new(map.as_ptr().cast_mut()).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: the mapping is page-aligned and `segment_len` long, and it is owned by the same value
        // as the views, which never leave it for longer than a borrow (`publisher`). Other processes map the
        // object read-only; no one shrinks it (mode, and our name for it).
        let segment: Segment<'static> = unsafe { Segment::from_raw(base, shape) };
        // SAFETY: a MmapMut is mapped for writing.
        let publisher = unsafe { Publisher::new(segment) };
        let (replaced, unlinked, nameless) =
            (Mutex::new(None), AtomicBool::new(false), AtomicBool::new(false));
        Ok(Control { publisher, map, link, object, rights, replaced, epoch_seen: 0, unlinked, nameless })
    }

    /// Wakes every sleeper, those on a segment that was replaced first: for what happens once in a writer's
    /// life.
    pub(crate) fn wake_all(&self) {
        if let Some(replaced) = self.replaced.lock().take() {
            waking::wake_everybody(&replaced.publisher);
        }
        waking::wake_everybody(&self.publisher);
    }

    /// Has the kernel map all of the segment at once, before much of it is written: page by page it takes a
    /// quarter longer to fill. Without effect before Linux 5.14.
    pub(crate) fn populate(&self) {
        let _ = self.map.advise(Advice::PopulateWrite);
    }

    /// Removes the segment's name and the link; processes that have the segment mapped keep it.
    pub(crate) fn remove(&self, disk: &dyn Disk) {
        let _ = object::remove(&self.link, self.object);
        let _ = disk.remove(names::LINK);
    }
}

fn name_of(link: &Link) -> &str {
    match link {
        Link::Posix(name) | Link::Path(name) => name,
    }
}

/// What the first bytes of a file of `len` bytes say, if it is a segment.
fn parse_head(bytes: &[u8; HEAD_LEN], len: u64) -> Head {
    let mut words = [0u64; HEAD_LEN / 8];
    words.as_mut_bytes().copy_from_slice(bytes);
    // SAFETY: `words` is aligned to 8 and longer than 256 bytes, and nobody else has it.
    let header = unsafe { header_at(NonNull::from(&mut words).cast()) };
    let shape = header.check(len).map(|(shape, _)| shape);
    let identity = header.stored_identity();
    let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|n| bytes[STATUS_OFFSET + at + n]));
    let long = |at: usize| u64::from(number(at)) | u64::from(number(at + 4)) << 32;
    Head {
        magic: bytes.starts_with(&SEGMENT_MAGIC.to_le_bytes()),
        shape,
        identity,
        state: number(0),
        epoch: number(8),
        pid: number(12),
        heartbeat_ns: long(16),
        heartbeat_interval_ns: long(32),
    }
}

pub(crate) fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    // Every std HashMap is keyed from the same source; this one needs no dependency and no unsafe code.
    for half in bytes.chunks_exact_mut(8) {
        half.copy_from_slice(&random_u64().to_le_bytes());
    }
    bytes
}

fn random_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(crate::clock::boottime_ns());
    hasher.write_u32(std::process::id());
    hasher.finish()
}
