//! Whether a source's writer is there, and whether what the source says is about to change.

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
    /// Whether the writer of this segment is at work beyond doubt, so that no other can be.
    pub(crate) fn lively(&self) -> bool {
        matches!(&self.source, Source::Control(control) if lively(control))
    }

    /// To be asked when a retired segment has no successor yet: whether to wait for it. For [`HANDOVER`] give
    /// or take half of it, from the first time this is asked. `false` for what is not retired.
    pub(crate) fn should_await_successor(&self) -> bool {
        let now = Instant::now();
        self.retired() && now < *self.successor_due.get_or_init(|| now + jittered(HANDOVER))
    }

    /// Whether this is a retired segment whose successor has been looked for, and is still waited for.
    pub(crate) fn awaits_successor(&self) -> bool {
        self.successor_due.get().is_some_and(|due| Instant::now() < *due) && self.retired()
    }

    /// Whether what this segment says may be out of date with nobody to bring it up to date yet: it is
    /// retired and its successor is waited for, or a writer in it is to mend the files. If that writer has
    /// just been killed, it counts as alive for a while. Meanwhile the next writer, with a segment that
    /// cannot be seen from here, may trim the ring.
    pub(crate) fn is_unsettled(&self, options: &AttachOptions) -> bool {
        matches!(&self.source, Source::Control(control)
            if self.awaits_successor() || (settling(control) && alive(control, options)))
    }

    fn retired(&self) -> bool {
        matches!(&self.source, Source::Control(control)
            if control.segment().status().state() == Some(WriterState::Retired))
    }

    /// Whether a writer has published where the log ends: none is reading the files at this moment.
    pub(crate) fn is_settled(&self) -> bool {
        match &self.source {
            Source::Control(control) => !settling(control),
            Source::Files(_) => true,
        }
    }

    /// Whether another writer than that of start `epoch` has come that is mending the files now. One that has
    /// not been seen alive for long is not waited for.
    pub(crate) fn is_being_mended(&self, epoch: u32, options: &AttachOptions) -> bool {
        match &self.source {
            Source::Control(_) if self.awaits_successor() => true,
            Source::Control(control) => {
                control.segment().status().epoch() != epoch && settling(control) && alive(control, options)
            }
            Source::Files(_) => false,
        }
    }

    /// Whether an empty log is empty for good, and not because its writer is still reading the files.
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

    /// How the writer is.
    ///
    /// # Errors
    /// [`ReadError::Control`] if the state word makes no sense.
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
