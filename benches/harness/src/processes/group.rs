//! A command's processes: starting them, noticing how they end, and leaving none behind.

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use signal_hook::SigId;
use signal_hook::consts::SIGCHLD;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long the writer may take to close the ring.
const CLOSE_TIME: Duration = Duration::from_secs(10);

/// Which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server that the others need.
    Server,
    /// The writer.
    Writer,
    /// A reader with this number.
    Reader(usize),
}

/// The processes that run: at most one writer, any number of readers.
pub struct ProcessGroup {
    program: PathBuf,
    running: HashMap<i32, Role>,
    orders: Option<ChildStdin>,
    /// A child has ended or stopped since it was last looked.
    child_changed: Arc<AtomicBool>,
    /// What raises the flag.
    handler: SigId,
}

impl ProcessGroup {
    /// Nobody yet.
    pub fn new() -> anyhow::Result<ProcessGroup> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        // Whoever started this program may have blocked it.
        SigSet::from_iter([Signal::SIGCHLD]).thread_unblock().context("cannot receive SIGCHLD")?;
        let child_changed = Arc::new(AtomicBool::new(false));
        let handler = signal_hook::flag::register(SIGCHLD, Arc::clone(&child_changed))
            .context("cannot install a signal handler")?;
        Ok(ProcessGroup { program, running: HashMap::new(), orders: None, child_changed, handler })
    }

    /// This program in a hidden role, to be given arguments and started. In a process group of its own, so
    /// that Ctrl-C reaches the command alone, which then ends the others in order.
    pub fn command(&self, role: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(role).stdout(Stdio::null()).process_group(0);
        command
    }

    /// Starts the writer. It takes orders from [`ProcessGroup::order`].
    pub fn start_writer(&mut self, command: &mut Command) -> anyhow::Result<u32> {
        let mut child = command.stdin(Stdio::piped()).spawn().context("cannot start the writer process")?;
        self.orders = child.stdin.take();
        self.running.insert(child.id().cast_signed(), Role::Writer);
        Ok(child.id())
    }

    /// Starts a server.
    pub fn start_server(&mut self, command: &mut Command) -> anyhow::Result<u32> {
        let child = command.stdin(Stdio::null()).spawn().context("cannot start the server process")?;
        self.running.insert(child.id().cast_signed(), Role::Server);
        Ok(child.id())
    }

    /// Starts reader number `reader`.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` or `OutOfMemory` if it has room for no more processes.
    pub fn start_reader(&mut self, command: &mut Command, reader: usize) -> io::Result<u32> {
        let child = command.spawn()?;
        self.running.insert(child.id().cast_signed(), Role::Reader(reader));
        Ok(child.id())
    }

    /// Tells the writer something.
    pub fn order(&mut self, order: &str) {
        if let Some(stdin) = &mut self.orders {
            // A writer that has died is noticed by `ended`.
            let _ = writeln!(stdin, "{order}");
        }
    }

    /// The processes that have ended since the last call, and how.
    ///
    /// Asks the kernel only if a signal says that a process has ended: wait4 goes over all children, and
    /// cannot be preempted meanwhile. With 10,000 children that is 2 ms in which no other thread gets this
    /// processor, not even an appending thread of a real-time class.
    pub fn ended(&mut self) -> Vec<(Role, String)> {
        let mut ended = Vec::new();
        // Cleared before looking: who ends during the look raises it again.
        if !self.child_changed.swap(false, Ordering::Relaxed) {
            return ended;
        }
        loop {
            let (pid, how) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, format!("ended with exit code {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, format!("was ended by {signal}")),
                Ok(WaitStatus::StillAlive) => break,
                Err(Errno::ECHILD) => {
                    let rest = std::mem::take(&mut self.running);
                    ended.extend(rest.into_values().map(|role| (role, "ended, nobody knows how".to_owned())));
                    break;
                }
                // Something else about a child, or one that was ended by a signal that has no name.
                Ok(_) | Err(_) => continue,
            };
            ended.extend(self.running.remove(&pid.as_raw()).map(|role| (role, how)));
        }
        ended
    }

    /// Whether this process has not been seen to end.
    pub fn runs(&self, role: Role) -> bool {
        self.running.values().any(|r| *r == role)
    }

    /// Readers that have not been seen to end.
    pub fn readers(&self) -> usize {
        self.running.values().filter(|role| matches!(role, Role::Reader(_))).count()
    }

    /// Stops a reader where it is, for good: it keeps what it has open and mapped until it is killed.
    pub fn stop_reader(&self, reader: usize) {
        for pid in self.running.iter().filter(|(_, role)| **role == Role::Reader(reader)).map(|(pid, _)| *pid)
        {
            // It is a child that has not been waited for, so the number is still its own.
            let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
        }
    }

    /// Kills the readers; they end at once, since none has anything to put in order.
    pub fn kill_readers(&mut self) {
        for (pid, role) in &self.running {
            if matches!(role, Role::Reader(_)) {
                // It is a child that has not been waited for, so the number is still its own.
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
        }
    }

    /// Ends all processes: the readers at once, the writer in good order if it can, then the server.
    pub fn shut_down(&mut self) {
        self.kill_readers();
        self.order("end");
        self.orders = None;
        let deadline = Instant::now() + CLOSE_TIME;
        while !self.running.is_empty() {
            if self.ended().is_empty() {
                std::thread::sleep(Duration::from_millis(2));
            }
            // Ten thousands of readers take their time to go; only a writer that hangs is in question.
            let only_server = self.running.values().all(|role| *role == Role::Server);
            if only_server || (Instant::now() > deadline && self.readers() == 0) {
                for pid in self.running.keys() {
                    let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
                }
            }
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.shut_down();
        // A command makes one group after the other, and each signal runs all handlers there are.
        signal_hook::low_level::unregister(self.handler);
    }
}
