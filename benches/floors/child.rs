//! What this program does in a second process.

use crate::follow;
use crate::memory;
use crate::open;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use std::ffi::OsStr;
use std::io;
use std::process::{Child, ChildStdout, Command, Stdio};

/// First word on the command line of a second process.
pub const FLAG: &str = "--in-second-process";

/// Runs `words`, which come from [`Second::start`].
pub fn run(words: &[String]) -> anyhow::Result<()> {
    // However the first process ends, this one does not stay.
    set_pdeathsig(Signal::SIGKILL)?;
    match words {
        [role, home, board, floor] if role == "follow" => follow::follower(home, board, floor),
        [role, home, control, page_len, ring_size, bytes] if role == "write" => {
            open::doomed_writer(home, control, page_len.parse()?, ring_size.parse()?, bytes.parse()?)
        }
        [role, deed, home, control, first] if role == "sleep" => memory::sleeper(deed, home, control, first),
        _ => anyhow::bail!("a second process does not know what to do with {words:?}"),
    }
}

/// A second process; killed when dropped.
pub struct Second(Child);

impl Second {
    pub fn start<I: AsRef<OsStr>>(words: impl IntoIterator<Item = I>) -> anyhow::Result<Second> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(FLAG).args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(Second(command.spawn()?))
    }

    /// What it prints; once.
    pub fn output(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn is_running(&mut self) -> io::Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
