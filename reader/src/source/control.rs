//! A mapped control segment.
#![allow(unsafe_code, reason = "forms references into the mapped control segment")]

use crate::error::AttachError;
use crate::pages::opening::read_at;
use crate::source::home::Object;
use crate::source::pulse::{Pulse, Seen};
use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::OFlag;
use nix::sys::mman::shm_open;
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, HUGETLBFS_MAGIC, TMPFS_MAGIC, fstatfs};
use nix::unistd::geteuid;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use waldo_shm_protocol::RingId;
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::segment::{COMMITTED_OFFSET, Segment, SegmentFault, SegmentHeader, header_at};

/// The boot id of a segment whose writer could not read it.
const UNKNOWN_BOOT: [u8; 16] = [0; 16];

/// A control segment, mapped read-only.
pub(crate) struct ControlMap {
    /// Points into `map`; never handed out for longer than `self` is borrowed.
    segment: Segment<'static>,
    instance: u64,
    object: Object,
    link: Link,
    /// Whether nothing but a writer that is seen alive says that this segment is of this boot.
    doubtful: bool,
    pulse: Pulse,
    /// Keeps the memory mapped; declared last, so dropped last.
    _map: MmapRaw,
}

/// An opened control segment whose content has not been read yet.
pub(crate) struct ControlFile {
    file: File,
    stat: Metadata,
    pub(crate) object: Object,
    link: Link,
}

/// The segment's path in the file system.
pub(crate) fn path_of(link: &Link) -> PathBuf {
    match link {
        Link::Posix(name) => Path::new("/dev/shm").join(name.trim_start_matches('/')),
        Link::Path(path) => PathBuf::from(path),
    }
}

/// The ring, boot and owner that a segment must have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here {
    /// `None` if it cannot be read: `/proc` may be masked.
    pub(crate) boot_id: Option<[u8; 16]>,
    pub(crate) home: [u64; 2],
    /// Owners of the ring's directory and of its metadata.
    pub(crate) owners: [u32; 2],
}

impl Here {
    /// Whether a segment may belong to this user: another user could give it any content, and truncate it
    /// while it is mapped, which would end this process.
    fn trusts(&self, uid: u32) -> bool {
        uid == 0 || uid == geteuid().as_raw() || self.owners.contains(&uid)
    }
}

