//! What ends in the middle of things gives the terminal back before a word is said.

use super::*;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use std::fs::File;
use std::io::Read;
use std::process::Command;
use waldo_terminal::failure::{Outcome, exit};

const HOW: &str = "WALDO_TEST_ENDS_BY";

/// What the other test runs on a terminal of its own.
#[test]
#[ignore = "takes the terminal over"]
fn ends_in_the_middle() {
    let Some(how) = std::env::var_os(HOW) else { return };
    let end = || -> anyhow::Result<Outcome> {
        let interrupt = Interrupt::install()?;
        let mut screen = Screen::enter(&interrupt)?;
        screen.draw(|frame| frame.render_widget("drawn", frame.area()))?;
        match how.to_str() {
            Some("panic") => panic!("these are the last words"),
            _ => anyhow::bail!("these are the last words"),
        }
    };
    exit(end())
}

#[test]
fn a_panic_and_an_error_are_told_on_the_terminal_that_was_given_back() {
    for how in ["panic", "error"] {
        let pty = openpty(None, None).unwrap();
        fcntl(&pty.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let before = nix::sys::termios::tcgetattr(&pty.slave).unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "top::screen::tests::ends_in_the_middle", "--ignored", "--nocapture"])
            .env(HOW, how)
            .env("RUST_BACKTRACE", "0")
            .stdin(pty.slave.try_clone().unwrap())
            .stdout(pty.slave.try_clone().unwrap())
            .stderr(pty.slave.try_clone().unwrap())
            .status()
            .unwrap();
        assert!(!status.success());
        let (mut bytes, mut master) = (Vec::new(), File::from(pty.master));
        // There is no end, but nothing more to read.
        let _ = master.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{how}: no {part:?} in {text:?}"));
        assert!(at(ENTER) < at("drawn") && at("drawn") < at(LEAVE), "{how}: {text:?}");
        assert!(at(LEAVE) < at("these are the last words"), "{how}: {text:?}");
        assert_eq!(nix::sys::termios::tcgetattr(&pty.slave).unwrap(), before, "{how}");
    }
}
