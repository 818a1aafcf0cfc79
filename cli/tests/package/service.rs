//! The command of the package's unit, as the unit's user.

use crate::clean_root::CleanRoot;
use crate::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};

pub struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// Starts it with its log in `place`, and does not wait.
    pub fn start(root: &CleanRoot, place: &Path) -> Service {
        let unit = root.read("usr/lib/systemd/system/waldo.service");
        let setting = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim();
        assert_eq!([setting("User="), setting("Group=")], ["waldo"; 2]);
        let words: Vec<&str> = setting("ExecStart=").split(' ').collect();
        let log = place.join("log");
        let mut command = root.command(root.user, words[0], &words[1..]);
        // The network is the machine's, where somebody else may have the usual port.
        command.env("WALDO_SERVICE_HTTP", "127.0.0.1:0");
        command.stderr(File::options().create(true).append(true).open(&log).unwrap());
        Service { child: command.spawn().unwrap(), log }
    }

    pub fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the service has ended by itself: {status}: {}", self.log());
        }
    }

    /// SIGKILL, without warning.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has it end in good order.
    pub fn stop(mut self) {
        let status = terminate(&mut self.child, "the service ends");
        assert!(status.success(), "{status}: {}", self.log());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Sends SIGTERM and waits for the end.
pub fn terminate(child: &mut Child, what: &str) -> ExitStatus {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    ended(child, what)
}

/// Waits for the end.
pub fn ended(child: &mut Child, what: &str) -> ExitStatus {
    let mut status = None;
    wait_until(what, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}
