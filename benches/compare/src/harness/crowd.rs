//! The processes of a round: starting them, noticing how they end, and leaving none behind.

use super::role::{PUBLISH, SERVE, SUBSCRIBE};
use crate::peers::Server;
use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the publisher may take to end by itself.
const CLOSE_TIME: Duration = Duration::from_secs(10);

/// The processes that run.
pub struct Crowd {
    program: PathBuf,
    /// The server's.
    pub server: Option<i32>,
    /// The publisher's.
    pub publisher: Option<i32>,
    /// The subscribers', in order.
    pub subscribers: Vec<i32>,
    running: Vec<i32>,
    orders: Option<ChildStdin>,
}

impl Crowd {
    /// Nobody yet.
    pub fn new() -> anyhow::Result<Crowd> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        Ok(Crowd {
            program,
            server: None,
            publisher: None,
            subscribers: Vec::new(),
            running: Vec::new(),
            orders: None,
        })
    }

    /// Starts a server.
    pub fn start_server(&mut self, server: &Server) -> anyhow::Result<()> {
        let mut command = self.command(SERVE);
        command.arg(std::process::id().to_string()).args(&server.command).stdin(Stdio::null());
        self.server = Some(self.spawn(&mut command)?.0);
        Ok(())
    }

    /// Starts the publisher.
    pub fn start_publisher(&mut self, spec: &Path) -> anyhow::Result<()> {
        let mut command = self.command(PUBLISH);
        let (pid, mut child) = self.spawn(command.arg(spec).stdin(Stdio::piped()))?;
        self.publisher = Some(pid);
        self.orders = child.stdin.take();
        Ok(())
    }

    /// Starts one more subscriber.
    pub fn start_subscriber(&mut self, spec: &Path) -> anyhow::Result<()> {
        let which = self.subscribers.len();
        let mut command = self.command(SUBSCRIBE);
        command.arg(spec).arg(which.to_string()).stdin(Stdio::null());
        let (pid, _) = self.spawn(&mut command).with_context(|| {
            format!(
                "cannot start subscriber {}: see `ulimit -u`, /proc/sys/kernel/pid_max, the memory limit",
                which + 1
            )
        })?;
        self.subscribers.push(pid);
        Ok(())
    }

    /// In a process group of its own, so that Ctrl-C reaches the harness alone, which then ends the others in
    /// order.
    fn command(&self, role: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(role).stdout(Stdio::null()).process_group(0);
        command
    }

    fn spawn(&mut self, command: &mut Command) -> anyhow::Result<(i32, Child)> {
        let child = command.spawn().context("cannot start a process")?;
        let pid = child.id().cast_signed();
        self.running.push(pid);
        Ok((pid, child))
    }

    /// Tells the publisher something.
    pub fn order(&mut self, order: &str) -> anyhow::Result<()> {
        let stdin = self.orders.as_mut().context("there is no publisher")?;
        writeln!(stdin, "{order}").context("the publisher has gone away")
    }

    /// Who has ended since the last call, and how.
    pub fn ended(&mut self) -> Option<String> {
        let (pid, how) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)).ok()? {
            WaitStatus::Exited(pid, code) => (pid.as_raw(), format!("ended with exit code {code}")),
            WaitStatus::Signaled(pid, signal, _) => (pid.as_raw(), format!("was ended by {signal}")),
            _ => return None,
        };
        self.running.retain(|running| *running != pid);
        let who = if Some(pid) == self.server {
            "the server".to_owned()
        } else if Some(pid) == self.publisher {
            "the publisher".to_owned()
        } else {
            let which = self.subscribers.iter().position(|subscriber| *subscriber == pid);
            format!("subscriber {}", which.map_or(0, |at| at + 1))
        };
        Some(format!("{who} {how}"))
    }

    /// Ends everybody: the publisher in order if it can, the others at once.
    pub fn disperse(&mut self) {
        drop(self.orders.take());
        let publisher = self.publisher.take();
        if let Some(pid) = publisher.filter(|pid| self.running.contains(pid)) {
            let end = Instant::now() + CLOSE_TIME;
            while Instant::now() < end && self.running.contains(&pid) {
                match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(1)),
                    _ => self.running.retain(|running| *running != pid),
                }
            }
        }
        for pid in &self.running {
            // One that has ended already is collected below.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        for pid in self.running.drain(..) {
            let _ = waitpid(Pid::from_raw(pid), None);
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.disperse();
    }
}
