//! The service is killed and started again: nothing is lost, nothing is twice, everybody goes on by itself.

use crate::support::child::Child;
use crate::support::ring::{Place, assert_each_once, numbers_by_producer, payload};
use crate::support::wait::wait_until;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use waldo::client::{Producer, ProducerOptions};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Appends batches until told to stop; returns how many records.
fn produce(place: &Place, name: &str, acknowledged: &AtomicU64, stop: &AtomicBool) -> u64 {
    let options = ProducerOptions::default()
        .name(name)
        .durable(name.ends_with('7'))
        .backoff(Duration::from_millis(1), Duration::from_millis(20));
    let producer = Producer::connect(place.socket(), options).unwrap();
    let mut next = 1;
    while next == 1 || !stop.load(Ordering::Relaxed) {
        let mut tickets = Vec::new();
        for size in 1..=8 {
            let batch: Vec<Vec<u8>> = (next..next + size).map(|number| payload(name, number)).collect();
            next += size;
            tickets.push((next - 1, size, producer.append(&batch).unwrap()));
        }
        for (last, size, ticket) in tickets {
            let stored = ticket.wait().unwrap();
            assert_eq!(stored.last_number, last);
            assert!(stored.last_seq_no >= last && stored.first_seq_no > 0);
            assert!(u64::from(stored.duplicates) <= size);
            acknowledged.fetch_add(size, Ordering::Relaxed);
        }
    }
    producer.close().unwrap();
    next - 1
}

#[test]
fn fifty_producers_lose_nothing_and_repeat_nothing_while_the_service_is_killed_again_and_again() {
    let producers = number("WALDO_TEST_PRODUCERS", 50);
    let kills = number("WALDO_TEST_KILLS", 20);
    let place = Place::new();
    let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), AtomicBool::new(false));
    let mut service = Child::start(place.dir(), 2);
    let lasts: Vec<(String, u64)> = thread::scope(|scope| {
        let (place, stop) = (&place, &stop);
        let threads: Vec<_> = (0..producers)
            .map(|index| {
                let acknowledged = Arc::clone(&acknowledged);
                scope.spawn(move || {
                    let name = format!("producer-{index}");
                    let last = produce(place, &name, &acknowledged, stop);
                    (name, last)
                })
            })
            .collect();
        for kill in 0..kills {
            let before = acknowledged.load(Ordering::Relaxed);
            let enough = before + 1 + 97 * (kill % 7);
            wait_until("records are acknowledged", || acknowledged.load(Ordering::Relaxed) >= enough);
            service.kill();
            service = Child::start(place.dir(), kill % 3);
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    service.stop();
    let found = numbers_by_producer(&place.home());
    assert_eq!(found.len() as u64, producers);
    for (name, last) in lasts {
        assert_each_once(&found[&name], last, &name);
    }
}
