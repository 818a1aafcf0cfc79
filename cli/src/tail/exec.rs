//! `--exec`: batches of records handed to a command, one run after the other.

use anyhow::{Context, bail};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use waldo_terminal::failure::Ended;
use waldo_terminal::interrupt::{Interrupt, Ready};

/// How long a command that has been handed a signal may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Bytes that one run is given at least before the next one begins, if there are so many.
pub const BYTES: usize = 1 << 20;

/// The records of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handful {
    /// Number of the first one.
    pub first: u64,
    /// Number of the last one.
    pub last: u64,
    /// How many.
    pub records: u64,
}

/// The command.
pub struct Exec {
    /// What the shell is told.
    pub command: OsString,
    /// The ring's directory.
    pub home: PathBuf,
}

impl Exec {
    /// Runs it once, with `input` on its standard input.
    ///
    /// # Errors
    /// If it cannot be run or does not end with 0; [`Ended`] if a signal came and it did not end well then.
    pub fn run(&self, input: &[u8], handful: Handful, interrupt: &Interrupt) -> anyhow::Result<()> {
        let shown = self.command.display();
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(&self.command)
            .stdin(Stdio::piped())
            .env("WALDO_HOME", &self.home)
            .env("WALDO_FIRST_SEQ", handful.first.to_string())
            .env("WALDO_LAST_SEQ", handful.last.to_string())
            .env("WALDO_RECORDS", handful.records.to_string())
            // So that a signal reaches all of a pipeline.
            .process_group(0);
        let child = command.spawn().with_context(|| format!("cannot run `{shown}`"))?;
        let mut run = Run { child, interrupt, told: None };
        run.feed(input).with_context(|| format!("cannot write to `{shown}`"))?;
        let status = run.wait().with_context(|| format!("cannot wait for `{shown}`"))?;
        if status.success() {
            return Ok(());
        }
        if let Some((signal, _)) = run.told {
            return Err(Ended(signal).into());
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => status.to_string(),
        };
        bail!(
            "`{shown}` ended with {how} for records {} to {}; they do not count as dealt with",
            handful.first,
            handful.last
        )
    }
}

struct Run<'a> {
    child: Child,
    interrupt: &'a Interrupt,
    /// The signal that the command was handed, and when.
    told: Option<(i32, Instant)>,
}

impl Run<'_> {
    /// Writes `input`, as far as it is wanted: a command need not read everything.
    fn feed(&mut self, mut input: &[u8]) -> anyhow::Result<()> {
        let Some(mut stdin) = self.child.stdin.take() else { return Ok(()) };
        never_wait(&stdin)?;
        let ended = self.descriptor()?;
        while !input.is_empty() {
            match stdin.write(input) {
                Ok(n) => input = &input[n..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                // It has ended, and what it has left behind may have the pipe open, and never read it.
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.child.try_wait()?.is_some() => {
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = self.pass_signal();
                    if left == Some(Duration::ZERO) {
                        return Ok(());
                    }
                    match self.told {
                        // It has been told to end, and the pipe breaks when it does.
                        Some(_) => std::thread::sleep(Duration::from_millis(5)),
                        None => self.interrupt.wait_taken(stdin.as_fd(), ended.as_fd())?,
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        // Once its end has been taken notice of, there is nothing to wait on.
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        let ended = self.descriptor()?;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            match self.pass_signal() {
                Some(Duration::ZERO) => {
                    self.signal(Signal::SIGKILL);
                    return Ok(self.child.wait()?);
                }
                Some(_) => std::thread::sleep(Duration::from_millis(5)),
                None => match self.interrupt.wait_readable(Some(ended.as_fd()), None)? {
                    Ready::Input | Ready::Signal(_) | Ready::TimedOut => {}
                },
            }
        }
    }

    /// Hands a signal that has come on to the command. Gives the time that it may still take to end then.
    fn pass_signal(&mut self) -> Option<Duration> {
        if self.told.is_none()
            && let Some(signal) = self.interrupt.signal()
        {
            self.told = Some((signal, Instant::now()));
            self.signal(Signal::try_from(signal).unwrap_or(Signal::SIGTERM));
        }
        self.told.map(|(_, when)| GRACE.saturating_sub(when.elapsed()))
    }

    fn signal(&self, signal: Signal) {
        let Ok(group) = i32::try_from(self.child.id()) else { return };
        // It has not been waited for, so the number is its own. It may have ended all the same.
        let _ = killpg(Pid::from_raw(group), signal);
    }

    /// Becomes readable when the command has ended.
    fn descriptor(&self) -> anyhow::Result<OwnedFd> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.context("a process without a number")?;
        Ok(pidfd_open(pid, PidfdFlags::empty())?)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        // After an error: nothing of it goes on by itself.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// The other end of the pipe is another description: the command's reads wait as ever.
fn never_wait(stdin: &ChildStdin) -> anyhow::Result<()> {
    fcntl(stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}
