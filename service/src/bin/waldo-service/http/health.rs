//! `/healthz`: whether every ring takes records.

use super::snapshot::RingSnapshot;
use crate::hosted::RingState;
use waldo::reader::WriterStatus;

/// Whether all is well.
///
/// # Errors
/// A line for each ring that is not.
pub fn check(rings: &[RingSnapshot]) -> Result<(), String> {
    let faults: String = rings.iter().filter_map(fault).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn fault(ring: &RingSnapshot) -> Option<String> {
    let name = &ring.view.name;
    match (&ring.state, &ring.status) {
        (RingState::Failed(why), _) => Some(format!("ring {name}: {why}\n")),
        (RingState::Opening, _) => Some(format!("ring {name}: it is being opened\n")),
        (RingState::Stopped, _) => Some(format!("ring {name}: it has been closed\n")),
        (RingState::Serving, None) => Some(format!("ring {name}: its status cannot be read\n")),
        (RingState::Serving, Some(status)) if status.writer != WriterStatus::Live => {
            Some(format!("ring {name}: its writer is {}\n", status.writer))
        }
        (RingState::Serving, Some(_)) => None,
    }
}
