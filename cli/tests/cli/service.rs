//! A service goes on whatever its surroundings do, and ends when it is told to, with nothing lost.

use crate::support::*;
use nix::sys::signal::Signal;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A command whose streams are the test's own; killed if the test ends before it does.
struct Bare(Child);

impl Bare {
    fn start(command: &mut Command) -> Bare {
        Bare(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        until("it ends", || self.0.try_wait().unwrap()).code()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap()
}

/// Fills a pipe until not one more byte goes in.
fn fill(pipe: &OwnedFd) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    for piece in [4096, 1] {
        while nix::unistd::write(pipe, &vec![b'.'; piece]).is_ok() {}
    }
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
}

fn serve(home: &Path, fifo: &Path) -> Command {
    let mut command = waldo();
    command.arg("serve").args(SMALL).arg(home).arg("--fifo").arg(fifo);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Writes into a FIFO, as a program that may wait for its reader would, with a deadline.
fn send(fifo: &Path, mut bytes: &[u8]) -> File {
    let mut client = until("somebody reads the FIFO", || {
        OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(fifo).ok()
    });
    until("the FIFO takes everything", || {
        while !bytes.is_empty() {
            let Ok(n) = client.write(bytes) else { return None };
            bytes = &bytes[n..];
        }
        Some(())
    });
    client
}

fn lines(home: &Path) -> String {
    run(waldo().arg("tail").arg(home), b"").text().to_owned()
}

/// Each line of its log was written by the appending thread itself, with a panic if that failed. So a
/// standard error that nobody read any more ended the service or held it up, and so did one on a full disk.
#[test]
fn nobody_has_to_read_standard_error() {
    let place = Place::new();
    let (kept, full) = pipe();
    fill(&full);
    let (gone, closed) = pipe();
    drop(gone);
    let disk = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let errors: [(&str, OwnedFd); 3] = [("full", full), ("closed", closed), ("no-room", disk.into())];
    for (name, stderr) in errors {
        let (home, fifo) = (place.join(name), place.join(&format!("{name}.fifo")));
        let mut server = Bare::start(serve(&home, &fifo).args(["-v"]).stderr(Stdio::from(stderr)));
        until("the FIFO is there", || fifo.exists().then_some(()));
        // Far more lines to report than any queue or pipe holds.
        let long = format!("{}\n", "x".repeat((1 << 20) - 8)).repeat(20);
        send(&fifo, format!("one\n{long}two\n").as_bytes());
        until_tip(&home, 2);
        server.signal(Signal::SIGTERM);
        assert_eq!(server.code(), Some(3), "{name}");
        assert_eq!(lines(&home), "one\ntwo\n", "{name}");
    }
    drop(kept);
}

/// Whoever sends garbage, too long a line or half a frame into the FIFO, or goes away in the middle, ends
/// nobody else's service.
#[test]
fn one_client_does_not_end_the_service_for_the_others() {
    let place = Place::new();
    let (home, fifo) = (place.join("ring"), place.join("fifo"));
    let mut server = Process::start(&mut serve(&home, &fifo));
    until("the FIFO is there", || fifo.exists().then_some(()));
    send(&fifo, b"one\n");
    until_tip(&home, 1);
    // Nobody could tell this line's end from the next client's beginning, were that sent before it has been
    // seen.
    send(&fifo, &vec![b'x'; 3 << 20]);
    until("the end of the long line is seen", || {
        send(&fifo, b"probe\n");
        lines(&home).contains("probe\n").then_some(())
    });
    // A line without its newline ends with the client that wrote it.
    let seen = lines(&home).lines().count() as u64;
    send(&fifo, b"two\nthree");
    until_tip(&home, seen + 2);
    send(&fifo, b"four\n");
    until_tip(&home, seen + 3);
    server.signal(Signal::SIGTERM);
    let done = server.wait();
    assert_eq!(done.code, 3);
    assert!(done.stderr.contains("line 2, at byte 4 of the input, is too long"), "{}", done.stderr);
    assert_eq!(lines(&home).replace("probe\n", ""), "one\ntwo\nthree\nfour\n");

    let (home, fifo, log) = (place.join("framed"), place.join("framed.fifo"), place.join("log"));
    let stderr = File::create(&log).unwrap();
    let mut server = Bare::start(serve(&home, &fifo).arg("--framed").stderr(Stdio::from(stderr)));
    until("the FIFO is there", || fifo.exists().then_some(()));
    send(&fifo, b"\x03\0\0\0one\x09\0\0\0hal");
    until("the half frame is refused", || {
        std::fs::read_to_string(&log).unwrap().contains("in the middle of record 2, at byte 7").then_some(())
    });
    send(&fifo, b"\x03\0\0\0two");
    until_tip(&home, 2);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(3));
    assert_eq!(lines(&home), "one\ntwo\n");
}

/// A service whose input had ended looked like one whose input says nothing.
#[test]
fn the_end_of_the_input_is_told_and_does_not_end_the_service() {
    let place = Place::new();
    let (home, log) = (place.join("ring"), place.join("log"));
    let mut command = waldo();
    command.arg("serve").args(SMALL).arg(&home).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut server = Bare::start(command.stderr(File::create(&log).unwrap()));
    server.0.stdin.take().unwrap().write_all(b"one\ntwo").unwrap();
    until("the end is told", || {
        std::fs::read_to_string(&log).unwrap().contains("the input has ended after 2 records").then_some(())
    });
    assert_eq!(server.0.try_wait().unwrap(), None);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.code(), Some(0));
    assert_eq!(lines(&home), "one\ntwo\n");
}

