//! Whether a source's writer is alive, and whether the source's content is about to change.

use super::attachment::{Attachment, Source};
use super::standing::{alive, lively, settling, stall_limit, usable};
use crate::clock::jittered;
use crate::error::ReadError;
use crate::options::AttachOptions;
use crate::status::WriterStatus;
use std::time::{Duration, Instant};
use waldo_shm_protocol::segment::{SegmentFault, WriterState};

/// After a segment was retired, its successor is expected within this time.
const HANDOVER: Duration = Duration::from_secs(1);

impl Attachment {
    /// Whether the writer of this segment certainly runs, so that no other writer can.
    pub(crate) fn lively(&self) -> bool {
        matches!(&self.source, Source::Control(control) if lively(control))
    }

    /// Whether to wait for the successor of a retired segment that has none yet: for [`HANDOVER`] plus or
    /// minus up to half of it, from the first call on. `false` if the segment is not retired.
    pub(crate) fn should_await_successor(&self) -> bool {
        let now = Instant::now();
        self.retired() && now < *self.successor_due.get_or_init(|| now + jittered(HANDOVER))
    }

    /// Whether this is a retired segment whose successor was missing, and is still being waited for.
    pub(crate) fn awaits_successor(&self) -> bool {
        self.successor_due.get().is_some_and(|due| Instant::now() < *due) && self.retired()
    }

    /// Whether this segment may be out of date without a writer that updates it yet: it is retired and its
    /// successor is being waited for, or its writer still has to recover the files. A writer that was just
    /// killed counts as alive for a while; meanwhile the next writer, with a segment that is not visible from
    /// here, may trim the ring.
    pub(crate) fn is_unsettled(&self, options: &AttachOptions) -> bool {
        matches!(&self.source, Source::Control(control)
            if self.awaits_successor() || (settling(control) && alive(control, options)))
    }

    fn retired(&self) -> bool {
        matches!(&self.source, Source::Control(control)
            if control.segment().status().state() == Some(WriterState::Retired))
    }

    /// Whether a writer has published where the log ends, so that none is still reading the files.
    pub(crate) fn is_settled(&self) -> bool {
        match &self.source {
            Source::Control(control) => !settling(control),
            Source::Files(_) => true,
        }
    }

    /// Whether another writer than that of `epoch` has started and is still recovering the files. A writer
    /// that has not been seen alive for long does not count.
    pub(crate) fn is_being_mended(&self, epoch: u32, options: &AttachOptions) -> bool {
        match &self.source {
            Source::Control(_) if self.awaits_successor() => true,
            Source::Control(control) => {
                control.segment().status().epoch() != epoch && settling(control) && alive(control, options)
            }
            Source::Files(_) => false,
        }
    }

    /// Whether an empty log is really empty, and not just because its writer is still reading the files.
    pub(crate) fn is_empty_for_good(&self) -> bool {
        match &self.source {
            Source::Control(control) => control.segment().status().state() == Some(WriterState::Live),
            Source::Files(_) => true,
        }
    }

    /// Whether a writer has been seen alive lately.
    pub(crate) fn alive(&self, options: &AttachOptions) -> bool {
        matches!(&self.source, Source::Control(control) if alive(control, options))
    }

    /// Whether this can be followed at all.
    pub(crate) fn usable(&self, options: &AttachOptions) -> bool {
        match &self.source {
            Source::Control(control) => usable(control, options),
            Source::Files(_) => true,
        }
    }

    /// The writer's state.
    ///
    /// # Errors
    /// [`ReadError::Control`] if the state word is not valid.
    pub(crate) fn writer(&self, options: &AttachOptions) -> Result<WriterStatus, ReadError> {
        match &self.source {
            Source::Control(control) => {
                let status = control.segment().status();
                let seen = control.seen();
                let stalled = !seen.within(stall_limit(control, options.stalled_after));
                let age = seen.for_people();
                Ok(match status.state() {
                    Some(WriterState::Closed) => WriterStatus::Closed,
                    Some(WriterState::Failed) => {
                        WriterStatus::Failed { errno: i32::try_from(status.errno()).unwrap_or(i32::MAX) }
                    }
                    Some(WriterState::Live | WriterState::Recovering | WriterState::Init) if stalled => {
                        WriterStatus::Stalled { age }
                    }
                    Some(WriterState::Live) => WriterStatus::Live,
                    Some(_) => WriterStatus::Recovering,
                    None => {
                        return Err(ReadError::Control { path: control.path(), fault: SegmentFault::Range });
                    }
                })
            }
            Source::Files(_) if self.handover.is_some_and(|at| at.elapsed() < HANDOVER) => {
                Ok(WriterStatus::Recovering)
            }
            Source::Files(files) if files.closed() => Ok(WriterStatus::Closed),
            Source::Files(_) => Ok(WriterStatus::Absent),
        }
    }
}
