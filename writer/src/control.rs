//! The control segment in the writer's hands: made, or taken over from the writer before.

#![allow(unsafe_code, reason = "maps the control segment for writing")]

use crate::clock;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::futex;
use crate::options::{ControlPlace, WriterOptions};
use memmap2::{Advice, MmapMut, MmapOptions};
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::Mode;
use parking_lot::Mutex;
use shared_memory::ShmemConf;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::ptr::NonNull;
use std::thread;
use waldo_shm_protocol::link::{LINK_LEN_MAX, Link};
use waldo_shm_protocol::segment::{Publisher, Segment, SegmentIdentity, Shape, WriterState, header_at};
use waldo_shm_protocol::{RingId, names};

/// Sleepers woken by one system call, with a yield between two. The notifier takes smaller groups and pauses, for the
/// sake of an appending thread; when these are woken, nobody appends yet, or any more.
const WAKE_GROUP: i32 = 64;

/// The mapped segment. Dropping it unmaps; the segment itself stays unless [`Control::remove`] is called.
pub(crate) struct Control {
    publisher: Publisher<'static>,
    /// What `publisher` looks into.
    map: MmapMut,
    link: Link,
    /// The segment that this one took the place of; its sleepers have not been woken yet.
    replaced: Mutex<Option<Box<Control>>>,
}

/// What became of the segment of the writer before.
enum Previous {
    /// It is good for this writer too.
    TakenOver(Control),
    /// It is this ring's, but of another shape or boot, or under another name.
    Replace(Control),
    /// There is none, or it is none of ours.
    Nothing,
}

impl Control {
    /// The writer's view. Bound to `self`, whose mapping it looks into.
    pub(crate) fn publisher(&self) -> &Publisher<'_> {
        &self.publisher
    }

    /// Takes over the segment of the writer before, if it is of the same shape, ring and boot; otherwise makes a new
    /// one and retires the old. On return the state is [`WriterState::Recovering`].
    pub(crate) fn open(
        disk: &dyn Disk,
        home: &Path,
        options: &WriterOptions,
        ring_id: RingId,
        shape: Shape,
    ) -> Result<Control, OpenError> {
        let stat = fs::metadata(home).map_err(OpenError::io("look at", home))?;
        let directory = [stat.dev(), stat.ino()];
        let link = match &options.control {
            ControlPlace::Posix => Link::Posix(posix_name(&ring_id, directory)),
            ControlPlace::Path(path) => Link::Path(path.to_string_lossy().into_owned()),
        };
        let refuse = |source: io::Error| OpenError::Control {
            name: name_of(&link).to_owned(),
            hint: match source.raw_os_error() {
                Some(libc::ENOSPC) => ". Give /dev/shm more room, or lower ring_size or index_capacity",
                Some(libc::EACCES | libc::EPERM) => ". Remove it if it is another user's left-over",
                _ => "",
            },
            source,
        };
        let identity = SegmentIdentity {
            ring_id,
            boot_id: boot_id().map_err(refuse)?,
            home: directory,
            instance: random_u64(),
        };
        let previous = read_link(home).unwrap_or_else(|| link.clone());
        let found = match open_writable(&previous) {
            Ok(file) => Control::look_at(&file, &previous, &link, shape, identity).map_err(refuse)?,
            Err(_) => Previous::Nothing,
        };
        let (control, replaced) = match found {
            Previous::TakenOver(control) => (control, None),
            Previous::Replace(control) => {
                (Control::make(&link, shape, identity, options).map_err(refuse)?, Some(control))
            }
            Previous::Nothing => (Control::make(&link, shape, identity, options).map_err(refuse)?, None),
        };
        // Seen alive from the first moment: readers wait for a writer that is about to say where the log ends.
        control.publisher.beat(clock::boottime_ns());
        control.publisher.set_state(WriterState::Recovering);
        write_link(disk, &link, options.mode).map_err(refuse)?;
        if let Some(replaced) = replaced {
            // Only now: who sees it finds the new one at once. And before anything is changed in the log's files.
            replaced.publisher.set_state(WriterState::Retired);
            if replaced.link != link {
                let _ = remove_object(&replaced.link);
            }
            *control.replaced.lock() = Some(Box::new(replaced));
        }
        Ok(control)
    }

    /// Makes a segment, in place of whatever bears its name.
    fn make(
        link: &Link,
        shape: Shape,
        identity: SegmentIdentity,
        options: &WriterOptions,
    ) -> io::Result<Control> {
        match remove_object(link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let map = create_object(link, shape.segment_len(), options.mode)?;
        let control = Control::over(map, link.clone(), shape);
        control.publisher.format(shape, identity);
        Ok(control)
    }

    fn over(map: MmapMut, link: Link, shape: Shape) -> Control {
        debug_assert!(map.len() as u64 >= shape.segment_len());
        let base = NonNull::from(&map[0]).cast::<u8>();
        // `map[0]` forms a reference to one byte only; the rest is reached through the map's own pointer.
        let base = NonNull::new(map.as_ptr().cast_mut()).unwrap_or(base);
        // SAFETY: the mapping is page-aligned and at least `segment_len` long, and it is owned by the same value
        // as the views, which never leave it for longer than a borrow (`publisher`). Other processes map the
        // object read-only; no one shrinks it (mode, and our name for it).
        let segment: Segment<'static> = unsafe { Segment::from_raw(base, shape) };
        // SAFETY: a MmapMut is mapped for writing.
        let publisher = unsafe { Publisher::new(segment) };
        Control { publisher, map, link, replaced: Mutex::new(None) }
    }

    fn look_at(
        file: &File,
        previous: &Link,
        link: &Link,
        shape: Shape,
        identity: SegmentIdentity,
    ) -> io::Result<Previous> {
        let stat = file.metadata()?;
        let ours = stat.is_file() && stat.uid() == nix::unistd::geteuid().as_raw();
        if !ours || stat.len() < 4096 {
            return Ok(Previous::Nothing);
        }
        // SAFETY: the object is ours (checked above), and nobody else maps it for writing: the ring's lock is held.
        let map = unsafe { MmapOptions::new().map_mut(file) }?;
        let Some(base) = NonNull::new(map.as_ptr().cast_mut()) else { return Ok(Previous::Nothing) };
        // SAFETY: page-aligned, at least 4096 bytes, all access atomic.
        let header = unsafe { header_at(base) };
        let Ok((found, owner)) = header.check(map.len() as u64) else { return Ok(Previous::Nothing) };
        if owner.ring_id == identity.ring_id && owner.home != identity.home && previous == link {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it belongs to the ring this one was copied from: name another path, or remove it if that ring is gone",
            ));
        }
        if owner.ring_id != identity.ring_id || owner.home != identity.home {
            return Ok(Previous::Nothing);
        }
        let control = Control::over(map, previous.clone(), found);
        let fits = owner.boot_id == identity.boot_id && found == shape && previous == link;
        Ok(if fits { Previous::TakenOver(control) } else { Previous::Replace(control) })
    }

    /// Wakes every sleeper, those on a segment that was replaced as well: for what happens once in a writer's life.
    /// Each has something to look up then, so they are let loose in groups; a lone reader is woken at once.
    pub(crate) fn wake_all(&self) {
        let replaced = self.replaced.lock().take();
        for control in replaced.as_deref().into_iter().chain([self]) {
            for n in 0..control.publisher.segment().wake_words() {
                let word = control.publisher.bump_wake(n);
                while futex::wake(word, WAKE_GROUP) == WAKE_GROUP as usize {
                    thread::yield_now();
                }
            }
        }
    }

    /// Has the kernel map all of the segment at once, before much of it is written: page by page it takes a quarter
    /// longer to fill. Without effect before Linux 5.14.
    pub(crate) fn populate(&self) {
        let _ = self.map.advise(Advice::PopulateWrite);
    }

    /// Takes the segment's name and the link away; those who have it mapped keep it.
    pub(crate) fn remove(&self, disk: &dyn Disk) {
        let _ = remove_object(&self.link);
        let _ = disk.remove(names::LINK);
    }
}

