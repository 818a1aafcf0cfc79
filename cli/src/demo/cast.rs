//! Starting the demo's writer and readers, with the arguments of each.

use super::plan::Plan;
use super::{Args, READER, WRITER};
use anyhow::Context;
use std::process::Stdio;
use waldo_harness::processes::group::ProcessGroup;
use waldo_harness::processes::work_dir::WorkDir;

/// Starts the writer. It waits for an order.
pub fn start_writer(
    crowd: &mut ProcessGroup,
    stage: &WorkDir,
    plan: &Plan,
    args: &Args,
    end_mark: &str,
) -> anyhow::Result<()> {
    let geometry = plan.geometry;
    let mut command = crowd.command(WRITER);
    command
        .arg(geometry.ring_size.to_string())
        .arg(geometry.page_len.to_string())
        .arg(geometry.window.to_string())
        .arg(plan.records.to_string())
        .arg(args.seconds.unwrap_or(0).to_string())
        .arg(args.rate.unwrap_or(0).to_string())
        .arg((!stage.kept()).to_string())
        .arg(end_mark)
        .arg(stage.board())
        .arg(stage.home())
        .args(&args.input);
    crowd.start_writer(&mut command)?;
    Ok(())
}

/// Starts reader number `reader`.
pub fn start_reader(
    crowd: &mut ProcessGroup,
    stage: &WorkDir,
    reader: usize,
    pace: u64,
    end_mark: &str,
) -> anyhow::Result<()> {
    let mut command = crowd.command(READER);
    command
        .arg(std::process::id().to_string())
        .arg(reader.to_string())
        .arg(pace.to_string())
        .arg(end_mark)
        .arg(stage.board())
        .arg(stage.home())
        .stdin(Stdio::null());
    crowd.start_reader(&mut command, reader).with_context(|| {
        format!(
            "cannot start reader process {}: if there are too many, see `ulimit -u`, \
             /proc/sys/kernel/pid_max and the memory limit",
            reader + 1
        )
    })?;
    Ok(())
}
