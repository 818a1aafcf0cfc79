//! A command on a terminal of its own, and what is to be seen there.

use crate::support::*;
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Lines and columns.
pub const SIZE: (u16, u16) = (40, 160);

/// A command, its terminal, and somebody who looks at that.
pub struct WholeScreen {
    pub child: Killed,
    master: File,
    /// The terminal stays when the command has ended.
    terminal: File,
    before: Termios,
    pub seen: vt100::Parser,
    /// All that was written to the terminal.
    pub bytes: Vec<u8>,
}

impl WholeScreen {
    /// Starts it on a terminal of [`SIZE`], in a process group of its own, as a shell does: of that group
    /// all are stopped at Ctrl-Z, and these tests are not among them.
    pub fn start(command: &mut Command) -> WholeScreen {
        let (rows, columns) = SIZE;
        // None of that for children, which are those of other tests as well.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let master = posix_openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(ptsname_r(&master).unwrap())
            .unwrap();
        set_size(&slave, rows, columns);
        let before = tcgetattr(&slave).unwrap();
        let stream = || Stdio::from(slave.try_clone().unwrap());
        let child = command
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .process_group(0)
            .spawn()
            .unwrap();
        WholeScreen {
            child: Killed(child),
            master: File::from(OwnedFd::from(master)),
            terminal: slave,
            before,
            seen: vt100::Parser::new(whole(rows), whole(columns), 0),
            bytes: Vec::new(),
        }
    }

    /// Takes what has been written.
    pub fn look(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = self.master.read(&mut bytes) {
            self.seen.process(&bytes[..read]);
            self.bytes.extend_from_slice(&bytes[..read]);
        }
    }

    /// The lines that are to be seen.
    pub fn lines(&self) -> Vec<String> {
        let columns = self.seen.screen().size().1;
        self.seen.screen().rows(0, columns.get()).map(|line| line.trim_end().to_owned()).collect()
    }

    /// Looks again and again until there is an answer.
    pub fn until<T>(&mut self, what: &str, mut answer: impl FnMut(&[String]) -> Option<T>) -> T {
        let mut lines = Vec::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(what, || {
                self.look();
                lines = self.lines();
                answer(&lines)
            })
        }));
        found.unwrap_or_else(|_| panic!("waited in vain until {what}:\n{}", lines.join("\n")))
    }

    /// Waits for a line that has all of these words.
    pub fn until_line(&mut self, words: &[&str]) -> String {
        self.until(&format!("a line has {words:?}"), |lines| {
            lines.iter().find(|line| words.iter().all(|word| line.contains(word))).cloned()
        })
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Presses keys, if the terminal has room for more.
    pub fn try_press(&mut self, keys: &str) {
        let _ = self.master.write(keys.as_bytes());
    }

    /// Bytes that nobody has looked at.
    pub fn unseen(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.master).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.0.id() as i32), signal).unwrap();
    }

    /// Gives the terminal another size.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        self.look();
        set_size(&self.terminal, rows, columns);
        self.seen.screen_mut().set_size(whole(rows), whole(columns));
        // The system tells those only whose controlling terminal this is.
        self.signal(Signal::SIGWINCH);
    }

    /// Whether the command has the terminal for itself now.
    pub fn is_taken(&self) -> bool {
        tcgetattr(self.terminal.as_fd()).unwrap() != self.before
    }

    /// The terminal is as it was before the command.
    pub fn assert_given_back(&mut self) {
        self.look();
        let screen = self.seen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{:?}", self.lines());
        assert!(!self.is_taken(), "the terminal is set up in another way than before");
    }

    /// The command alone: its terminal goes.
    pub fn into_child(self) -> Killed {
        self.child
    }

    /// Waits for the end, and gives the exit code.
    pub fn end(&mut self) -> i32 {
        let code = until("it ends", || {
            self.look();
            self.child.0.try_wait().unwrap()
        });
        code.code().unwrap_or(-1)
    }
}

fn whole(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap()
}

fn set_size(terminal: &File, rows: u16, columns: u16) {
    let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).unwrap();
}