fn name_of(link: &Link) -> &str {
    match link {
        Link::Posix(name) | Link::Path(name) => name,
    }
}

/// Named after the ring and its directory, so that a copy of a ring gets a segment of its own.
fn posix_name(ring_id: &RingId, [device, inode]: [u64; 2]) -> String {
    let hex: String = ring_id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("/waldo-{hex}-{device:x}-{inode:x}")
}

fn read_link(home: &Path) -> Option<Link> {
    let content = fs::read(home.join(names::LINK)).ok()?;
    (content.len() <= LINK_LEN_MAX).then(|| Link::parse(&content).ok())?
}

fn write_link(disk: &dyn Disk, link: &Link, mode: u32) -> io::Result<()> {
    let scratch = format!("{}link", names::SCRATCH_PREFIX);
    let _ = disk.remove(&scratch);
    disk.create(&scratch, mode)?.write_all_at(link.render().as_bytes(), 0)?;
    disk.rename(&scratch, names::LINK)
}

fn open_writable(link: &Link) -> io::Result<File> {
    match link {
        Link::Posix(name) => Ok(File::from(shm_open(name.as_str(), OFlag::O_RDWR, Mode::empty())?)),
        Link::Path(path) => {
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path)
        }
    }
}

fn remove_object(link: &Link) -> io::Result<()> {
    match link {
        Link::Posix(name) => Ok(shm_unlink(name.as_str())?),
        Link::Path(path) => fs::remove_file(path),
    }
}

/// Makes the object and gives it its memory at once: without that, a full tmpfs would be a SIGBUS later.
fn create_object(link: &Link, len: u64, mode: u32) -> io::Result<MmapMut> {
    let outcome = allocate_object(link, len, mode);
    if outcome.is_err() {
        let _ = remove_object(link);
    }
    outcome
}

fn allocate_object(link: &Link, len: u64, mode: u32) -> io::Result<MmapMut> {
    let size = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    let file = match link {
        Link::Posix(name) => {
            let mut shmem = ShmemConf::new()
                .os_id(name)
                .size(size)
                .create()
                .map_err(|error| io::Error::other(error.to_string()))?;
            // The object outlives this handle; it is removed by name when its time has come.
            shmem.set_owner(false);
            File::from(shm_open(name.as_str(), OFlag::O_RDWR, Mode::empty())?)
        }
        Link::Path(path) => OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?,
    };
    file.set_permissions(Permissions::from_mode(mode))?;
    let bytes = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    fallocate(&file, FallocateFlags::empty(), 0, bytes)?;
    // SAFETY: an object just made with O_EXCL, of this length, which no one shrinks.
    unsafe { MmapOptions::new().len(size).map_mut(&file) }
}

/// The kernel's boot id, as sixteen bytes.
fn boot_id() -> io::Result<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(number.to_be_bytes())
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
