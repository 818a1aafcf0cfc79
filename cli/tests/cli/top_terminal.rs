//! `waldo top` and its terminal: taken over, drawn on, given back.

use crate::support::*;
use crate::whole_screen::{SIZE, WholeScreen};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::path::Path;
use std::process::Command;

fn top(home: &Path) -> Command {
    let mut command = waldo();
    command.args(["top", "--interval", "0.05"]).arg(home);
    command
}

/// One that shows the ring.
fn shown(home: &Path) -> WholeScreen {
    let mut top = WholeScreen::start(&mut top(home));
    top.until_line(&["closed", "/ring"]);
    let screen = top.seen.screen();
    assert!(screen.alternate_screen() && screen.hide_cursor() && top.is_taken());
    top
}

#[test]
fn signals_and_keys_that_end_it_give_the_terminal_back() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n");
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let mut top = shown(&home);
        top.signal(signal);
        assert_eq!(top.end(), code);
        top.assert_given_back();
    }
    for (keys, code) in [("q", 0), ("\x1b", 0), ("\x03", 130), ("?\x1b\x1b", 0), ("\rq", 0)] {
        let mut top = shown(&home);
        top.press(keys);
        assert_eq!(top.end(), code, "{keys:?}");
        top.assert_given_back();
    }
}

fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().starts_with('T')
}

/// Whether a signal has been sent to a process, and not been delivered yet.
fn is_pending(pid: i32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        u64::from_str_radix(mask, 16).unwrap()
    };
    (mask("SigPnd:") | mask("ShdPnd:")) >> (signal as i32 - 1) & 1 == 1
}

#[test]
fn it_is_suspended_and_goes_on() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n");
    let mut top = shown(&home);
    let stopped = |top: &WholeScreen| is_stopped(top.child.0.id());
    for key in [true, false] {
        if key {
            top.press("\x1a")
        } else {
            top.signal(Signal::SIGTSTP)
        }
        until("it is stopped", || stopped(&top).then_some(()));
        top.assert_given_back();
        top.signal(Signal::SIGCONT);
        top.until_line(&["closed", "/ring"]);
        assert!(top.seen.screen().alternate_screen() && top.is_taken());
    }
    top.press("q");
    assert_eq!(top.end(), 0);
    top.assert_given_back();
    // Each time once: at the start, and when it went on.
    let taken = top.bytes.windows(8).filter(|bytes| bytes == b"\x1b[?1049h").count();
    assert_eq!(taken, 3);
}

/// A script would wait for `top`, and the shell for the script.
#[test]
fn the_key_suspends_the_whole_group_as_a_terminal_does() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n");
    let script = format!("{} top --interval 0.05 {}; exit 7", crate::PROGRAM, home.display());
    let mut top = WholeScreen::start(Command::new("sh").arg("-c").arg(script));
    top.until_line(&["closed", "/ring"]);
    let group = top.child.0.id();
    top.press("\x1a");
    until("the script is stopped", || is_stopped(group).then_some(()));
    let processes = || processes_with(&home).into_iter().filter(|pid| *pid != group as i32);
    until("all are stopped", || processes().all(|pid| is_stopped(pid as u32)).then_some(()));
    assert_eq!(processes().count(), 1);
    top.assert_given_back();
    killpg(Pid::from_raw(group as i32), Signal::SIGCONT).unwrap();
    top.until("it goes on", |lines| lines.iter().any(|line| line.contains("closed")).then_some(()));
    top.press("q");
    assert_eq!(top.end(), 7);
    top.assert_given_back();
}

/// The child of a terminal emulator: nobody would let it go on.
#[test]
fn where_nobody_would_let_it_go_on_it_is_not_suspended() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n");
    // It leads a session, and its parent waits for it in another one.
    let args = ["-w", crate::PROGRAM, "top", "--interval", "0.05"];
    let mut top = WholeScreen::start(Command::new("setsid").args(args).arg(&home));
    top.until_line(&["closed", "/ring"]);
    let parent = top.child.0.id() as i32;
    let of_top: Vec<i32> = processes_with(&home).into_iter().filter(|pid| *pid != parent).collect();
    let [pid] = of_top[..] else { panic!("{of_top:?}") };
    top.press("\x1a");
    // Who does what keys say is not stopped.
    top.press("\r");
    top.until_line(&["newest record  1"]);
    kill(Pid::from_raw(pid), Signal::SIGTSTP).unwrap();
    until("it has taken note", || (!is_pending(pid, Signal::SIGTSTP)).then_some(()));
    top.press("?");
    top.until_line(&["Ctrl-L, Ctrl-Z"]);
    top.press("q");
    assert_eq!(top.end(), 0);
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n");
    let done = run(&mut top(&home), b"");
    assert_eq!(done.code, 2, "{}", done.stderr);
    for instead in ["waldo stat --watch", "waldo lag --watch", "waldo ls"] {
        assert!(done.stderr.contains(instead), "{}", done.stderr);
    }
    let script = format!("{} top {} < /dev/null", crate::PROGRAM, home.display());
    let mut half = WholeScreen::start(Command::new("sh").arg("-c").arg(script));
    assert_eq!(half.end(), 2);
    half.until_line(&["standard input is no terminal"]);
    let mut dumb = Command::new("env");
    let mut dumb = WholeScreen::start(dumb.args(["TERM=dumb", crate::PROGRAM, "top"]).arg(&home));
    assert_eq!(dumb.end(), 2);
    half.assert_given_back();
}

