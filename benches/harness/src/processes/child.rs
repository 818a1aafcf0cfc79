//! The processes of a crowd: this program, started again in hidden roles.

use anyhow::{Context, bail};
use nix::time::{ClockId, clock_gettime};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// A hidden role: the first argument that begins it, and what it does with the others.
pub type Role = (&'static str, fn(&mut Words) -> anyhow::Result<()>);

/// If this process has one of these roles, does its work and returns its exit code. Must be called before
/// everything else in `main`, so that a reader process costs little more than the reading.
pub fn child_main(roles: &[Role]) -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let role = args.next()?;
    let role = role.to_str()?;
    let (_, entry) = roles.iter().find(|(name, _)| *name == role)?;
    Some(match entry(&mut Words(args.collect::<Vec<_>>().into_iter())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be left to read it.
            let _ = writeln!(std::io::stderr(), "waldo: {role}: {error:#}");
            ExitCode::FAILURE
        }
    })
}

/// The arguments of such a process, in order.
pub struct Words(std::vec::IntoIter<OsString>);

impl Words {
    /// The next argument, as a number or whatever it is.
    pub fn word<T: FromStr>(&mut self) -> anyhow::Result<T> {
        let word = self.0.next().unwrap_or_default();
        match word.to_str().and_then(|text| text.parse().ok()) {
            Some(value) => Ok(value),
            None => bail!("this is a part of a crowd of processes: run the command that starts them"),
        }
    }

    /// The next argument, as a path; `None` if there is none.
    pub fn path(&mut self) -> Option<PathBuf> {
        self.0.next().map(PathBuf::from)
    }
}

/// Makes the kernel kill this process when `parent` dies, however it dies.
pub fn die_with(parent: i32) -> anyhow::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .context("cannot ask for a death signal")?;
    // It may have died before that took effect.
    if nix::unistd::getppid().as_raw() != parent {
        bail!("whoever started this process has gone away");
    }
    Ok(())
}

/// Nanoseconds of a clock that all processes share.
pub fn now_ns() -> u64 {
    clock_ns(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds of CPU time that this process has used.
pub fn cpu_ns() -> u64 {
    clock_ns(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// Nanoseconds of CPU time that this thread has used.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn clock_ns(clock: ClockId) -> u64 {
    match clock_gettime(clock) {
        Ok(time) => time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64,
        // These clocks exist on every Linux.
        Err(_) => 0,
    }
}