impl ControlFile {
    /// Opens the object that `link` names, read-only. `None` if it does not exist. Never blocks, whatever
    /// kind of file it is.
    ///
    /// # Errors
    /// [`SegmentFault::Owner`] if it belongs to another user, and what the system says.
    pub(crate) fn open(link: Link, here: &Here) -> Result<Option<ControlFile>, AttachError> {
        let path = path_of(&link);
        let io = |e| AttachError::io(&path, e);
        // Check the owner first: another user may have put a link there, or an object that opening changes.
        match std::fs::symlink_metadata(&path) {
            Ok(stat) => judge(&stat, here, &path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        }
        let opened = match &link {
            // What it is has been looked at, but may be something else by now: never to block on a pipe.
            Link::Posix(name) => {
                let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
                shm_open(name.as_str(), flags, Mode::empty()).map(File::from).map_err(io::Error::from)
            }
            Link::Path(path) => OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(path),
        };
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let stat = file.metadata().map_err(io)?;
        judge(&stat, here, &path)?;
        let object = Object::of(&stat);
        Ok(Some(ControlFile { file, stat, object, link }))
    }

    /// Maps the segment and checks it for ring `ring_id`. The inner error says what is wrong with the
    /// segment.
    ///
    /// # Errors
    /// [`AttachError::Io`] if it cannot be mapped, [`AttachError::Control`] if its content is not valid.
    pub(crate) fn map(self, ring_id: &RingId, here: &Here) -> Result<ControlMap, AttachError> {
        let path = path_of(&self.link);
        let fault = |fault| AttachError::Control { path: path.clone(), fault };
        // Read before it is mapped: where a tmpfs has no memory for a page, a read gives zeros, and a look at
        // a mapping ends the process.
        let mut bytes = [0; size_of::<SegmentHeader>()];
        let got = read_at(&self.file, &mut bytes, 0).map_err(|e| AttachError::io(&path, e))?;
        if got < bytes.len() || self.stat.len() < COMMITTED_OFFSET as u64 {
            return Err(fault(SegmentFault::TooShort { len: self.stat.len() }));
        }
        let (shape, identity) = SegmentHeader::from_bytes(&bytes).check(self.stat.len()).map_err(fault)?;
        if identity.ring_id != *ring_id {
            return Err(fault(SegmentFault::ForeignRing));
        }
        // What is in memory only does not outlive a boot. A boot id is needed to tell that of a file on a
        // disk. Of one in memory that names another boot, nothing is known: in a container the kernel's
        // number may be hidden behind another.
        let in_memory = in_memory(&self.file);
        let named = here.boot_id == Some(identity.boot_id) && identity.boot_id != UNKNOWN_BOOT;
        if !named && !in_memory {
            return Err(fault(SegmentFault::Stale));
        }
        if identity.home != here.home {
            return Err(fault(SegmentFault::ForeignHome));
        }
        let (allocated, len) = (self.stat.blocks().saturating_mul(512), shape.segment_len());
        if in_memory && allocated < len {
            return Err(fault(SegmentFault::Sparse { allocated, len }));
        }
        let len = usize::try_from(len).map_err(|_| fault(SegmentFault::Range))?;
        let map = MmapOptions::new()
            .len(len)
            .map_raw_read_only(&self.file)
            .map_err(|e| AttachError::io(&path, e))?;
        let base = NonNull::new(map.as_mut_ptr()).ok_or_else(|| fault(SegmentFault::Magic))?;
        // SAFETY: the mapping is page-aligned, longer than 256 bytes and lives as long as `map`; the writer
        // accesses it by atomics only. `header` does not outlive this function.
        let header = unsafe { header_at(base) };
        // What was read may have been half of what the writer stored. This look is in the writer's order, and
        // what it gives is the same or not used.
        if header.check(self.stat.len()).map_err(fault)? != (shape, identity) {
            return Err(fault(SegmentFault::Magic));
        }
        // SAFETY: page-aligned; the mapping is `shape.segment_len()` bytes long. `'static` is a stand-in for
        // "as long as `map`", which moves into the same value; `ControlMap::segment` shortens it.
        let segment = unsafe { Segment::from_raw(base, shape) };
        Ok(ControlMap {
            segment,
            instance: identity.instance,
            object: self.object,
            link: self.link,
            doubtful: !named && here.boot_id.is_some() && identity.boot_id != UNKNOWN_BOOT,
            pulse: Pulse::new(segment.status().heartbeat_ns()),
            _map: map,
        })
    }
}

/// Whether it can be a segment of this ring, as far as the system knows.
fn judge(stat: &Metadata, here: &Here, path: &Path) -> Result<(), AttachError> {
    if !here.trusts(stat.uid()) {
        let fault = SegmentFault::Owner { uid: stat.uid() };
        return Err(AttachError::Control { path: path.to_path_buf(), fault });
    }
    if !stat.is_file() {
        return Err(AttachError::io(path, io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    Ok(())
}

/// Whether a file is kept in memory only.
fn in_memory(file: &File) -> bool {
    /// The number of a ramfs, which has no name in the library.
    const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
    fstatfs(file)
        .is_ok_and(|stat| [TMPFS_MAGIC, RAMFS_MAGIC, HUGETLBFS_MAGIC].contains(&stat.filesystem_type()))
}

impl ControlMap {
    /// Access to the segment.
    #[inline(always)]
    pub(crate) fn segment(&self) -> &Segment<'_> {
        &self.segment
    }

    pub(crate) fn object(&self) -> Object {
        self.object
    }

    pub(crate) fn instance(&self) -> u64 {
        self.instance
    }

    /// Whether the segment names another boot than this one. Then it may be followed only while its writer is
    /// seen alive.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// When the writer was last seen alive.
    pub(crate) fn seen(&self) -> Seen {
        self.pulse.look(self.segment.status().heartbeat_ns())
    }

    /// The same, if this was its heartbeat when this process looked at it before.
    pub(crate) fn seen_since(&self, before: u64) -> Seen {
        self.pulse.look(before);
        self.seen()
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    pub(crate) fn path(&self) -> PathBuf {
        path_of(&self.link)
    }
}

impl std::fmt::Debug for ControlMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlMap").field("link", &self.link).finish_non_exhaustive()
    }
}
