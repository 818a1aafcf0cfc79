//! Whether a ring has a running writer: judged by its locks, or by its segment where the lock file is
//! missing.

use super::link_file;
use super::object::{self, Head, posix_name};
use crate::disk::Directory;
use crate::error::OpenError;
use crate::lock::WriterLock;
use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::segment::WriterState;
use waldo_shm_protocol::{RingId, names};

const PAUSE: Duration = Duration::from_millis(5);

/// Refuses if the ring in `dir` has a running writer. Changes nothing. `ring_id` is the ring's, if that is
/// known.
///
/// # Errors
/// [`OpenError::Locked`], and what the system says.
pub(crate) fn refuse_if_written(dir: &Directory, ring_id: Option<&RingId>) -> Result<(), OpenError> {
    WriterLock::refuse_if_held(dir)?;
    let lock = dir.object_at(names::LOCK).map_err(OpenError::io("look at", dir.path(names::LOCK)))?;
    match (lock, ring_id) {
        (None, Some(ring_id)) => refuse_if_alive(dir, ring_id),
        _ => Ok(()),
    }
}

/// Refuses if the heartbeat of a segment of this ring and directory still changes: its writer has lost its
/// lock file, and stops when it notices. The locks keep writers apart, not this check; the check can only
/// refuse.
pub(crate) fn refuse_if_alive(dir: &Directory, ring_id: &RingId) -> Result<(), OpenError> {
    let home = dir.object().map_err(OpenError::io("look at", dir.home()))?;
    let link = link_file::read(dir).unwrap_or_else(|| Link::Posix(posix_name(ring_id, home)));
    let Ok(Some(file)) = object::open(&link, false) else { return Ok(()) };
    let look = |file: &File| -> Option<Head> {
        let stat = file.metadata().ok().filter(|stat| stat.is_file())?;
        let head = object::read_head(file, stat.len()).ok()??;
        let ours = head.magic && head.identity.ring_id == *ring_id && head.identity.home == home;
        let state = WriterState::from_word(head.state);
        let running = [WriterState::Live, WriterState::Recovering].map(Some).contains(&state);
        (ours && running).then_some(head)
    };
    let Some(first) = look(&file) else { return Ok(()) };
    tracing::warn!(
        "{} was missing: looking whether a writer still beats in {}",
        dir.path(names::LOCK).display(),
        object::path_of(&link).display()
    );
    let interval = Duration::from_nanos(first.heartbeat_interval_ns)
        .clamp(Duration::from_millis(10), Duration::from_secs(10));
    let deadline = Instant::now() + interval * 3 + Duration::from_millis(200);
    while Instant::now() < deadline {
        let Some(now) = look(&file) else { return Ok(()) };
        if now.heartbeat_ns != first.heartbeat_ns {
            let holder = format!("process {}, whose lock file was removed or replaced,", now.pid);
            return Err(OpenError::Locked { path: dir.path(names::LOCK), holder });
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}
