//! A mapped control segment.
#![allow(unsafe_code, reason = "forms references into the mapped control segment")]

use crate::error::AttachError;
use memmap2::{MmapOptions, MmapRaw};
use nix::fcntl::OFlag;
use nix::sys::mman::shm_open;
use nix::sys::stat::Mode;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use waldo_shm_protocol::RingId;
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::segment::{COMMITTED_OFFSET, Segment, SegmentFault, header_at};

/// A control segment, mapped read-only.
pub(crate) struct ControlMap {
    /// Points into `map`; never handed out for longer than `self` is borrowed.
    segment: Segment<'static>,
    instance: u64,
    object: Object,
    link: Link,
    /// Keeps the memory mapped; declared last, so dropped last.
    _map: MmapRaw,
}

/// Which inode a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    dev: u64,
    ino: u64,
}

/// An opened control segment that has not been looked into yet.
pub(crate) struct ControlFile {
    file: File,
    len: u64,
    pub(crate) object: Object,
    link: Link,
}

/// The segment's path in the file system, for messages.
pub(crate) fn path_of(link: &Link) -> PathBuf {
    match link {
        Link::Posix(name) => Path::new("/dev/shm").join(name.trim_start_matches('/')),
        Link::Path(path) => PathBuf::from(path),
    }
}

/// What a segment must have been made for: this boot, this directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here {
    pub(crate) boot_id: [u8; 16],
    pub(crate) home: [u64; 2],
}

impl ControlFile {
    /// Opens what `link` names, for reading only. `None` if it does not exist.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn open(link: Link) -> Result<Option<ControlFile>, AttachError> {
        let opened = match &link {
            Link::Posix(name) => shm_open(name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
                .map(File::from)
                .map_err(io::Error::from),
            // Not blocking: should the name lead to a pipe, opening it must not hang.
            Link::Path(path) => OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(path),
        };
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(AttachError::io(path_of(&link), error)),
        };
        let stat = file.metadata().map_err(|e| AttachError::io(path_of(&link), e))?;
        if !stat.is_file() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(AttachError::io(path_of(&link), error));
        }
        let object = Object { dev: stat.dev(), ino: stat.ino() };
        Ok(Some(ControlFile { file, len: stat.len(), object, link }))
    }

    /// Maps and checks it for ring `ring_id`. The inner error tells what is wrong with it.
    ///
    /// # Errors
    /// [`AttachError::Io`] if it cannot be mapped, [`AttachError::Control`] if its content is no good.
    pub(crate) fn map(self, ring_id: &RingId, here: &Here) -> Result<ControlMap, AttachError> {
        let path = path_of(&self.link);
        let fault = |fault| AttachError::Control { path: path.clone(), fault };
        if self.len < COMMITTED_OFFSET as u64 {
            return Err(fault(SegmentFault::TooShort { len: self.len }));
        }
        let len = usize::try_from(self.len).map_err(|_| fault(SegmentFault::Range))?;
        let map = MmapOptions::new()
            .len(len)
            .map_raw_read_only(&self.file)
            .map_err(|e| AttachError::io(&path, e))?;
        let base = NonNull::new(map.as_mut_ptr()).ok_or_else(|| fault(SegmentFault::Magic))?;
        // SAFETY: the mapping is page-aligned, at least 256 bytes long and lives as long as `map`; the writer
        // accesses it by atomics only. `header` does not outlive this function.
        let header = unsafe { header_at(base) };
        let (shape, identity) = header.check(self.len).map_err(fault)?;
        if identity.ring_id != *ring_id {
            return Err(fault(SegmentFault::ForeignRing));
        }
        if identity.boot_id != here.boot_id {
            return Err(fault(SegmentFault::Stale));
        }
        if identity.home != here.home {
            return Err(fault(SegmentFault::ForeignHome));
        }
        // SAFETY: page-aligned; `check` made sure that `shape.segment_len()` lies within the mapping. `'static` is a
        // stand-in for "as long as `map`", which moves into the same value; `ControlMap::segment` shortens it.
        let segment = unsafe { Segment::from_raw(base, shape) };
        Ok(ControlMap {
            segment,
            instance: identity.instance,
            object: self.object,
            link: self.link,
            _map: map,
        })
    }
}

impl ControlMap {
    /// What is in it.
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
