//! `waldo serve --socket`, which becomes another program, and `waldo append --socket`, which sends to it.
//!
//! Tests with the real service need its program beside this command: `cargo test --workspace` builds it.

use crate::support::*;
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command in a directory of its own, where nothing is beside it.
fn lonely(place: &Place) -> PathBuf {
    let dir = place.join("bin");
    std::fs::create_dir(&dir).unwrap();
    let program = dir.join("waldo");
    std::fs::hard_link(waldo().get_program(), &program)
        .or_else(|_| std::fs::copy(waldo().get_program(), &program).map(drop))
        .unwrap();
    program
}

/// A program that prints its arguments and ends with code 7.
fn fake_service(dir: &Path, word: &str) {
    let path = dir.join("waldo-service");
    std::fs::write(&path, format!("#!/bin/sh\necho {word} \"$@\"\nexit 7\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn serve_with_a_socket_becomes_the_service_beside_it_or_in_path() {
    let place = Place::new();
    let program = lonely(&place);
    let start = |args: &[&str]| {
        let mut command = Command::new(&program);
        command
            .arg("serve")
            .args(args)
            .env("PATH", format!("{}:/bin:/usr/bin", place.join("path").display()));
        run(&mut command, b"")
    };
    let missing = start(&["ring", "--socket", "s"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("cargo install --path service"), "{}", missing.stderr);
    std::fs::create_dir(place.join("path")).unwrap();
    fake_service(&place.join("path"), "from-path");
    let done =
        start(&["ring", "--socket", "s", "--page-size", "1M", "--ring-size", "4", "--no-sync", "--check"]);
    let wanted = "from-path --ring-size 4 --page-size 1048576 --no-sync --socket s --check -- ring\n";
    assert_eq!((done.code, done.text()), (7, wanted));
    let flags =
        ["--size", "1G", "--keep-for", "90m", "--on-full", "drop-oldest", "--group", "0", "--mode", "640"];
    let done = start(&[&["ring", "--socket", "s"], &flags[..]].concat());
    let wanted = "from-path --size 1073741824 --keep-for 1h 30m --on-full drop-oldest --mode 0640 --group 0 \
                  --socket s -- ring\n";
    assert_eq!((done.code, done.text()), (7, wanted));
    fake_service(program.parent().unwrap(), "beside");
    let done =
        start(&["--config", "file", "--http", "127.0.0.1:1", "--log-level", "debug", "--log-format", "json"]);
    let wanted = "beside --config file --http 127.0.0.1:1 --log-level debug --log-format json\n";
    assert_eq!((done.code, done.text()), (7, wanted));
}

#[test]
fn flags_that_do_not_go_together_are_wrong_usage() {
    for args in [
        &["serve"][..],
        &["serve", "ring", "--check"],
        &["serve", "ring", "--http", "127.0.0.1:1"],
        &["serve", "ring", "--socket", "s", "--fifo", "f"],
        &["serve", "ring", "--socket", "s", "--framed"],
        &["serve", "--config", "f", "--no-sync"],
        &["serve", "--config", "f", "--keep-for", "1h"],
        &["serve", "--config", "f", "--on-full", "drop-oldest"],
        &["append"],
        &["append", "ring", "--socket", "s"],
        &["append", "--socket", "s", "--ring-size", "4"],
        &["append", "--socket", "s", "--no-sync"],
        &["append", "--socket", "s", "--keep-for", "1h"],
        &["append", "--socket", "s", "--on-full", "drop-oldest"],
        &["append", "ring", "--producer", "me"],
        &["append", "ring", "--no-lane"],
        &["append", "ring", "--durable"],
        &["append", "ring", "--wait", "1s"],
        &["append", "--socket", "s", "--resume"],
        &["append", "--socket", "s", "--wait", "long"],
    ] {
        let done = run(waldo().args(args), b"");
        assert_eq!(done.code, 2, "{args:?}: {}", done.stderr);
    }
}

/// A service for the ring in `place`, by `waldo serve --socket`; `None` where its program has not been built.
fn service(place: &Place) -> Option<Process> {
    let beside = Path::new(waldo().get_program()).with_file_name("waldo-service");
    if !beside.is_file() {
        println!("left out: {} is not there, `cargo build -p waldo-service` builds it", beside.display());
        return None;
    }
    let mut command = waldo();
    command.args(["serve", "--page-size", "1M", "--ring-size", "16", "--no-sync"]);
    command.arg(place.join("ring")).arg("--socket").arg(place.join("socket"));
    Some(Process::start(&mut command))
}

fn append(place: &Place, args: &[&str]) -> Command {
    let mut command = waldo();
    command.args(["append", "--socket"]).arg(place.join("socket")).args(args);
    command
}

fn lines(place: &Place) -> String {
    run(waldo().arg("tail").arg(place.join("ring")), b"").text().to_owned()
}

#[test]
fn lines_and_frames_go_through_the_service_in_order() {
    let place = Place::new();
    let Some(mut service) = service(&place) else { return };
    // More than one frame holds, in bytes and in records.
    let text: String = (0..70_000).map(|i| format!("{i}\n")).collect();
    let done = run(&mut append(&place, &["--batch", "4M"]), text.as_bytes());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stderr.contains("appended 70,000 records") && done.stderr.contains("seq 1 to 70000"),
        "{}",
        done.stderr
    );
    let empty = "\n".repeat(70_000);
    assert_eq!(run(&mut append(&place, &["--durable", "-q"]), empty.as_bytes()).code, 0);
    assert_eq!(run(&mut append(&place, &["--framed"]), b"\x03\0\0\0one").code, 0);
    assert!(lines(&place) == format!("{text}{empty}one\n"));
    service.signal(Signal::SIGTERM);
    assert_eq!(service.wait().code, 0);
}

#[test]
fn a_record_that_the_ring_does_not_take_is_refused_and_the_others_are_stored() {
    let place = Place::new();
    let Some(_service) = service(&place) else { return };
    let text = format!("one\n{}\ntwo\n", "x".repeat(3 << 20));
    let done = run(&mut append(&place, &[]), text.as_bytes());
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stderr.contains("line 2, at byte 4 of the input, is too long"), "{}", done.stderr);
    assert_eq!(lines(&place), "one\ntwo\n");
    assert_eq!(run(&mut append(&place, &["--long-lines", "truncate"]), text.as_bytes()).code, 0);
}

#[test]
fn an_input_with_a_name_is_stored_once_however_often_it_is_sent() {
    let place = Place::new();
    let Some(_service) = service(&place) else { return };
    let named = ["--producer", "import", "--resume"];
    assert_eq!(run(&mut append(&place, &named), b"1\n2\n3\n").code, 0);
    let done = run(&mut append(&place, &named), b"1\n2\n3\n4\n");
    assert!(done.code == 0 && done.stderr.contains("first 3 records are stored already"), "{}", done.stderr);
    // Without --resume the input is a new one.
    assert_eq!(run(&mut append(&place, &["--producer", "import"]), b"5\n").code, 0);
    assert_eq!(lines(&place), "1\n2\n3\n4\n5\n");
}

#[test]
fn a_service_that_is_killed_and_comes_back_costs_nothing() {
    let place = Place::new();
    let Some(mut first) = service(&place) else { return };
    let mut producer = Process::start(&mut append(&place, &["--producer", "p", "--wait", "forever"]));
    let mut text = String::new();
    for round in 0..4 {
        let part: String = (0..1000).map(|i| format!("{round} {i}\n")).collect();
        producer.write(part.as_bytes());
        text.push_str(&part);
        until_tip(&place.join("ring"), round * 1000 + 500);
        first.signal(Signal::SIGKILL);
        first.wait();
        first = service(&place).unwrap();
    }
    let done = producer.finish();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(lines(&place), text);
}

#[test]
fn a_service_that_is_not_there_is_told_and_waiting_for_it_can_be_ended() {
    let place = Place::new();
    let done = run(&mut append(&place, &["--wait", "0s"]), b"one\n");
    assert!(done.code == 1 && done.stderr.contains("no connection to the service at"), "{}", done.stderr);
    let mut waiting = Process::start(&mut append(&place, &["--wait", "forever"]));
    until("it waits", || {
        let pid = waiting.pid();
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        names.into_iter().any(|name| name.trim() == "waldo-connect").then_some(())
    });
    waiting.signal(Signal::SIGTERM);
    assert_eq!(waiting.wait().code, 143);
    // The same with a connection that has broken: what was sent may be stored or not, and that is told.
    let Some(mut service) = service(&place) else { return };
    let mut producer = Process::start(&mut append(&place, &["--wait", "forever"]));
    producer.write(b"one\n");
    until_tip(&place.join("ring"), 1);
    service.signal(Signal::SIGKILL);
    service.wait();
    producer.write(b"two\n");
    producer.signal(Signal::SIGINT);
    let done = producer.wait();
    assert_eq!(done.code, 130);
    assert!(done.stderr.contains("1 records were sent and not acknowledged"), "{}", done.stderr);
}

/// It took 30 s more, whatever --wait said.
#[test]
fn a_service_that_takes_the_connection_and_never_answers_is_waited_for_as_long_as_was_asked_for() {
    let place = Place::new();
    let _mute = std::os::unix::net::UnixListener::bind(place.join("socket")).unwrap();
    let done = run(&mut append(&place, &["--wait", "0s"]), b"one\n");
    assert!(done.code == 1 && done.stderr.contains("not answered for 1s"), "{}", done.stderr);
}

/// The batch that had the error for an answer was counted nowhere, and the record that was named was the one
/// that was read last: whoever went on there lost what had been sent in between.
#[test]
fn what_a_service_that_is_gone_has_not_acknowledged_is_told() {
    let place = Place::new();
    let Some(mut service) = service(&place) else { return };
    assert_eq!(run(&mut append(&place, &[]), b"0\n").code, 0);
    let mut producer = Process::start(&mut append(&place, &["--wait", "0s"]));
    producer.write(b"1\n2\n");
    until_tip(&place.join("ring"), 3);
    service.stop();
    producer.write(b"3\n4\n5\n");
    until("it has sent everything", || producer.waits_for_input().then_some(()));
    service.signal(Signal::SIGKILL);
    service.wait();
    let done = producer.finish();
    assert_eq!(done.code, 1, "{}", done.stderr);
    let stored = if done.stderr.contains("appended 2 records") { 2 } else { 0 };
    assert!(
        done.stderr.contains(&format!("{} records were sent and not acknowledged", 5 - stored)),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains(&format!("has not acknowledged the input from record {} on", stored + 1)),
        "{}",
        done.stderr
    );
}

/// It sat there, and looked alive, until the next line came.
#[test]
fn without_input_it_ends_when_the_service_is_gone_for_longer_than_it_waits() {
    let place = Place::new();
    let Some(mut service) = service(&place) else { return };
    assert_eq!(run(&mut append(&place, &[]), b"0\n").code, 0);
    let mut producer = Process::start(&mut append(&place, &["--wait", "0s"]));
    producer.write(b"1\n");
    until_tip(&place.join("ring"), 2);
    service.signal(Signal::SIGKILL);
    service.wait();
    // Its input stays open.
    let done = producer.wait();
    assert!(done.code == 1 && done.stderr.contains("from record"), "{}: {}", done.code, done.stderr);
}
