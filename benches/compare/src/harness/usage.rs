//! What processes take: CPU time and memory.

use anyhow::Context;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;
use serde::Serialize;
use std::fs;

/// Memory of a process in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Its heap, stacks and the like: what files and shared memory have no part in.
    pub own: f64,
    /// Pages that no other process has mapped, of files and shared memory too.
    pub private: f64,
    /// Those, and its share of the others.
    pub proportional: f64,
    /// Page tables.
    pub tables: f64,
}

/// CPU time of this process so far, in nanoseconds.
pub fn own_cpu_ns() -> u64 {
    // The call cannot fail with a valid `who`.
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        let time = usage.user_time() + usage.system_time();
        u64::try_from(time.num_microseconds()).unwrap_or(0) * 1000
    })
}

/// CPU time of all threads that another process has, in nanoseconds.
pub fn cpu_ns(pid: i32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of_task = |task: fs::DirEntry| -> Option<u64> {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    tasks.flatten().filter_map(of_task).sum()
}

/// Memory of another process.
pub fn memory(pid: i32) -> anyhow::Result<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0)
    };
    Ok(Memory {
        own: field(&rollup, "Anonymous"),
        private: field(&rollup, "Private_Clean") + field(&rollup, "Private_Dirty"),
        proportional: field(&rollup, "Pss"),
        tables: field(&status, "VmPTE"),
    })
}

/// Lets this process and its children open as many files as they may, and tells how many that is.
pub fn raise_open_files() -> anyhow::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit on open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit on open files")?;
    Ok(hard)
}
