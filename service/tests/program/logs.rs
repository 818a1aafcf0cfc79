//! The log, and standard error that nobody reads.

use crate::ring::Place;
use crate::support::*;
use crate::wait::wait_until;
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use waldo::client::{Producer, ProducerOptions};

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

/// As on a full disk, the journal of producers cannot be shortened; all goes on, without a line for each turn.
#[test]
fn what_fails_at_each_turn_is_not_told_at_each_turn() {
    let place = Place::new();
    let file = config_file(&place, &ring_table(&place, "orders", "journal_growth = 4096"));
    let program = Program::start(&place, &["--config".into(), path(&file)]);
    let in_the_way = place.dir().join("orders/producers.journal.new");
    std::fs::create_dir(&in_the_way).unwrap();
    let options = ProducerOptions::default().name("p");
    let producer = Producer::connect(place.dir().join("orders.sock"), options).unwrap();
    for number in 0..2000 {
        producer.append(&[format!("{number}")]).unwrap().wait().unwrap();
    }
    producer.close().unwrap();
    program.until_logged("the journal of producers cannot be written anew");
    let lines = program.log().matches("cannot be written anew").count();
    assert!(lines < 100, "{lines} lines");
    std::fs::remove_dir(in_the_way).unwrap();
    program.stop();
    assert_eq!(texts(&place.dir().join("orders")).len(), 2000);
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

/// A journal of the test's own, which the service alone sees. `None`, and a word about it, without namespaces.
fn with_journal(place: &Place, more: &[&str]) -> Option<(UnixDatagram, Command)> {
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|done| done.success()) {
        println!("left out: no namespaces here (not root?)");
        return None;
    }
    let journal = place.dir().join("journal");
    std::fs::create_dir(&journal).unwrap();
    let socket = UnixDatagram::bind(journal.join("socket")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
                  mount --bind $1/journal /run/systemd/journal && exec \"${@:2}\"";
    command.args(["--mount", "bash", "-c", script, "bash"]).arg(place.dir());
    command
        .arg(waldo_service().get_program())
        .args(small(place))
        .args(["--log-format", "journald"])
        .args(more);
    Some((socket, command))
}

#[test]
fn the_journal_gets_the_ring_as_a_field() {
    let place = Place::new();
    let Some((socket, mut command)) = with_journal(&place, &[]) else { return };
    let program = Program::start_command(&place, &mut command);
    let mut entries = Vec::new();
    wait_until("the entry comes", || {
        let mut bytes = [0; 8192];
        while let Ok(len) = socket.recv(&mut bytes) {
            entries.push(String::from_utf8_lossy(&bytes[..len]).into_owned());
        }
        entries.iter().any(|entry| entry.contains("producers may connect") && entry.contains("WALDO_RING"))
    });
    assert_eq!(program.stop(), "", "nothing goes to standard error");
}

#[test]
fn a_journal_that_is_stopped_holds_up_neither_the_start_nor_an_append_nor_the_end() {
    let place = Place::new();
    let Some((socket, mut command)) = with_journal(&place, &["--log-level", "trace"]) else { return };
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    // Not one more entry goes in, and nobody takes any.
    while sender.send_to(b"A=b\n", place.dir().join("journal/socket")).is_ok() {}
    let mut program = Program::spawn(&place, &mut command);
    program.until_told("READY=1");
    for number in 0..20 {
        append(&place.socket(), &number.to_string());
    }
    program.stop();
    assert_eq!(texts(&place.home()).len(), 20);
    drop(socket);
}
