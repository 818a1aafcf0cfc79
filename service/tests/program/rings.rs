//! Several rings in one process.

use crate::raw::Raw;
use crate::ring::Place;
use crate::support::*;
use std::process::Command;
use waldo::client::wire::ErrorCode;
use waldo::client::{Producer, ProducerOptions};
use waldo::reader::Ring;

#[test]
fn each_ring_has_its_own_producers() {
    let place = Place::new();
    let file = config_file(&place, &(ring_table(&place, "orders", "") + &ring_table(&place, "quotes", "")));
    let program = Program::start(&place, &["--config".into(), path(&file)]);
    append(&place.dir().join("orders.sock"), "an order");
    append(&place.dir().join("quotes.sock"), "a quote");
    assert_eq!(texts(&place.dir().join("orders")), ["an order"]);
    let log = program.stop();
    assert_eq!(texts(&place.dir().join("quotes")), ["a quote"]);
    assert_eq!(log.matches("everything is durable").count(), 2, "{log}");
}

#[test]
fn one_ring_that_cannot_be_opened_ends_the_start_and_leaves_no_socket() {
    let place = Place::new();
    std::fs::create_dir(place.dir().join("quotes")).unwrap();
    std::fs::write(place.dir().join("quotes/ring.meta"), "not a ring").unwrap();
    let file = config_file(&place, &(ring_table(&place, "orders", "") + &ring_table(&place, "quotes", "")));
    let mut command = waldo_service();
    let mut program = Program::spawn(&place, command.args(["--config".into(), path(&file)]));
    assert_eq!(program.ended().code(), Some(3));
    assert!(program.log().contains("cannot open the ring"), "{}", program.log());
    assert!(!place.dir().join("orders.sock").exists());
}

/// Its writer needs one for each page, and all connections together may not take the last.
#[test]
fn producers_that_only_hold_connections_leave_the_ring_its_descriptors() {
    let place = Place::new();
    let file = config_file(&place, &ring_table(&place, "orders", "hello_timeout = \"1h\""));
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -n 150 && exec \"$@\"", "bash"]).arg(waldo_service().get_program());
    let program = Program::start_command(&place, command.arg("--config").arg(file));
    program
        .until_logged("files would be open with as many producers as `producers_max` allows, and 150 may be");
    let socket = place.dir().join("orders.sock");
    let producer = Producer::connect(&socket, ProducerOptions::default()).unwrap();
    let mut idle: Vec<Raw> = (0..200).map(|_| Raw::connect(&socket)).collect();
    assert_eq!(idle.last_mut().unwrap().error().code, ErrorCode::TooManyProducers);
    // Several times the ring, so that pages come and go.
    for _ in 0..20 {
        producer.append(&[vec![b'x'; 500_000]]).unwrap().wait().unwrap();
    }
    producer.close().unwrap();
    let log = program.stop();
    assert!(log.contains("the service may open no more files") && !log.contains("os error 24"), "{log}");
}

#[test]
fn a_ring_that_is_there_keeps_its_geometry_and_the_log_says_so() {
    let place = Place::new();
    Program::start(&place, &small(&place)).stop();
    let mut args = small(&place);
    args[1] = "2M".to_owned();
    let log = Program::start(&place, &args).stop();
    assert!(log.contains("the ring keeps its 4 pages of 1.00 MiB"), "{log}");
    assert_eq!(Ring::attach(place.home()).unwrap().status().unwrap().page_len, 1 << 20);
}
