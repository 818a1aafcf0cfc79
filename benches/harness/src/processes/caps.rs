//! How many processes this machine has room for, and which limit decides that.

use super::memory::MachineMemory;
use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit};
use std::path::{Path, PathBuf};
use waldo_terminal::failure::Usage;
use waldo_terminal::notice;
use waldo_terminal::units;

/// KiB that a reader process takes, kernel memory included; more than measured, so that the machine stays
/// usable.
const READER_KIB: u64 = 480;
/// Processes left to others.
const SPARE: u64 = 300;

/// One thing that there is not enough of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cap {
    room: u64,
    /// What limits, and how to raise it.
    what: String,
}

/// How many of the requested reader processes can be started. Says on standard error which limit reduces
/// their number, if any.
pub fn readers(asked: u32) -> anyhow::Result<usize> {
    let asked = u64::from(asked);
    let Some(cap) = all()?.into_iter().min_by_key(|cap| cap.room) else { return Ok(asked as usize) };
    if cap.room == 0 {
        return Err(Usage(format!("there is no room for a single reader process: {}", cap.what)).into());
    }
    if cap.room < asked {
        notice!(
            "waldo: {} reader processes do not fit, going on with {}: {}",
            units::count(asked),
            units::count(cap.room),
            cap.what
        );
    }
    Ok(asked.min(cap.room) as usize)
}

fn all() -> anyhow::Result<Vec<Cap>> {
    let tasks = tasks().context("cannot read /proc/loadavg")?;
    let mut caps = Vec::new();
    for name in ["pid_max", "threads-max"] {
        if let Some(max) = number(&Path::new("/proc/sys/kernel").join(name)) {
            let what = format!(
                "kernel.{name} is {max} and {tasks} are in use; raise it with `sysctl -w kernel.{name}={}`",
                max.saturating_mul(4)
            );
            caps.push(Cap { room: max.saturating_sub(tasks + SPARE), what });
        }
    }
    // Root is not bound by this one.
    if !nix::unistd::geteuid().is_root()
        && let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NPROC)
    {
        let what = format!(
            "`ulimit -u` is {soft} of at most {hard} for this user; raise it there or in limits.conf"
        );
        caps.push(Cap { room: soft.saturating_sub(tasks.min(soft)), what });
    }
    if let Some((path, max, used)) = control_group() {
        let what = format!("{} is {max} and {used} are in use; write a larger number there", path.display());
        caps.push(Cap { room: max.saturating_sub(used + 8), what });
    }
    let available = MachineMemory::now()?.available;
    let what = format!(
        "{} of memory are available and a reader process is reckoned at {READER_KIB} KiB; use fewer, or \
         streams in one process (`waldo-suite fanout --mode streams`)",
        units::bytes(available * 1024)
    );
    caps.push(Cap { room: available / READER_KIB, what });
    Ok(caps)
}

/// Processes and threads of the whole machine.
fn tasks() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The tightest pids.max of this process' control group and those around it, with what is used of it.
fn control_group() -> Option<(PathBuf, u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let groups: Vec<PathBuf> =
        root.join(own).ancestors().take_while(|dir| dir.starts_with(root)).map(Path::to_owned).collect();
    let limit = |dir: &PathBuf| {
        let path = dir.join("pids.max");
        Some((number(&path)?, number(&dir.join("pids.current"))?, path))
    };
    let (max, used, path) =
        groups.iter().filter_map(limit).min_by_key(|(max, used, _)| max.saturating_sub(*used))?;
    Some((path, max, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_limits_that_say_how_to_raise_them() {
        assert!(tasks().unwrap() > 0);
        let caps = all().unwrap();
        assert!(caps.iter().any(|cap| cap.what.contains("sysctl -w kernel.pid_max=")), "{caps:?}");
        assert!(caps.iter().all(|cap| !cap.what.is_empty()));
    }
}
