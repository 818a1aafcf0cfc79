//! Where the link in a ring's directory leads, and how else a ring is identified.

use crate::error::AttachError;
use crate::id_text::parse_id;
use crate::options::AttachOptions;
use crate::pages;
use crate::plain_file::{open_plain, plain};
use crate::source::control::{ControlFile, ControlMap, Here};
use crate::source::home::{Home, Object};
use crate::source::standing::{alive, follows, usable};
use nix::fcntl::OFlag;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use waldo_shm_protocol::link::{LINK_LEN_MAX, Link};
use waldo_shm_protocol::meta::{META_LEN, META_SLOT_LEN, Meta};
use waldo_shm_protocol::segment::{SegmentFault, WriterState};
use waldo_shm_protocol::{Position, RingId, names};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Looks at a segment that is just being made before it counts as no segment at all.
const INCOMPLETE_TRIES: u32 = 10;
const INCOMPLETE_PAUSE: Duration = Duration::from_millis(1);

/// The result of a search for a control segment.
pub(crate) enum ControlFound {
    Usable(Box<ControlMap>),
    /// The one that was held already.
    Held,
    Unusable {
        retired: bool,
    },
    Nothing,
}

/// A ring's metadata, and what was learned on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetaFound {
    pub(crate) meta: Meta,
    /// The last epoch that is written down. Not above [`Meta::epoch`], which allows for a lost slot.
    pub(crate) start: u32,
    pub(crate) owner: u32,
}

/// What a segment must be, so that readers may follow it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) ring_id: &'a RingId,
    pub(crate) here: Here,
    /// The writer's last epoch, if it is known.
    pub(crate) start: Option<u32>,
    pub(crate) options: &'a AttachOptions,
}

/// The segment looked at last, and its heartbeat at that time: one that changes from look to look is alive.
#[derive(Debug, Default)]
pub(crate) struct LastBeat(Mutex<Option<(u64, u64)>>);

impl LastBeat {
    /// Lets `control` know of the look before, and notes this one.
    fn compare(&self, control: &ControlMap) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((instance, beat)) = *last
            && instance == control.instance()
        {
            control.seen_since(beat);
        }
        *last = Some((control.instance(), control.segment().status().heartbeat_ns()));
    }
}

/// Follows the link, and maps what it leads to unless that is `held`.
pub(crate) fn open_control(
    home: &Home,
    wanted: &Wanted<'_>,
    held: Option<Object>,
    last: &LastBeat,
) -> Result<ControlFound, AttachError> {
    if wanted.options.files_only {
        return Ok(ControlFound::Nothing);
    }
    let mut tries = 0;
    loop {
        let Some(link) = read_link(home)? else { return Ok(ControlFound::Nothing) };
        let mapped = match ControlFile::open(link, &wanted.here) {
            Ok(Some(file)) if Some(file.object) == held => return Ok(ControlFound::Held),
            Ok(Some(file)) => file.map(wanted.ring_id, &wanted.here),
            Ok(None) => return Ok(ControlFound::Nothing),
            Err(error) => Err(error),
        };
        match mapped {
            Ok(control) => {
                last.compare(&control);
                if control.is_doubtful() && !alive(&control, wanted.options) {
                    return Ok(ControlFound::Nothing);
                }
                if usable(&control, wanted.options) && follows(&control, wanted.start, wanted.options) {
                    return Ok(ControlFound::Usable(Box::new(control)));
                }
                let retired = control.segment().status().state() == Some(WriterState::Retired);
                return Ok(ControlFound::Unusable { retired });
            }
            // Not a segment of this ring in this place and at this time: use the files without it.
            Err(AttachError::Control {
                fault: SegmentFault::Stale | SegmentFault::ForeignHome | SegmentFault::Owner { .. },
                ..
            }) => {
                return Ok(ControlFound::Nothing);
            }
            // Fewer may read it than the files, say where its writer could not give it to the files' group.
            Err(error) if denied_for_good(&error) => return Ok(ControlFound::Nothing),
            Err(error) if tries < INCOMPLETE_TRIES && passing(&error) => {
                tries += 1;
                std::thread::sleep(INCOMPLETE_PAUSE);
            }
            // That writer is slow, or was killed meanwhile. A reader that follows the files checks the link
            // again and again.
            Err(error) if unfinished(&error) || denied(&error) => return Ok(ControlFound::Nothing),
            Err(error) => return Err(error),
        }
    }
}

/// Whether the fault could be that a writer is making the segment at this moment: a new segment first gets
/// its name, then its permissions, its length and its memory, then its content.
pub(crate) fn passing(error: &AttachError) -> bool {
    match error {
        AttachError::Control { fault, .. } => {
            unfinished(error) || matches!(fault, SegmentFault::Magic | SegmentFault::Sparse { .. })
        }
        _ => denied(error),
    }
}

/// Whether this process may not read a segment that is past being made: its memory comes after its
/// permissions. (One in a file gets its name when it is complete.)
fn denied_for_good(error: &AttachError) -> bool {
    let AttachError::Io { path, .. } = error else { return false };
    denied(error) && !std::fs::symlink_metadata(path).is_ok_and(|stat| stat.blocks() == 0)
}