/// SIGTERM ended the service with what the pipe held unread, and gone.
#[test]
fn what_the_pipe_holds_is_appended_before_the_end() {
    let place = Place::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (home, fifo) = (place.join(&format!("{signal}")), place.join(&format!("{signal}.fifo")));
        let mut server = Process::start(&mut serve(&home, &fifo));
        until("the FIFO is there", || fifo.exists().then_some(()));
        send(&fifo, b"first\n");
        until_tip(&home, 1);
        // Stopped, it cannot read what is sent now; it finds signal and input together when it goes on.
        server.signal(Signal::SIGSTOP);
        let text: String = (0..5000).map(|i| format!("line {i}\n")).collect();
        let _client = send(&fifo, format!("{text}unfinished").as_bytes());
        server.signal(signal);
        server.signal(Signal::SIGCONT);
        let done = server.wait();
        assert_eq!(done.code, if signal == Signal::SIGTERM { 0 } else { 130 }, "{}", done.stderr);
        assert!(done.stderr.contains("10 bytes of an unfinished record"), "{}", done.stderr);
        assert_eq!(lines(&home), format!("first\n{text}"));
    }
}

/// `nohup` and the background jobs of scripts ignore signals on purpose; the handlers were installed all the
/// same.
#[test]
fn signals_that_were_ignored_stay_ignored() {
    let place = Place::new();
    let (home, fifo) = (place.join("ring"), place.join("fifo"));
    let mut command = Command::new("env");
    command.arg("--ignore-signal=HUP,INT");
    let plain = serve(&home, &fifo);
    command.arg(plain.get_program()).args(plain.get_args());
    let mut server = Process::start(&mut command);
    until("the FIFO is there", || fifo.exists().then_some(()));
    send(&fifo, b"one\n");
    until_tip(&home, 1);
    server.signal(Signal::SIGHUP);
    server.signal(Signal::SIGINT);
    send(&fifo, b"two\n");
    until_tip(&home, 2);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, 0);
    assert_eq!(lines(&home), "one\ntwo\n");
}

/// A `tail` in front of a pager that nobody scrolls could not be ended but by SIGKILL: it waited inside a
/// write.
#[test]
fn output_that_nobody_takes_can_be_ended() {
    let place = Place::new();
    let text: String = (0..30_000).map(|i| format!("line {i}\n")).collect();
    let home = place.ring("ring", text.as_bytes());
    for (args, signal, code) in [
        (&["tail"][..], Signal::SIGTERM, 143),
        (&["tail", "--follow", "--from", "oldest"], Signal::SIGINT, 130),
        (&["stat", "--watch", "--interval", "0.01"], Signal::SIGTERM, 143),
    ] {
        let (kept, out) = pipe();
        let mut reader =
            Bare::start(waldo().args(args).arg(&home).stdout(Stdio::from(out)).stderr(Stdio::null()));
        until_stuck(&kept);
        reader.signal(signal);
        assert_eq!(reader.code(), Some(code), "{args:?}");
    }
    // Whoever does read gets whole records, up to where the signal came.
    let (out_end, out) = pipe();
    let mut reader =
        Bare::start(waldo().arg("tail").arg(&home).stdout(Stdio::from(out)).stderr(Stdio::null()));
    until_stuck(&out_end);
    reader.signal(Signal::SIGTERM);
    let mut got = Vec::new();
    std::io::Read::read_to_end(&mut File::from(out_end), &mut got).unwrap();
    assert_eq!(reader.code(), Some(143));
    assert!(text.as_bytes().starts_with(&got) && got.ends_with(b"\n"), "cut in the middle of a record");
}

/// Waits until nothing more goes into the pipe, which is nearly full.
fn until_stuck(pipe: &OwnedFd) {
    let (mut last, mut same) = (0, 0);
    until("the pipe is full", || {
        let now = rustix::io::ioctl_fionread(pipe.as_fd()).unwrap();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (now > 50_000 && same > 20).then_some(())
    });
}