#[test]
fn a_terminal_may_have_any_size_and_another_one() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n");
    let mut top = shown(&home);
    top.press("\r");
    top.until_line(&["newest record  1"]);
    for (rows, columns) in [(1, 1), (2, 5), (5, 20), (3, 300), (12, 40)] {
        top.resize(rows, columns);
        // Drawn for this size, all of it is there; what is too wide would be in the next line.
        let word = if columns < 10 { "" } else { "closed" };
        top.until("it is drawn", |lines| lines.iter().any(|line| line.starts_with(word)).then_some(()));
    }
    let (rows, columns) = SIZE;
    top.resize(rows, columns);
    top.until_line(&["newest record  1"]);
    let last = top.lines().pop().unwrap();
    assert!(last.starts_with("q: leave"), "{last}");
    top.press("q");
    assert_eq!(top.end(), 0);
}

/// Between two looks that are an hour apart there is nothing else to draw.
#[test]
fn another_size_is_drawn_at_once() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n");
    let mut top = WholeScreen::start(waldo().args(["top", "--interval", "3600"]).arg(&home));
    top.until_line(&["closed", "/ring"]);
    for (rows, columns) in [(12, 40), (30, 120)] {
        top.resize(rows, columns);
        top.until("it is drawn", |lines| lines.last()?.starts_with("q: leave").then_some(()));
    }
    top.press("q");
    assert_eq!(top.end(), 0);
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n");
    std::fs::write(home.join("ring.meta"), [0xa5; 4096]).unwrap();
    let colours = |plain: bool| {
        let mut command = Command::new("env");
        command.args(plain.then_some("NO_COLOR=1")).args([crate::PROGRAM, "top"]).arg(&home);
        let mut top = WholeScreen::start(&mut command);
        top.until_line(&["unreadable", "/ring"]);
        let screen = top.seen.screen();
        let cells = (0..SIZE.0).flat_map(|row| (0..SIZE.1).map(move |column| (row, column)));
        let cells = cells.filter_map(|(row, column)| screen.cell(row, column));
        cells.filter(|cell| cell.fgcolor() != vt100::Color::Default).count()
    };
    assert!(colours(false) > 0);
    assert_eq!(colours(true), 0);
}

/// One that waits for its terminal to take what it draws.
fn full(home: &Path) -> WholeScreen {
    let mut top = shown(home);
    let (mut last, mut same) = (0, 0);
    until("the terminal is full", || {
        top.try_press("\x0c");
        let now = top.unseen();
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
        (same > 20).then_some(())
    });
    top
}

/// Ctrl-S of a terminal emulator, or one that hangs.
#[test]
fn a_terminal_that_takes_nothing_does_not_keep_top_from_ending() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n");
    let mut top = full(&home);
    top.signal(Signal::SIGTERM);
    let code = until("it ends", || top.child.0.try_wait().unwrap()).code();
    assert_eq!(code, Some(143));
    assert!(!top.is_taken());
}

/// The terminal emulator was closed, and tells nobody. An hour before the next look nothing is drawn.
#[test]
fn without_its_terminal_it_ends() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n");
    let seldom = || {
        let mut top = WholeScreen::start(waldo().args(["top", "--interval", "3600"]).arg(&home));
        top.until_line(&["closed", "/ring"]);
        top
    };
    for top in [shown(&home), seldom()] {
        let mut child = top.into_child();
        assert_eq!(until("it ends", || child.0.try_wait().unwrap()).code(), Some(129));
    }
}

/// The same while something is drawn, which tells it before a key does.
#[test]
fn without_its_terminal_it_ends_in_the_middle_of_drawing() {
    let place = Place::new();
    let home = place.ring("ring", b"1\n");
    let mut child = full(&home).into_child();
    assert_eq!(until("it ends", || child.0.try_wait().unwrap()).code(), Some(129));
}
