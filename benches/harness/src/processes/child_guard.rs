//! A process that ends with the process that started it.

use anyhow::Context;
use std::ffi::OsStr;
use std::process::{Child, ChildStdout, Command, Stdio};

/// This program in a hidden role, killed when this is dropped.
pub struct ChildGuard(Child);

impl ChildGuard {
    /// Starts it; its arguments are this process's id, so that it dies with it
    /// ([`die_with`](super::child::die_with)), and `args`. Also returns what it says.
    pub fn start<A: AsRef<OsStr>>(
        role: &str,
        args: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<(ChildGuard, ChildStdout)> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let mut command = Command::new(program);
        command.args([role, &std::process::id().to_string()]).args(args);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut tied = ChildGuard(child.with_context(|| format!("cannot start a process ({role})"))?);
        let said = tied.0.stdout.take().context("a process has no output")?;
        Ok((tied, said))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> std::io::Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
