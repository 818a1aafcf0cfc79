//! Two connections under one name: the newer one wins.

use crate::support::raw::{Heard, Raw, append};
use crate::support::ring::{Place, assert_each_once, numbers_by_producer, payload};
use crate::support::running::Running;
use std::thread;
use waldo::client::wire::ErrorCode;
use waldo::client::{Producer, ProducerError, ProducerOptions};
use waldo::writer::Durability;
use waldo_service::ServiceOptions;

#[test]
fn the_newer_connection_of_a_name_fences_the_older() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let (mut old, welcome) = Raw::greet(&place.socket(), Some("twin"));
    assert_eq!(welcome.last_number, 0);
    old.send(&append(1, 1, &[payload("twin", 1), payload("twin", 2)]));
    assert_eq!(old.ack().last_number, 2);
    let (mut new, welcome) = Raw::greet(&place.socket(), Some("twin"));
    assert_eq!(welcome.last_number, 2);
    let error = old.error();
    assert_eq!((error.code, error.fatal), (ErrorCode::Fenced, true));
    assert!(matches!(old.hear(), Heard::End));
    new.send(&append(1, 3, &[payload("twin", 3)]));
    assert_eq!(new.ack().last_seq_no, 3);
    assert_eq!(service.counters().errors(ErrorCode::Fenced), 1);
    drop(new);
    service.stop();
    assert_each_once(&numbers_by_producer(&place.home())["twin"], 3, "twin");
}

#[test]
fn what_the_older_still_has_on_its_way_is_stored_before_the_newer_is_welcomed_or_never() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let mut last = 0;
    let mut old = Raw::greet(&place.socket(), Some("twin")).0;
    for round in 1..=50 {
        for batch in 0..8 {
            old.send(&append(batch, last + 1 + batch, &[payload("twin", last + 1 + batch)]));
        }
        let (new, welcome) = Raw::greet(&place.socket(), Some("twin"));
        assert!((last..=last + 8).contains(&welcome.last_number), "round {round}");
        last = welcome.last_number;
        old = new;
    }
    service.stop();
    let found = numbers_by_producer(&place.home());
    assert_each_once(found.get("twin").map_or(&[], Vec::as_slice), last, "twin");
}

#[test]
fn a_fenced_client_ends_and_does_not_fight_back() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let named = || ProducerOptions::default().name("twin");
    let old = Producer::connect(place.socket(), named()).unwrap();
    old.append(&[payload("twin", 1)]).unwrap().wait().unwrap();
    let new = Producer::connect(place.socket(), named()).unwrap();
    assert_eq!(new.last_stored(), 1);
    thread::scope(|scope| {
        let fenced = scope.spawn(|| old.close());
        assert!(matches!(fenced.join().unwrap(), Err(ProducerError::Fenced)));
    });
    assert!(matches!(old.append(&[b"late"]), Err(ProducerError::Fenced)));
    new.append(&[payload("twin", 2)]).unwrap().wait().unwrap();
    new.close().unwrap();
    service.stop();
    assert_each_once(&numbers_by_producer(&place.home())["twin"], 2, "twin");
}
