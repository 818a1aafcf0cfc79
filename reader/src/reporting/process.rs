//! Which process wrote a report, and whether that process still runs.

use crate::source::link::boot_id;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::io::ErrorKind;

/// Whether the process that wrote a report still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessState {
    /// It runs.
    Live,
    /// It has ended without taking its report away: it was killed, say.
    Dead,
    /// That cannot be told from here: it is in another container, or hidden.
    Unknown,
}

/// Identifies a process, so that a later process with the same number is not mistaken for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReaderProcess {
    pub(crate) pid: u32,
    /// When it was started, in ticks since the boot; 0 if unknown.
    pub(crate) started: u64,
    /// The namespaces of the process number and of the start time; 0 if unknown.
    pub(crate) namespaces: [u64; 2],
    /// The boot; zeros if unknown.
    pub(crate) boot: [u8; 16],
}

/// What the system says of a process.
#[derive(Debug, PartialEq, Eq)]
struct ProcessStat {
    pid: u32,
    /// It has ended, and its parent has not asked for it yet.
    ended: bool,
    started: u64,
}

impl ReaderProcess {
    /// This one.
    pub(crate) fn this() -> ReaderProcess {
        let pid = std::process::id();
        let stat = std::fs::read_to_string("/proc/self/stat").ok().and_then(|text| ProcessStat::parse(&text));
        ReaderProcess {
            pid,
            // A /proc of other processes counts otherwise.
            started: stat.filter(|stat| stat.pid == pid).map_or(0, |stat| stat.started),
            namespaces: ["pid", "time"].map(namespace),
            boot: boot_id().unwrap_or_default(),
        }
    }

    /// Whether the process runs, as seen from `here`.
    pub(crate) fn state(&self, here: &ReaderProcess) -> ProcessState {
        let unknown = [0; 16];
        if self.boot != here.boot && self.boot != unknown && here.boot != unknown {
            return ProcessState::Dead;
        }
        if self.started == 0 || here.started == 0 || self.namespaces != here.namespaces {
            return ProcessState::Unknown;
        }
        match std::fs::read_to_string(format!("/proc/{}/stat", self.pid)) {
            Ok(text) => match ProcessStat::parse(&text) {
                Some(stat) if stat.started == self.started && !stat.ended => ProcessState::Live,
                Some(_) => ProcessState::Dead,
                None => ProcessState::Unknown,
            },
            // Where /proc hides other users' processes, there may be one all the same.
            Err(error) if is_gone(&error) && !self.has_number() => ProcessState::Dead,
            Err(_) => ProcessState::Unknown,
        }
    }

    /// Whether there is a process with this number.
    fn has_number(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().filter(|pid| *pid > 0);
        pid.is_some_and(|pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH))
    }
}

impl ProcessStat {
    /// Of `/proc/PID/stat`. The second field is the program's name, which may hold anything.
    fn parse(text: &str) -> Option<ProcessStat> {
        let (pid, rest) = text.split_once(' ')?;
        let mut fields = rest.get(rest.rfind(')')? + 1..)?.split_whitespace();
        let state = fields.next()?;
        // The 22nd field, and this was the third.
        let started = fields.nth(18)?.parse().ok()?;
        Some(ProcessStat { pid: pid.parse().ok()?, ended: matches!(state, "Z" | "X"), started })
    }
}

/// The number of a namespace of this process, as in `pid:[4026531836]`.
fn namespace(kind: &str) -> u64 {
    let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
    let digits = link.to_str().and_then(|text| text.split(['[', ']']).nth(1));
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// It may end between the opening of its file and the reading.
fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_cannot_pass_for_another_start() {
        let tail = "S 1 1 1 0 -1 4194304 1 1 0 0 0 0 0 0 20 0 1 0 777 1 1";
        for name in ["waldo", "a) Z 1 1", ") ) (", "x y\nz"] {
            let stat = ProcessStat::parse(&format!("42 ({name}) {tail}"));
            assert_eq!(stat, Some(ProcessStat { pid: 42, ended: false, started: 777 }), "{name}");
        }
        for wrong in ["", "42", "42 (waldo", "42 (waldo) S 1 2", "x (waldo) Z"] {
            assert_eq!(ProcessStat::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_live_process_is_told_from_a_dead_one_and_from_its_heir() {
        let here = ReaderProcess::this();
        assert_eq!(here.state(&here), ProcessState::Live);
        let heir = ReaderProcess { started: here.started + 1, ..here };
        assert_eq!(heir.state(&here), ProcessState::Dead);
        let earlier = ReaderProcess { boot: [1; 16], ..here };
        assert_eq!(earlier.state(&here), ProcessState::Dead);
        let elsewhere = ReaderProcess { namespaces: [1, 1], ..here };
        assert_eq!(elsewhere.state(&here), ProcessState::Unknown);
        assert_eq!(ReaderProcess { started: 0, ..here }.state(&here), ProcessState::Unknown);
        // One that has ended, before and after its parent knows.
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let deadline = std::time::Instant::now() + crate::testing::DEADLINE;
        let ended = loop {
            let stat = ProcessStat::parse(&stat()).unwrap();
            if stat.ended {
                break stat;
            }
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        };
        let ended = ReaderProcess { pid: ended.pid, started: ended.started, ..here };
        assert_eq!(ended.state(&here), ProcessState::Dead);
        child.wait().unwrap();
        assert_eq!(ended.state(&here), ProcessState::Dead);
    }
}
