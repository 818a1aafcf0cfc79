//! The CPU time and open files of processes.

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs;

/// CPU time of all threads that another process has, in nanoseconds.
pub fn cpu_ns(pid: i32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of_task = |task: fs::DirEntry| -> Option<u64> {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok()
    };
    tasks.flatten().filter_map(of_task).sum()
}

/// Lets this process and its children open as many files as they may, and tells how many that is.
pub fn raise_open_files() -> anyhow::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit on open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit on open files")?;
    Ok(hard)
}
