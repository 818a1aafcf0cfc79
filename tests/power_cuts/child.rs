//! Child processes: this test binary again, in a role.

use crate::args::Args;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

const ROLE: &str = "WALDO_TEST_ROLE";
const ARGS: &str = "WALDO_TEST_ARGS";
/// Marks the lines that are meant for the parent; the test harness prints others.
const MARK: &str = "@@ ";

/// A line that a child said: a word, and the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub word: String,
    pub rest: String,
}

impl Said {
    /// The numbers behind the word.
    pub fn numbers(&self) -> Vec<u64> {
        self.rest.split(' ').filter_map(|word| word.parse().ok()).collect()
    }
}

/// Killed and reaped when dropped. It dies with the thread that started it.
pub struct Child {
    process: std::process::Child,
    lines: Receiver<Said>,
    silent: Cell<bool>,
}

impl Child {
    pub fn start(role: &str, args: &Args) -> Child {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["child_entry", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(ARGS, args.render())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let Some((_, line)) = line.split_once(MARK) else { continue };
                let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
                if sender.send(Said { word: word.to_owned(), rest: rest.to_owned() }).is_err() {
                    return;
                }
            }
        });
        Child { process, lines, silent: Cell::new(false) }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The next line; `None` at the end of the child's output, and at the deadline.
    pub fn hear(&self, deadline: Instant) -> Option<Said> {
        let heard = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        self.silent.set(heard == Err(RecvTimeoutError::Disconnected));
        heard.ok()
    }

    /// What is there already.
    pub fn hear_now(&self) -> impl Iterator<Item = Said> + '_ {
        std::iter::from_fn(|| self.hear(Instant::now()))
    }

    pub fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(self.pid() as i32), signal);
    }

    /// Whether it was found to have said its last, when something was to be heard.
    pub fn is_silent(&self) -> bool {
        self.silent.get()
    }

    /// Kills and reaps it; everything that it had still said.
    pub fn kill(mut self) -> Vec<Said> {
        self.end();
        self.lines.iter().collect()
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// In a child: says a line to the parent.
pub fn tell(line: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // A parent that is gone has killed this process already, or is about to.
    let _ = writeln!(out, "{MARK}{line}").and_then(|()| out.flush());
}

/// Where children begin: plays the role if this process was given one, and ends the process then.
pub fn enter(play: impl FnOnce(&str, &Args)) {
    let Ok(role) = std::env::var(ROLE) else { return };
    let args = Args::parse(&std::env::var(ARGS).unwrap());
    prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
    play(&role, &args);
    std::process::exit(0);
}