fn denied(error: &AttachError) -> bool {
    matches!(error, AttachError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

/// Whether its writer has not come to the end of making it.
fn unfinished(error: &AttachError) -> bool {
    use SegmentFault::{TooShort, Unfinished};
    matches!(error, AttachError::Control { fault: Unfinished | TooShort { .. }, .. })
}

/// Where the log ends, if a writer is running; `None` if none is, or if that cannot be found out.
///
/// # Errors
/// If the ring's directory cannot be opened.
pub(crate) fn live_end(home: &Path, ring_id: &RingId) -> Result<Option<Position>, AttachError> {
    let home = Home::open(home).map_err(|e| AttachError::io(home, e))?;
    let Ok(found) = read_meta_in(&home) else { return Ok(None) };
    let options = AttachOptions::default();
    let here = read_here(&home, found.owner);
    let wanted = Wanted { ring_id, here, start: Some(found.start), options: &options };
    let Ok(ControlFound::Usable(control)) = open_control(&home, &wanted, None, &LastBeat::default()) else {
        return Ok(None);
    };
    let committed = control.segment().committed();
    let live = control.segment().status().state() == Some(WriterState::Live) && alive(&control, &options);
    Ok(Some(committed).filter(|end| live && !end.is_none()))
}

/// The inode that the link leads to now.
pub(crate) fn linked_object(home: &Home, here: &Here) -> Result<Option<Object>, AttachError> {
    let Some(link) = read_link(home)? else { return Ok(None) };
    Ok(ControlFile::open(link, here)?.map(|file| file.object))
}

fn read_link(home: &Home) -> Result<Option<Link>, AttachError> {
    let path = || home.path().join(names::LINK);
    let mut bytes = [0; LINK_LEN_MAX + 1];
    match open_in(home, names::LINK).and_then(|file| pages::opening::read_at(&file, &mut bytes, 0)) {
        Ok(len) => match Link::parse(&bytes[..len]) {
            Ok(link) => Ok(Some(link)),
            Err(fault) => Err(AttachError::Link { path: path(), fault }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AttachError::io(path(), error)),
    }
}

/// The metadata of the ring in directory `home`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_meta(home: &Path) -> Result<Meta, AttachError> {
    read_meta_at(home).map(|found| found.meta)
}

/// The same, and more.
///
/// # Errors
/// As [`read_meta`].
pub(crate) fn read_meta_at(home: &Path) -> Result<MetaFound, AttachError> {
    check_meta(home, open_plain(&home.join(names::META)))
}

/// The same of the directory that is open.
///
/// # Errors
/// As [`read_meta`].
pub(crate) fn read_meta_in(home: &Home) -> Result<MetaFound, AttachError> {
    check_meta(home.path(), open_in(home, names::META))
}

fn check_meta(home: &Path, opened: io::Result<File>) -> Result<MetaFound, AttachError> {
    let path = home.join(names::META);
    let mut bytes = vec![0; META_LEN + 1];
    let read = opened.and_then(|file| {
        let len = pages::opening::read_at(&file, &mut bytes, 0)?;
        Ok((len, file.metadata()?.uid()))
    });
    match read {
        Ok((len, owner)) => match Meta::check(&bytes[..len]) {
            Ok(meta) => Ok(MetaFound { meta, start: last_start(&bytes).unwrap_or(meta.epoch), owner }),
            Err(fault) => Err(AttachError::Meta { path, fault }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(AttachError::NotARing { home: home.to_path_buf() })
        }
        Err(error) => Err(AttachError::io(path, error)),
    }
}

/// The highest epoch that a good slot names. [`Meta::check`] adds one if it does not know the other slot.
/// That is right for a writer, which needs an unused epoch, but here it would make the running writer look
/// like an earlier one.
fn last_start(bytes: &[u8]) -> Option<u32> {
    let slots = bytes.chunks_exact(META_SLOT_LEN).take(META_LEN / META_SLOT_LEN);
    slots.filter_map(|slot| Meta::check(&[slot, slot].concat()).ok()).map(|meta| meta.epoch).max()
}

/// Opens file `name` of the ring for reading, if it is one. Never waits.
fn open_in(home: &Home, name: &str) -> io::Result<File> {
    plain(home.open_file(name, OFlag::O_NONBLOCK)?)
}

/// What a segment must name in this place and at this time. `owner` is that of the ring's metadata.
pub(crate) fn read_here(home: &Home, owner: u32) -> Here {
    Here { boot_id: boot_id(), home: home.object().words(), owners: [home.owner(), owner] }
}

/// The number of this boot, where it can be read.
pub(crate) fn boot_id() -> Option<[u8; 16]> {
    // Asked for once: a process does not outlive a boot.
    static BOOT: OnceLock<Option<[u8; 16]>> = OnceLock::new();
    *BOOT.get_or_init(|| parse_id(&std::fs::read_to_string(BOOT_ID).ok()?))
}
