//! A service in a process of its own: this test binary again.

use super::ring::{durability, open};
use super::transport::apply;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use waldo_service::{Service, ServiceOptions, inherited_listener};

const DIR: &str = "WALDO_TEST_DIR";
const DURABILITY: &str = "WALDO_TEST_DURABILITY";

/// Killed and reaped when dropped.
pub struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    /// Starts a service for the ring and the socket in `dir`, and waits until it listens.
    pub fn start(dir: &Path, durability: u64) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.stdin(Stdio::piped());
        Child::spawn(command, dir, durability)
    }

    /// The same on a socket that it inherits, as from systemd.
    pub fn start_on(dir: &Path, listener: OwnedFd) -> Child {
        let mut command = Command::new("sh");
        let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
        command.args(["-c", script, "sh"]).arg(std::env::current_exe().unwrap()).stdin(listener);
        Child::spawn(command, dir, 2)
    }

    fn spawn(mut command: Command, dir: &Path, durability: u64) -> Child {
        let mut process = command
            .args(["support::child::child_entry", "--exact", "--nocapture", "--test-threads=1"])
            .env(DIR, dir)
            .env(DURABILITY, durability.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut child = Child { stdin: process.stdin.take(), process, stdout };
        child.hear("ready");
        child
    }

    /// Reads the child's output up to a word.
    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        while self.stdout.read_line(&mut line).unwrap() > 0 {
            if line.trim_end().ends_with(&format!("@@ {word}")) {
                return;
            }
            line.clear();
        }
        panic!("the service ended before it was {word}: {:?}", self.process.wait());
    }

    /// Kills the process the hard way and reaps it.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Has it shut down in order.
    pub fn stop(mut self) {
        self.stdin = None;
        self.hear("stopped");
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

fn tell(word: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "@@ {word}").and_then(|()| out.flush());
}

/// Not a test: where the child begins.
#[test]
fn child_entry() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
    assert_ne!(nix::unistd::getppid().as_raw(), 1, "the parent has gone before");
    let number = std::env::var(DURABILITY).unwrap().parse().unwrap();
    let writer = open(Path::new(&dir), durability(number));
    let inherited = inherited_listener("socket").unwrap();
    let is_inherited = inherited.is_some();
    // A short journal, so that it is written anew in the middle of things.
    let options = apply(ServiceOptions::default().journal_growth(4096));
    let service = match inherited {
        Some(listener) => Service::on_listener(writer, listener, options).unwrap(),
        None => Service::bind(writer, Path::new(&dir).join("socket"), options).unwrap(),
    };
    let (stop, stopped) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // Of an inherited socket the parent has no pipe: it kills.
        while is_inherited || std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {
            std::thread::park_timeout(std::time::Duration::from_secs(3600));
        }
        let _ = stop.send(());
    });
    tell("ready");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(service.run(async { stopped.await.unwrap() })).unwrap();
    tell("stopped");
    std::process::exit(0);
}
