//! The demo's processes: starting them, noticing how they end, and leaving none behind.

use super::Args;
use super::child::{READER, WRITER};
use super::plan::Plan;
use super::stage::Stage;
use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the writer may take to close the ring.
const CLOSE_TIME: Duration = Duration::from_secs(10);

/// Which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The writer.
    Writer,
    /// A reader with this number.
    Reader(usize),
}

/// The processes that run.
pub struct Crowd {
    program: PathBuf,
    running: HashMap<i32, Role>,
    orders: Option<ChildStdin>,
    /// Tells the end of the demo from a record of the text.
    end_mark: String,
}

impl Crowd {
    /// Nobody yet.
    pub fn new() -> anyhow::Result<Crowd> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let end_mark = format!("end of the demo {:x}-{:x}", std::process::id(), super::child::now_ns());
        Ok(Crowd { program, running: HashMap::new(), orders: None, end_mark })
    }

    /// Starts the writer. It waits for [`Crowd::order`].
    pub fn start_writer(&mut self, stage: &Stage, plan: &Plan, args: &Args) -> anyhow::Result<()> {
        let geometry = plan.geometry;
        let mut command = self.command(WRITER);
        command
            .arg(geometry.ring_size.to_string())
            .arg(geometry.page_len.to_string())
            .arg(geometry.window.to_string())
            .arg(plan.records.to_string())
            .arg(args.seconds.unwrap_or(0).to_string())
            .arg(args.rate.unwrap_or(0).to_string())
            .arg((!stage.kept()).to_string())
            .arg(&self.end_mark)
            .arg(stage.board())
            .arg(stage.home())
            .args(&args.input)
            .stdin(Stdio::piped());
        let mut child = command.spawn().context("cannot start the writer process")?;
        self.orders = child.stdin.take();
        self.running.insert(child.id().cast_signed(), Role::Writer);
        Ok(())
    }

    /// Starts reader number `reader`.
    pub fn start_reader(&mut self, stage: &Stage, reader: usize, pace: u64) -> anyhow::Result<()> {
        let mut command = self.command(READER);
        command
            .arg(std::process::id().to_string())
            .arg(reader.to_string())
            .arg(pace.to_string())
            .arg(&self.end_mark)
            .arg(stage.board())
            .arg(stage.home())
            .stdin(Stdio::null());
        let child = command.spawn().with_context(|| {
            format!(
                "cannot start reader process {}: if there are too many, see `ulimit -u`, \
                 /proc/sys/kernel/pid_max and the memory limit",
                reader + 1
            )
        })?;
        self.running.insert(child.id().cast_signed(), Role::Reader(reader));
        Ok(())
    }

    /// In a process group of its own, so that Ctrl-C reaches the demo alone, which then ends the others in order.
    fn command(&self, role: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(role).stdout(Stdio::null()).process_group(0);
        command
    }

    /// Tells the writer something.
    pub fn order(&mut self, order: &str) {
        if let Some(stdin) = &mut self.orders {
            // A writer that has died is noticed by `ended`.
            let _ = writeln!(stdin, "{order}");
        }
    }

    /// The processes that have ended since the last call, and how.
    pub fn ended(&mut self) -> Vec<(Role, String)> {
        let mut ended = Vec::new();
        while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            let (pid, how) = match status {
                WaitStatus::Exited(pid, code) => (pid, format!("ended with exit code {code}")),
                WaitStatus::Signaled(pid, signal, _) => (pid, format!("was ended by {signal}")),
                WaitStatus::StillAlive => break,
                _ => continue,
            };
            ended.extend(self.running.remove(&pid.as_raw()).map(|role| (role, how)));
        }
        ended
    }

    /// Whether this process has not been seen to end.
    pub fn runs(&self, role: Role) -> bool {
        self.running.values().any(|r| *r == role)
    }

    /// Ends everybody: the readers at once, the writer in good order if it can.
    pub fn disperse(&mut self) {
        for (pid, role) in &self.running {
            if matches!(role, Role::Reader(_)) {
                // It is a child that has not been waited for, so the number is still its own.
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
        }
        self.order("end");
        self.orders = None;
        let deadline = Instant::now() + CLOSE_TIME;
        while !self.running.is_empty() {
            if self.ended().is_empty() {
                std::thread::sleep(Duration::from_millis(2));
            }
            if Instant::now() > deadline {
                for pid in self.running.keys() {
                    let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
                }
            }
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.disperse();
    }
}
