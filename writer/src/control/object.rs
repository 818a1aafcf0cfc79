//! Examining an object with a segment's name, without trusting its content; making and removing segments.

use super::boot;
use crate::disk::{Directory, FileRights, Object, is_leased, object_of, with_room};
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::Mode;
use shared_memory::{ShmemConf, ShmemError};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use waldo_shm_protocol::RingId;
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::segment::{SLOTS_OFFSET, SegmentFault, SegmentGeometry, SegmentIdentity};

/// A process that checks whether a segment is still in use has a lease on it for a moment.
const LEASE_PATIENCE: Duration = Duration::from_secs(5);

/// The first bytes of a segment: header, watermarks, status. Looked at in private memory.
pub(super) const HEAD_LEN: usize = 1024;

/// Where the home directory's path is: between the wake words and the page slots, ended by a zero. The path
/// shows whether that ring still exists.
pub(super) const HOME_PATH_OFFSET: u64 = 5120;
const HOME_PATH_MAX: usize = SLOTS_OFFSET - HOME_PATH_OFFSET as usize - 1;

/// What kind of object has a name.
#[derive(Debug)]
pub(super) enum Standing {
    Nothing,
    /// A segment of this ring, made for this directory, by this user or for root by anybody.
    Ours(Box<OwnSegment>),
    /// A segment of this ring that was made for another directory.
    Copy,
    /// A segment whose writer was killed while it made it.
    HalfMade(Object),
    /// Something else, and why it is left alone.
    Stranger(String),
}

/// A segment of ours, as its first bytes describe it.
#[derive(Debug)]
pub(super) struct OwnSegment {
    pub(super) file: File,
    pub(super) object: Object,
    pub(super) identity: SegmentIdentity,
    /// `None` if the segment is not as long as it says, or is damaged otherwise, and so cannot be mapped.
    pub(super) shape: Option<SegmentGeometry>,
    pub(super) head: Head,
}

/// What a segment's first bytes say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) shape: Result<SegmentGeometry, SegmentFault>,
    /// As stored, whether or not the rest is valid.
    pub(super) identity: SegmentIdentity,
    pub(super) magic: bool,
    pub(super) state: u32,
    pub(super) epoch: u32,
    pub(super) pid: u32,
    pub(super) heartbeat_ns: u64,
    pub(super) heartbeat_interval_ns: u64,
}

/// Named after the ring and its directory, so that a copy of a ring gets a segment of its own.
pub(super) fn posix_name(ring_id: &RingId, [device, inode]: Object) -> String {
    let hex: String = ring_id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("/waldo-{hex}-{device:x}-{inode:x}")
}

pub(super) fn path_of(link: &Link) -> PathBuf {
    match link {
        Link::Posix(name) => Path::new("/dev/shm").join(name.trim_start_matches('/')),
        Link::Path(path) => PathBuf::from(path),
    }
}

