//! How the service ends, and how it does not.

use crate::deaf::fill_with_answers;
use crate::ring::Place;
use crate::support::*;
use nix::sys::signal::Signal;
use std::process::Command;
use waldo::client::{Producer, ProducerOptions};

#[test]
fn what_was_acknowledged_is_there_after_each_kind_of_end() {
    for (signal, code) in [(Signal::SIGTERM, Some(0)), (Signal::SIGINT, Some(130)), (Signal::SIGKILL, None)] {
        let place = Place::new();
        let mut program = Program::start(&place, &small(&place));
        let producer = Producer::connect(place.socket(), ProducerOptions::default().name("p")).unwrap();
        for number in 0..100 {
            producer.append(&[format!("{number}")]).unwrap().wait().unwrap();
        }
        program.signal(signal);
        assert_eq!(program.ended().code(), code, "{}", program.log());
        assert_eq!(texts(&place.home()).len(), 100);
        drop(producer);
        if code.is_some() {
            assert!(
                program.log().contains("100 records were stored, everything is durable"),
                "{}",
                program.log()
            );
            assert!(!place.socket().exists());
        }
    }
}

/// A producer that does not read its answers holds up the end for `drain_timeout`.
#[test]
fn a_second_signal_ends_the_service_at_once() {
    let place = Place::new();
    let file =
        config_file(&place, &ring_table(&place, "orders", "drain_timeout = \"1h\"\nstall_timeout = \"1h\""));
    let mut program = Program::start(&place, &["--config".into(), path(&file)]);
    let _deaf = fill_with_answers(&place.dir().join("orders.sock"));
    program.signal(Signal::SIGTERM);
    program.until_told("STOPPING=1");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended().code(), Some(143), "{}", program.log());
}

#[test]
fn signals_that_were_ignored_at_the_start_stay_ignored() {
    let place = Place::new();
    let mut command = Command::new("env");
    command.arg("--ignore-signal=HUP,INT").arg(waldo_service().get_program()).args(small(&place));
    let program = Program::start_command(&place, &mut command);
    program.signal(Signal::SIGHUP);
    program.signal(Signal::SIGINT);
    append(&place.socket(), "still there");
    let log = program.stop();
    assert!(!log.contains("reload"), "{log}");
    assert_eq!(texts(&place.home()), ["still there"]);
}

#[test]
fn a_hangup_without_a_file_changes_nothing() {
    let place = Place::new();
    let program = Program::start(&place, &small(&place));
    program.signal(Signal::SIGHUP);
    program.until_logged("there is nothing to reload");
    append(&place.socket(), "one");
    program.stop();
}
