//! A shutdown acknowledges what was stored, and clients go on when the service is back.

use crate::support::raw::{Heard, Raw, append};
use crate::support::ring::{Place, assert_each_once, numbers_by_producer, payload};
use crate::support::running::Running;
use crate::support::wait::wait_until;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use waldo::client::{Producer, ProducerError, ProducerOptions};
use waldo::writer::Durability;
use waldo_service::ServiceOptions;

#[test]
fn a_shutdown_acknowledges_what_is_stored_and_takes_leave() {
    let place = Place::new();
    let mut service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let (mut raw, _) = Raw::greet(&place.socket(), Some("leaving"));
    for number in 1..=20 {
        raw.send(&append(number, number, &[payload("leaving", number)]));
    }
    assert_eq!(raw.ack().last_number, 1);
    service.begin_stop();
    let mut acknowledged = 1;
    loop {
        match raw.hear() {
            Heard::Ack(ack) => acknowledged = ack.last_number,
            Heard::Goodbye => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(raw.hear(), Heard::End));
    drop(service);
    assert!(!place.socket().exists(), "the socket's file goes with the service");
    let found = numbers_by_producer(&place.home());
    assert_each_once(&found["leaving"], acknowledged, "leaving");
}

#[test]
fn clients_go_on_by_themselves_over_restarts() {
    let place = Place::new();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = || Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let mut service = Some(start());
    let last = thread::scope(|scope| {
        let service = &mut service;
        let (place, stop, acknowledged) = (&place, &stop, &acknowledged);
        let producer = scope.spawn(move || {
            let options = ProducerOptions::default()
                .name("going")
                .backoff(Duration::from_millis(1), Duration::from_millis(10));
            let producer = Producer::connect(place.socket(), options).unwrap();
            let mut last = 0;
            while !stop.load(Ordering::Relaxed) {
                let tickets: Vec<_> = (0..10)
                    .map(|_| {
                        last += 1;
                        producer.append(&[payload("going", last)]).unwrap()
                    })
                    .collect();
                tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
                acknowledged.store(last, Ordering::Relaxed);
            }
            producer.close().unwrap();
            last
        });
        for _ in 0..5 {
            let before = acknowledged.load(Ordering::Relaxed);
            wait_until("records are acknowledged", || acknowledged.load(Ordering::Relaxed) > before);
            service.take().unwrap().stop();
            *service = Some(start());
        }
        stop.store(true, Ordering::Relaxed);
        producer.join().unwrap()
    });
    drop(service);
    assert_each_once(&numbers_by_producer(&place.home())["going"], last, "going");
}

#[test]
fn a_producer_gives_up_when_it_was_told_to() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let options = ProducerOptions::default().reconnect_for(Some(Duration::from_millis(20)));
    let producer = Producer::connect(place.socket(), options.clone()).unwrap();
    service.stop();
    let ticket = producer.append(&[b"in vain"]);
    let error = ticket.and_then(waldo::client::Ticket::wait).unwrap_err();
    assert!(matches!(error, ProducerError::GaveUp { .. }), "{error}");
    assert!(producer.close().is_err());
    let none = Producer::connect(place.socket(), options.connect_timeout(Duration::ZERO)).unwrap_err();
    assert!(matches!(&none, ProducerError::Connect { path, .. } if *path == place.socket()), "{none}");
}

#[test]
fn dropping_a_producer_ends_what_waits() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let producer = Producer::connect(place.socket(), ProducerOptions::default()).unwrap();
    producer.append(&[b"1"]).unwrap().wait().unwrap();
    service.stop();
    let ticket = producer.append(&[b"2"]).unwrap();
    drop(producer);
    assert!(matches!(ticket.wait(), Err(ProducerError::Closed)));
}
