//! Several rings in one process.

use crate::ring::Place;
use crate::support::*;
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
