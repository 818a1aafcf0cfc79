//! The log, and standard error that nobody reads.

use crate::ring::Place;
use crate::support::*;
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::process::Stdio;

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

#[test]
fn nobody_has_to_read_standard_error() {
    let (_kept, full) = pipe();
    fill(&full);
    let (gone, closed) = pipe();
    drop(gone);
    let disk = OpenOptions::new().write(true).open("/dev/full").unwrap();
    for (what, stderr) in [("full", full), ("closed", closed), ("no room", disk.into())] {
        let place = Place::new();
        let mut command = waldo_service();
        command.args(small(&place)).args(["--log-level", "trace"]).stderr(Stdio::from(stderr));
        let mut program = Program::spawn_as_it_is(&place, &mut command);
        program.until_told("READY=1");
        for number in 0..20 {
            append(&place.socket(), &number.to_string());
        }
        program.stop();
        assert_eq!(texts(&place.home()).len(), 20, "{what}");
    }
}

#[test]
fn each_line_of_the_json_log_is_an_object() {
    let place = Place::new();
    let mut args = small(&place);
    args.extend(["--log-format".to_owned(), "json".to_owned()]);
    let log = Program::start(&place, &args).stop();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    assert!(lines.len() >= 3, "{log}");
    let made = lines.iter().find(|line| line["message"].as_str().unwrap().starts_with("made the ring"));
    assert_eq!(made.unwrap()["ring"], "ring");
    assert!(lines.iter().all(|line| line["level"] == "INFO" && line["timestamp"].is_string()), "{log}");
}

#[test]
fn the_level_comes_from_the_flag_then_from_the_environment_then_from_the_file() {
    let place = Place::new();
    let text = "[log]\nlevel = \"error\"\n".to_owned() + &ring_table(&place, "orders", "");
    let file = config_file(&place, &text);
    let run = |flag: Option<&str>, variable: Option<&str>| {
        let _ = std::fs::remove_file(place.dir().join("log"));
        let mut command = waldo_service();
        command.arg("--config").arg(&file);
        flag.map(|level| command.args(["--log-level", level]));
        variable.map(|level| command.env("RUST_LOG", level));
        Program::start_command(&place, &mut command).stop()
    };
    assert_eq!(run(None, None), "");
    assert!(run(None, Some("info")).contains("producers may connect"));
    assert_eq!(run(Some("warn"), Some("info")), "");
}

#[test]
fn a_journal_that_is_not_there_is_told_at_the_start() {
    if std::path::Path::new("/run/systemd/journal/socket").exists() {
        return;
    }
    let place = Place::new();
    let output = waldo_service().args(small(&place)).args(["--log-format", "journald"]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && err.contains("choose the log format text or json"), "{err}");
}
