//! Child processes: this test binary again, playing a role.

use super::args::Args;
use super::wait::{DEADLINE, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

pub const ROLE: &str = "WALDO_TEST_ROLE";
pub const ARGS: &str = "WALDO_TEST_ARGS";
/// Marks the lines of a child's output that are meant for its parent; the test harness prints others.
pub const MARK: &str = "@@ ";

/// A child process. Killed and reaped when dropped.
pub struct Child {
    name: String,
    process: std::process::Child,
    commands: Option<ChildStdin>,
    messages: Receiver<Vec<String>>,
}

impl Child {
    /// Starts a process that plays `role`. It dies with the calling thread.
    pub fn spawn(role: &str, args: Args) -> Child {
        Child::start(Command::new(std::env::current_exe().unwrap()), role, args)
    }

    /// The same in namespaces of its own, which `unshare` makes of `namespaces`. There `script`, for a shell,
    /// is carried out first.
    pub fn spawn_within(namespaces: &[&str], script: &str, role: &str, args: Args) -> Child {
        let mut command = Command::new("unshare");
        // What ends the script ends it all: a child must not play in the wrong place.
        let script = format!("set -e; {script}; exec \"$@\"");
        command
            .args(namespaces)
            .args(["sh", "-c", script.as_str(), "sh"])
            .arg(std::env::current_exe().unwrap());
        Child::start(command, role, args)
    }

    fn start(mut command: Command, role: &str, args: Args) -> Child {
        let mut process = command
            .args(["support::child_entry", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(ARGS, args.render())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // The harness does not end its own line before the test runs.
                let Some((_, message)) = line.split_once(MARK) else { continue };
                if sender.send(message.split(' ').map(str::to_owned).collect()).is_err() {
                    return;
                }
            }
        });
        let commands = process.stdin.take();
        Child { name: role.to_owned(), process, commands, messages }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a command.
    pub fn say(&mut self, command: impl std::fmt::Display) {
        let name = &self.name;
        let commands = self.commands.as_mut().unwrap();
        writeln!(commands, "{command}").unwrap_or_else(|error| panic!("{name} does not listen: {error}"));
        commands.flush().unwrap();
    }

    /// The next message, in words.
    pub fn hear(&mut self) -> Vec<String> {
        match self.messages.recv_timeout(DEADLINE) {
            Ok(message) => message,
            Err(error) => panic!("{} says nothing more ({error}): {:?}", self.name, self.process.try_wait()),
        }
    }

    /// The next message if it is there already; `None` also at the end of the child's output.
    pub fn hear_now(&mut self) -> Option<Vec<String>> {
        self.messages.try_recv().ok()
    }

    /// Passes over messages until one begins with `first`; the numbers after it.
    pub fn skip_to(&mut self, first: &str) -> Vec<u64> {
        loop {
            let message = self.hear();
            if message[0] == first {
                return message[1..].iter().map(|word| word.parse().unwrap()).collect();
            }
        }
    }

    /// Of the messages that are there already, the first `first N` with `N` of at least `least`.
    pub fn skip_to_at_least(&mut self, first: &str, least: u64) -> Option<u64> {
        loop {
            let message = self.hear_now()?;
            if message[0] == first
                && let Some(number) = message[1].parse().ok().filter(|number| *number >= least)
            {
                return Some(number);
            }
        }
    }

    /// Whether the process has ended, well or not.
    pub fn ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// The signal that ended the process, if one did.
    pub fn ended_by(&mut self) -> Option<i32> {
        self.process.try_wait().unwrap().and_then(|status| status.signal())
    }

    /// Everything the child said before its end.
    pub fn hear_rest(&mut self) -> Vec<Vec<String>> {
        self.messages.iter().collect()
    }

    /// The words after `first` of the next message, which must begin with it.
    pub fn expect(&mut self, first: &str) -> Vec<String> {
        let mut message = self.hear();
        assert_eq!(message[0], first, "{} said {message:?}", self.name);
        message.remove(0);
        message
    }

    /// The same, where every word is a number.
    pub fn numbers(&mut self, first: &str) -> Vec<u64> {
        self.expect(first).iter().map(|word| word.parse().unwrap()).collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Stops the process and waits until it has stopped.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        wait_until("a process stops", || self.state() == 'T');
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// `R`, `S`, `T`, ... as in ps(1).
    pub fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let after_name = stat.rsplit_once(") ").unwrap().1;
        after_name.chars().next().unwrap()
    }

    /// Kills the process the hard way and reaps it.
    pub fn kill(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Waits for the end of the process, which must be a success.
    pub fn finish(mut self) {
        self.commands = None;
        let mut status = None;
        wait_until("a child ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "{} failed: {status:?}", self.name);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// In a child: sends a message to the parent.
pub fn tell(message: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // A parent that is gone has killed us already, or is about to.
    let _ = writeln!(out, "{MARK}{message}").and_then(|()| out.flush());
}
