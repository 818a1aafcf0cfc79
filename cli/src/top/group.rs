//! The process group, which a shell stops and resumes as a whole.

use anyhow::Context;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getppid, getsid};

/// Whether nobody would let this process go on if it were stopped: of the processes that this one descends
/// from, none outside its group is in its session. The system stops such a group as little at Ctrl-Z.
pub fn is_orphaned() -> bool {
    let (Ok(session), group) = (getsid(None), getpgrp()) else { return true };
    let mut parent = Some(getppid());
    while let Some(pid) = parent.filter(|pid| pid.as_raw() > 0) {
        if getsid(Some(pid)) != Ok(session) {
            return true;
        }
        match getpgid(Some(pid)) {
            Ok(other) if other == group => parent = parent_of(pid),
            other => return other.is_err(),
        }
    }
    true
}

/// Stops the whole group, as a terminal does: of a script that waits for this process, the shell would wait
/// on. Other threads may run on for a moment.
///
/// # Errors
/// What the system says.
pub fn stop_group() -> anyhow::Result<()> {
    killpg(getpgrp(), Signal::SIGSTOP).context("cannot stop this process group")
}

/// Stops this process alone, which is what SIGTSTP has been sent to.
///
/// # Errors
/// What the system says.
pub fn stop_process() -> anyhow::Result<()> {
    kill(getpid(), Signal::SIGSTOP).context("cannot stop this process")
}

/// The parent of a process; `None` if that cannot be told.
fn parent_of(pid: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok().map(Pid::from_raw)
}