/// Opens what `link` names, whatever it is: never waits for a pipe, never follows a symbolic link. `None` if
/// there is nothing.
pub(super) fn open(link: &Link, write: bool) -> io::Result<Option<File>> {
    let begun = Instant::now();
    loop {
        let opened = with_room(|| match link {
            Link::Posix(name) => {
                let access = if write { OFlag::O_RDWR } else { OFlag::O_RDONLY };
                let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                Ok(File::from(shm_open(name.as_str(), flags, Mode::empty())?))
            }
            Link::Path(path) => OpenOptions::new()
                .read(true)
                .write(write)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(path),
        });
        match opened {
            Ok(file) => return Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if is_leased(&error) && begun.elapsed() < LEASE_PATIENCE => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// What kind of object has the name `link`, for the writer of `wanted` in directory `dir`.
pub(super) fn look_at(link: &Link, wanted: &SegmentIdentity, dir: &Directory) -> io::Result<Standing> {
    let (ring_id, home) = (&wanted.ring_id, wanted.home);
    let stranger = |why: String| Ok(Standing::Stranger(why));
    let file = match open(link, true) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Standing::Nothing),
        Err(error) => match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => {
                let owner = fs::symlink_metadata(path_of(link))
                    .map(|stat| format!(", which belongs to user {}", stat.uid()));
                return stranger(format!("this user may not write it{}", owner.unwrap_or_default()));
            }
            Some(libc::ELOOP) => return stranger("it is a symbolic link".into()),
            Some(libc::ENXIO) => return stranger("it is no regular file".into()),
            // shm_open says the latter.
            Some(libc::EISDIR | libc::EINVAL) => return stranger("it is a directory".into()),
            _ => return Err(error),
        },
    };
    let stat = file.metadata()?;
    if !stat.is_file() {
        return stranger("it is no regular file".into());
    }
    let user = nix::unistd::geteuid().as_raw();
    // The owner of the file can truncate it while it is mapped, or write anything into it.
    if stat.uid() != user && user != 0 {
        return stranger(format!("it belongs to user {}", stat.uid()));
    }
    let Some(head) = read_head(&file, stat.len())? else {
        return stranger(format!("it is no control segment ({} bytes)", stat.len()));
    };
    let blank = head.identity.ring_id == RingId::default();
    if !head.magic && (blank || head.identity.ring_id == *ring_id) && stat.uid() == user {
        return Ok(Standing::HalfMade([stat.dev(), stat.ino()]));
    }
    if head.identity.ring_id != *ring_id || !head.magic {
        let what =
            if head.magic { "it is the control segment of another ring" } else { "it is no control segment" };
        return stranger(what.into());
    }
    if head.identity.home != home && !is_renumbered(&file, &head.identity, wanted, dir) {
        return Ok(Standing::Copy);
    }
    if let Err(SegmentFault::Version { .. } | SegmentFault::Incompatible { .. }) = head.shape
        && matches!(link, Link::Path(_))
    {
        return stranger("another version of Waldo has made it".into());
    }
    // What another user can shorten is not mapped, not even by root.
    let shape = head.shape.ok().filter(|shape| shape.segment_len() <= stat.len() && stat.uid() == user);
    let object = [stat.dev(), stat.ino()];
    Ok(Standing::Ours(Box::new(OwnSegment { file, object, identity: head.identity, shape, head })))
}

/// Whether a segment on a disk is of this directory though that had another number: devices are numbered anew
/// when the machine starts.
fn is_renumbered(file: &File, then: &SegmentIdentity, now: &SegmentIdentity, dir: &Directory) -> bool {
    let known = ![then.boot_id, now.boot_id].contains(&boot::UNKNOWN);
    let rebooted = known && then.boot_id != now.boot_id && !boot::in_memory(file);
    rebooted
        && read_home_path(file)
            .is_some_and(|path| fs::canonicalize(dir.home()).is_ok_and(|home| home == path))
}

