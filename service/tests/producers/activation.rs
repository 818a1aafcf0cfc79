//! A socket that somebody else listens on first.

use crate::support::child::Child;
use crate::support::ring::{Place, assert_each_once, numbers_by_producer, payload};
use std::os::unix::net::UnixListener;
use waldo::client::{Producer, ProducerOptions};

#[test]
fn a_service_takes_over_a_socket_it_was_started_with_and_nobody_is_refused_in_between() {
    let place = Place::new();
    let listener = UnixListener::bind(place.socket()).unwrap();
    let start = || Child::start_on(place.dir(), listener.try_clone().unwrap().into());
    let mut service = start();
    let producer = Producer::connect(place.socket(), ProducerOptions::default().name("patient")).unwrap();
    for number in 1..=3 {
        producer.append(&[payload("patient", number)]).unwrap().wait().unwrap();
        service.kill();
        service = start();
    }
    producer.close().unwrap();
    service.kill();
    assert!(place.socket().exists(), "the file is not the service's");
    assert_each_once(&numbers_by_producer(&place.home())["patient"], 3, "patient");
}
