//! The demo's own processes: this program again, under names that no help mentions.

use anyhow::{Context, bail};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// First argument of a reader process.
pub const READER: &str = "demo-reader";
/// First argument of the writer process.
pub const WRITER: &str = "demo-writer";

/// If this process is one of the demo's, does its work and gives its exit code. Comes before everything else in
/// `main`, so that a reader costs little more than what reading takes.
pub fn child_main() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let role = args.next()?;
    let result = match role.to_str()? {
        READER => super::reader::main(&mut Words(args.collect::<Vec<_>>().into_iter())),
        WRITER => super::writer::main(&mut Words(args.collect::<Vec<_>>().into_iter())),
        _ => return None,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("waldo: {}: {error:#}", role.to_string_lossy());
            ExitCode::FAILURE
        }
    })
}

/// The arguments of such a process, in order.
pub struct Words(std::vec::IntoIter<OsString>);

impl Words {
    /// The next argument, as a number or whatever it is.
    pub fn next<T: FromStr>(&mut self) -> anyhow::Result<T> {
        let word = self.0.next().unwrap_or_default();
        match word.to_str().and_then(|text| text.parse().ok()) {
            Some(value) => Ok(value),
            None => bail!("this command is for `waldo demo` alone: run that"),
        }
    }

    /// The next argument, as a path; `None` if there is none.
    pub fn path(&mut self) -> Option<PathBuf> {
        self.0.next().map(PathBuf::from)
    }
}

/// Has the kernel kill this process when `parent` dies, however it dies.
pub fn die_with(parent: i32) -> anyhow::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .context("cannot ask for a death signal")?;
    // It may have died before that took effect.
    if nix::unistd::getppid().as_raw() != parent {
        bail!("the demo has gone away");
    }
    Ok(())
}

/// Nanoseconds of a clock that all processes share.
pub fn now_ns() -> u64 {
    match nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC) {
        Ok(time) => time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64,
        // This clock exists on every Linux.
        Err(_) => 0,
    }
}
