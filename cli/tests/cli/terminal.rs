//! What a terminal is shown: payloads by `waldo tail`, and names of files by every command.

use crate::support::*;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

const SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// A `tail` on a terminal of its own, and the other end of that.
fn on_terminal(home: &Path, args: &[&str], variables: &[(&str, &str)]) -> (Killed, OwnedFd) {
    let pty = openpty(&SIZE, None).unwrap();
    let child = waldo()
        .arg("tail")
        .arg(home)
        .args(args)
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(pty.slave)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (Killed(child), pty.master)
}

/// What it shows, to its end.
fn shown(home: &Path, args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let (mut child, master) = on_terminal(home, args, variables);
    let mut shown = Vec::new();
    // The terminal ends with an error when its last program has gone.
    let _ = File::from(master).read_to_end(&mut shown);
    let code = until("it ends", || child.0.try_wait().unwrap()).code();
    (code, String::from_utf8_lossy(&shown).into_owned())
}

const HOSTILE: &[u8] = b"\x1b]0;owned\x07\x1b[2J\xc2\x9b31mred\xe2\x80\xae\r\x08\n\xff\x1b\n";

#[test]
fn no_payload_reaches_a_terminal_unescaped() {
    let place = Place::new();
    let home = place.ring("ring", HOSTILE);
    for format in ["text", "json", "hex", "{payload} {json}"] {
        let (code, text) = shown(&home, &["--format", format], &[("NO_COLOR", "1")]);
        let text = text.replace("\r\n", "\n");
        assert_eq!(code, Some(0), "{text}");
        let harmless = |char: char| !char.is_control() && char != '\u{202e}' || char == '\n';
        assert!(text.chars().all(harmless), "{format}: {text:?}");
    }
    // Raw frames are no text. Who wants the bytes gets them.
    let (code, _) = shown(&home, &["--format", "raw"], &[]);
    assert_eq!(code, Some(2));
    let (code, text) = shown(&home, &["--escape", "never"], &[("NO_COLOR", "1")]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_terminal_gets_colours_unless_they_are_not_wanted() {
    let place = Place::new();
    let home = place.ring("ring", b"one two\n");
    let args = ["--grep", "two"];
    assert_eq!(shown(&home, &args, &[]).1, "one \x1b[1;31mtwo\x1b[0m\r\n");
    for plain in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert_eq!(shown(&home, &args, &[plain]).1, "one two\r\n", "{plain:?}");
    }
    assert_eq!(shown(&home, &["--color", "never", "--grep", "two"], &[]).1, "one two\r\n");
}

/// Ctrl-S, or a terminal emulator that hangs.
#[test]
fn a_terminal_that_takes_nothing_does_not_keep_it_from_ending() {
    let place = Place::new();
    let text: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
    let home = place.ring("ring", text.as_bytes());
    for (args, signal, code) in
        [(&[][..], Signal::SIGTERM, 143), (&["-f", "--from", "oldest"], Signal::SIGINT, 130)]
    {
        let (mut child, master) = on_terminal(&home, args, &[]);
        let mut last = 0;
        let mut same = 0;
        until("the terminal is full", || {
            let now = rustix::io::ioctl_fionread(&master).unwrap();
            same = if now == last && now > 0 { same + 1 } else { 0 };
            last = now;
            (same > 20).then_some(())
        });
        kill(Pid::from_raw(child.0.id() as i32), signal).unwrap();
        assert_eq!(until("it ends", || child.0.try_wait().unwrap()).code(), Some(code), "{args:?}");
    }
}

/// Whether a terminal would do something else with the text than show it.
fn steers(text: &str) -> bool {
    text.chars().any(|char| char != '\n' && (char.is_control() || char == '\u{202e}'))
}

#[test]
fn the_name_of_a_ring_does_nothing_to_a_terminal() {
    let place = Place::new();
    let name = "a\x1b[2J\u{202e}b";
    let home = place.join(name);
    let text: String =
        (0..5000).map(|i| if i == 1200 { "victim\n".into() } else { format!("{i}\n") }).collect();
    let done = run(waldo().args(["append", "--page-size", "64K"]).arg(&home), text.as_bytes());
    assert!(done.code == 0 && !steers(&done.stderr), "{:?}", done.stderr);
    let changed = [
        &["resize", "--ring-size", "3", "--dry-run"][..],
        &["verify"],
        &["repair"],
        &["inspect"],
        &["stat"],
        &["stat", "--json"],
        &["lag"],
        &["lag", "--json"],
        &["ls"],
        &["ls", "--json"],
        &["rm", "--dry-run"],
        &["gc", "--unused-for", "0s"],
    ];
    let shown = |args: &[&str], codes: &[i32]| {
        let done = run(waldo().args(args).arg(&home), b"");
        assert!(codes.contains(&done.code), "{args:?}: {}", done.stderr);
        assert!(
            !steers(done.text()) && !steers(&done.stderr),
            "{args:?}: {:?} {:?}",
            done.text(),
            done.stderr
        );
        done.text().to_owned() + &done.stderr
    };
    for args in changed {
        // Other rings of the machine may go while these two look at them.
        let codes = if matches!(args[0], "ls" | "gc") { &[0, 1][..] } else { &[0] };
        shown(args, codes);
    }
    for part in [&["meta"][..], &["page", "1"]] {
        let done = run(waldo().arg("inspect").arg(&home).args(part), b"");
        assert!(done.code == 0 && !steers(done.text()), "{part:?}: {:?} {}", done.text(), done.stderr);
    }
    // A log of the library, wrong usage, and errors.
    let done = run(waldo().args(["-vv", "append"]).arg(&home), b"x\n");
    assert!(done.code == 0 && !steers(&done.stderr), "{:?}", done.stderr);
    assert!(shown(&["stat", "--frobnicate"], &[2]).contains("--frobnicate"));
    let done = run(waldo().arg(format!("--{name}")), b"");
    assert!(done.code == 2 && done.stderr.contains("u{202e}b") && !steers(&done.stderr), "{:?}", done.stderr);
    damage(&home, b"victim");
    for args in [&["verify"][..], &["tail"], &["repair"]] {
        assert!(shown(args, &[1]).contains("\\u{202e}b"), "{args:?}");
    }
    assert!(shown(&["repair", "--apply"], &[0]).contains("\\u{202e}b"));
}
