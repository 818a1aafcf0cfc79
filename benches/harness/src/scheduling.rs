//! The scheduling class of a thread that appends.

use anyhow::Context;
use waldo::writer::Scheduling;

/// Gives the calling thread, which appends, its scheduling. To be called when the writer's other threads run,
/// which would inherit it.
pub fn schedule_this_thread(scheduling: Scheduling) -> anyhow::Result<()> {
    if scheduling == Scheduling::Normal {
        return Ok(());
    }
    scheduling.apply().with_context(|| {
        format!(
            "cannot give the appending thread the scheduling {scheduling}: that takes CAP_SYS_NICE (in a unit file \
             `AmbientCapabilities=CAP_SYS_NICE`), or `ulimit -r` for realtime and `ulimit -e` for nice"
        )
    })
}
