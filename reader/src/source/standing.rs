//! The standing of a control segment: whether it can be followed, whether it belongs to the writer's last
//! epoch, and whether that writer is alive.

use crate::options::AttachOptions;
use crate::source::control::ControlMap;
use std::time::Duration;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::segment::WriterState;

/// A writer seen alive this lately is at work. No option of the writer's is in it: one that is only slow to
/// say so costs looks.
const LIVELY: Duration = Duration::from_secs(1);
/// A heartbeat interval above this is taken for nonsense.
const INTERVAL_MAX_NS: u64 = 60_000_000_000;

/// Whether the segment can be followed. A segment that is out of use, or whose writer ended before it
/// published anything, says less than the files do.
pub(crate) fn usable(control: &ControlMap, options: &AttachOptions) -> bool {
    let nothing = control.segment().committed() == Position::NONE;
    match control.segment().status().state() {
        Some(WriterState::Retired) => false,
        Some(WriterState::Closed | WriterState::Failed) => !nothing,
        Some(WriterState::Init | WriterState::Recovering) => !nothing || alive(control, options),
        // Nonsense is for the reader to report.
        _ => true,
    }
}

/// Whether the segment's writer has not yet published where the log ends: the positions are still its
/// predecessor's.
pub(crate) fn settling(control: &ControlMap) -> bool {
    matches!(control.segment().status().state(), Some(WriterState::Init | WriterState::Recovering))
}

/// Whether the segment says that a writer is running. It still says so after the writer was killed.
pub(crate) fn runs(control: &ControlMap) -> bool {
    settling(control) || control.segment().status().state() == Some(WriterState::Live)
}

/// Whether a writer that says it runs has been seen alive lately.
pub(crate) fn alive(control: &ControlMap, options: &AttachOptions) -> bool {
    runs(control) && control.seen().within(stall_limit(control, options.stalled_after))
}

/// Whether a writer that says it runs certainly does, so that no other writer can.
pub(crate) fn lively(control: &ControlMap) -> bool {
    runs(control) && control.seen().within(LIVELY)
}

/// Whether the results of [`follows`] and [`alive`] cannot change by the passing of time alone: the writer is
/// running, or has been silent for so long that it counts as gone.
pub(crate) fn settled(control: &ControlMap, options: &AttachOptions) -> bool {
    lively(control) || !alive(control, options)
}

/// Whether the segment belongs to the writer's last epoch, `start`, and not to an earlier one.
///
/// A writer that starts writes its epoch to the ring's metadata before it says in a segment that it runs, and
/// it never says so with another epoch. So a segment that says "runs", "closed" or "failed" with a lower
/// epoch than the metadata, which has to be read first, belongs to a writer that is gone, whatever its
/// heartbeat says. A higher epoch than the metadata's, of a writer that is not alive, means that the files
/// have been put back to an earlier state.
///
/// Only a writer that still reads the files may have its epoch in the metadata and not yet in its segment.
/// Such a writer must have been seen alive within the last second ([`lively`]). It is not enough that a dead
/// writer does not count as stalled yet: the log would stand still for that long.
pub(crate) fn follows(control: &ControlMap, start: Option<u32>, options: &AttachOptions) -> bool {
    let Some(start) = start else { return true };
    let status = control.segment().status();
    // Load the state first: a reader that sees the state sees the epoch that belongs to it.
    let state = status.state();
    let epoch = status.epoch();
    match state {
        Some(WriterState::Init | WriterState::Recovering) => epoch >= start || lively(control),
        Some(WriterState::Live) => epoch == start || (epoch > start && alive(control, options)),
        Some(WriterState::Closed | WriterState::Failed) => epoch == start,
        // Out of use, or nonsense that is for the reader to report.
        Some(_) | None => true,
    }
}

/// How long a writer may be silent before it counts as stalled.
pub(crate) fn stall_limit(control: &ControlMap, stalled_after: Duration) -> Duration {
    let interval = control.segment().status().heartbeat_interval_ns().min(INTERVAL_MAX_NS);
    stalled_after.max(Duration::from_nanos(interval * 8))
}