/// The first bytes, read and not mapped; `None` if there are fewer.
pub(super) fn read_head(file: &File, len: u64) -> io::Result<Option<Head>> {
    let mut bytes = [0; HEAD_LEN];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(Some(super::parse_head(&bytes, len))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The path of the home directory that a segment was made for; `None` if it does not say.
pub(super) fn read_home_path(file: &File) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let mut bytes = vec![0; HOME_PATH_MAX + 1];
    file.read_exact_at(&mut bytes, HOME_PATH_OFFSET).ok()?;
    bytes.truncate(bytes.iter().position(|byte| *byte == 0)?);
    let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
    path.is_absolute().then_some(path)
}

/// Writes down where the ring is, for the search for left-over segments. A path that is too long is left out.
pub(super) fn write_home_path(file: &File, home: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = fs::canonicalize(home).unwrap_or_default();
    let path = path.as_os_str().as_bytes();
    let mut bytes = vec![0; HOME_PATH_MAX + 1];
    if path.len() <= HOME_PATH_MAX {
        bytes[..path.len()].copy_from_slice(path);
    }
    file.write_all_at(&bytes, HOME_PATH_OFFSET)
}

/// Gives `file` all its memory: without that, a full tmpfs would be a SIGBUS later.
pub(super) fn allocate(file: &File, len: u64) -> io::Result<()> {
    let bytes = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(fallocate(file, FallocateFlags::empty(), 0, bytes)?)
}

/// Whether the name leads to `object`; true if that cannot be told.
pub(super) fn is_named(link: &Link, object: Object) -> bool {
    match fs::symlink_metadata(path_of(link)) {
        Ok(stat) => [stat.dev(), stat.ino()] == object,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Removes the name, if it still leads to `object`.
pub(super) fn remove(link: &Link, object: Object) -> io::Result<()> {
    match fs::symlink_metadata(path_of(link)) {
        Ok(stat) if [stat.dev(), stat.ino()] == object => match link {
            Link::Posix(name) => Ok(shm_unlink(name.as_str())?),
            Link::Path(path) => fs::remove_file(path),
        },
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a POSIX object, with all its memory. `AlreadyExists` if the name is taken.
pub(super) fn create_posix(name: &str, len: u64, rights: FileRights) -> io::Result<File> {
    let size = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    let system = |code: u32| io::Error::from_raw_os_error(i32::try_from(code).unwrap_or(libc::EIO));
    let made = with_room(|| {
        ShmemConf::new().os_id(name).size(size).create().map_err(|error| match error {
            ShmemError::MappingIdExists => io::ErrorKind::AlreadyExists.into(),
            ShmemError::MapCreateFailed(code) | ShmemError::UnknownOsError(code) => system(code),
            other => io::Error::other(other.to_string()),
        })
    });
    let mut made = made?;
    let finish = || -> io::Result<File> {
        let file = open(&Link::Posix(name.to_owned()), true)?.ok_or(io::ErrorKind::NotFound)?;
        // It has been ours for a moment only, but the name may lead elsewhere by now.
        let stat = file.metadata()?;
        if !stat.is_file() || stat.uid() != nix::unistd::geteuid().as_raw() || stat.len() != len {
            return Err(io::Error::other("it was replaced while it was made"));
        }
        rights.give(&file)?;
        allocate(&file, len)?;
        Ok(file)
    };
    let outcome = finish();
    // The object outlives this handle; it is removed by name when its time has come.
    made.set_owner(outcome.is_err());
    outcome
}

/// Makes a file with all its memory, which gets its name when it is complete: [`name_file`]. Until then the
/// file has another name in the same directory, one that no other ring uses.
pub(super) fn create_file(
    scratch: &Path,
    ours: &(RingId, Object),
    len: u64,
    rights: FileRights,
) -> io::Result<File> {
    let make = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FileRights::PRIVATE.mode)
            .custom_flags(libc::O_NOFOLLOW)
            .open(scratch)
    };
    let file = match with_room(make) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            remove_scratch(scratch, ours)?;
            make()?
        }
        outcome => outcome?,
    };
    let fill = || -> io::Result<()> {
        rights.give(&file)?;
        allocate(&file, len)
    };
    if let Err(error) = fill() {
        let _ = fs::remove_file(scratch);
        return Err(error);
    }
    Ok(file)
}

/// Left over from a writer of this ring that was killed while it made its segment. Empty, or it says so.
fn remove_scratch(scratch: &Path, (ring_id, home): &(RingId, Object)) -> io::Result<()> {
    let link = Link::Path(scratch.to_string_lossy().into_owned());
    let Some(file) = open(&link, true)? else { return Ok(()) };
    let stat = file.metadata()?;
    let head = read_head(&file, stat.len())?;
    let blank = head.is_none_or(|head| !head.magic && head.identity.ring_id == RingId::default());
    let ours = head.is_some_and(|head| head.identity.ring_id == *ring_id && head.identity.home == *home);
    if !stat.is_file() || !(blank || ours) {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} is in the way", scratch.display()),
        ));
    }
    remove(&link, object_of(&file)?)
}

/// Gives a complete file its name. Only `replaces` may be there before.
pub(super) fn name_file(scratch: &Path, path: &Path, replaces: Option<Object>) -> io::Result<()> {
    if let Some(object) = replaces
        && fs::symlink_metadata(path).is_ok_and(|stat| [stat.dev(), stat.ino()] == object)
    {
        return fs::rename(scratch, path);
    }
    let outcome = fs::hard_link(scratch, path);
    let _ = fs::remove_file(scratch);
    outcome
}
