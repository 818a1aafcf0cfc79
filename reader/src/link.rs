//! Where the link in a ring's directory leads, and what else a ring is recognised by.

use crate::checkpoint::parse_id;
use crate::control::{ControlFile, ControlMap, Here, Object};
use crate::error::AttachError;
use crate::options::AttachOptions;
use crate::pages;
use crate::source::{Attachment, Source, usable};
use crate::status::WriterStatus;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;
use waldo_shm_protocol::link::{LINK_LEN_MAX, Link};
use waldo_shm_protocol::meta::{META_LEN, Meta};
use waldo_shm_protocol::segment::{SegmentFault, WriterState};
use waldo_shm_protocol::{Position, RingId, names};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Looks at a segment that is just being made before it counts as no segment at all.
const INCOMPLETE_TRIES: u32 = 10;
const INCOMPLETE_PAUSE: Duration = Duration::from_millis(1);

/// What a look for a control segment came to.
pub(crate) enum Found {
    Usable(ControlMap),
    /// The one that was held already.
    Held,
    Unusable {
        retired: bool,
    },
    Nothing,
}

/// Follows the link, and maps what it leads to unless that is `held`.
pub(crate) fn open_control(
    home: &Path,
    ring_id: &RingId,
    here: &Here,
    options: &AttachOptions,
    held: Option<Object>,
) -> Result<Found, AttachError> {
    if options.files_only {
        return Ok(Found::Nothing);
    }
    let mut tries = 0;
    loop {
        let Some(link) = read_link(home)? else { return Ok(Found::Nothing) };
        let mapped = match ControlFile::open(link) {
            Ok(Some(file)) if Some(file.object) == held => return Ok(Found::Held),
            Ok(Some(file)) => file.map(ring_id, here),
            Ok(None) => return Ok(Found::Nothing),
            Err(error) => Err(error),
        };
        match mapped {
            Ok(control) if usable(&control, options) => return Ok(Found::Usable(control)),
            Ok(control) => {
                let retired = control.segment().status().state() == Some(WriterState::Retired);
                return Ok(Found::Unusable { retired });
            }
            Err(AttachError::Control { fault: SegmentFault::Stale | SegmentFault::ForeignHome, .. }) => {
                return Ok(Found::Nothing);
            }
            Err(error) if tries < INCOMPLETE_TRIES && passing(&error) => {
                tries += 1;
                std::thread::sleep(INCOMPLETE_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether a writer that is making the segment at this moment would explain what is wrong with it: its name
/// comes first, then its permissions and its length, then its content.
pub(crate) fn passing(error: &AttachError) -> bool {
    match error {
        AttachError::Control { fault, .. } => {
            matches!(fault, SegmentFault::Magic | SegmentFault::TooShort { .. })
        }
        AttachError::Io { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
        _ => false,
    }
}

/// Where the log ends, if a writer is running; `None` if none is, or nothing can be learned about it.
///
/// # Errors
/// If the system has no boot id.
pub(crate) fn live_end(home: &Path, ring_id: &RingId) -> Result<Option<Position>, AttachError> {
    let options = AttachOptions::default();
    let Ok(Found::Usable(control)) = open_control(home, ring_id, &read_here(home)?, &options, None) else {
        return Ok(None);
    };
    let committed = control.segment().committed();
    let attachment = Attachment::new(0, Source::Control(control), None);
    let live = matches!(attachment.writer(&options), Ok(WriterStatus::Live)) && !committed.is_none();
    Ok(live.then_some(committed))
}

/// The inode that the link leads to now.
pub(crate) fn held_object(home: &Path) -> Result<Option<Object>, AttachError> {
    let Some(link) = read_link(home)? else { return Ok(None) };
    Ok(ControlFile::open(link)?.map(|file| file.object))
}

fn read_link(home: &Path) -> Result<Option<Link>, AttachError> {
    let path = home.join(names::LINK);
    let mut bytes = [0; LINK_LEN_MAX + 1];
    match open(&path).and_then(|file| pages::read_at(&file, &mut bytes, 0)) {
        Ok(len) => match Link::parse(&bytes[..len]) {
            Ok(link) => Ok(Some(link)),
            Err(fault) => Err(AttachError::Link { path, fault }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AttachError::io(path, error)),
    }
}

pub(crate) fn read_meta(home: &Path) -> Result<Meta, AttachError> {
    let path = home.join(names::META);
    let mut bytes = vec![0; META_LEN + 1];
    match open(&path).and_then(|file| pages::read_at(&file, &mut bytes, 0)) {
        Ok(len) => Meta::check(&bytes[..len]).map_err(|fault| AttachError::Meta { path, fault }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(AttachError::NotARing { home: home.to_path_buf() })
        }
        Err(error) => Err(AttachError::io(path, error)),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK).open(path)
}

pub(crate) fn read_here(home: &Path) -> Result<Here, AttachError> {
    let text = std::fs::read_to_string(BOOT_ID).map_err(|e| AttachError::io(BOOT_ID, e))?;
    let boot_id =
        parse_id(&text).ok_or_else(|| AttachError::io(BOOT_ID, io::ErrorKind::InvalidData.into()))?;
    let stat = std::fs::metadata(home).map_err(|e| AttachError::io(home, e))?;
    Ok(Here { boot_id, home: [stat.dev(), stat.ino()] })
}
