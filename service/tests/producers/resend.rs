//! Batches that come again, out of order, or under a condition.

use crate::support::raw::{Heard, Raw, append};
use crate::support::ring::{Place, assert_each_once, numbers_by_producer, payload};
use crate::support::running::Running;
use waldo::client::wire::{Ack, ErrorCode};
use waldo::client::{Producer, ProducerError, ProducerOptions};
use waldo::writer::Durability;
use waldo_service::ServiceOptions;

fn batch(name: &str, numbers: std::ops::RangeInclusive<u64>) -> Vec<Vec<u8>> {
    numbers.map(|number| payload(name, number)).collect()
}

#[test]
fn a_batch_that_comes_again_is_acknowledged_with_the_numbers_it_got() {
    let place = Place::new();
    let start = || Running::start(&place, Durability::Sync, ServiceOptions::default());
    let service = start();
    let (mut raw, _) = Raw::greet(&place.socket(), Some("again"));
    let (mut other, _) = Raw::greet(&place.socket(), None);
    other.send(&append(1, 0, &[b"other 1".to_vec()]));
    other.ack();
    raw.send(&append(1, 1, &batch("again", 1..=3)));
    let first = raw.ack();
    assert_eq!((first.first_seq_no, first.last_seq_no, first.duplicates), (2, 4, 0));
    other.send(&append(2, 0, &[b"other 2".to_vec()]));
    other.ack();
    // The same, on the same connection.
    raw.send(&append(2, 1, &batch("again", 1..=3)));
    assert_eq!(raw.ack(), Ack { batch: 2, duplicates: 3, ..first });
    // With records behind them that are new.
    raw.send(&append(3, 2, &batch("again", 2..=5)));
    let both = raw.ack();
    assert_eq!((both.first_seq_no, both.last_seq_no, both.duplicates, both.last_number), (3, 7, 2, 5));
    drop((raw, other));
    let counters = service.stop();
    assert_eq!((counters.records, counters.duplicates), (7, 5));
    // After a restart.
    let service = start();
    let (mut raw, welcome) = Raw::greet(&place.socket(), Some("again"));
    assert_eq!((welcome.last_number, welcome.tip), (5, 7));
    raw.send(&append(9, 1, &batch("again", 1..=3)));
    assert_eq!(raw.ack(), Ack { batch: 9, duplicates: 3, ..first });
    drop(raw);
    service.stop();
    assert_each_once(&numbers_by_producer(&place.home())["again"], 5, "again");
}

#[test]
fn records_that_skip_a_number_are_refused_and_nothing_behind_them_is_stored() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let (mut raw, _) = Raw::greet(&place.socket(), Some("gap"));
    raw.send(&append(1, 1, &batch("gap", 1..=2)));
    raw.send(&append(2, 4, &batch("gap", 4..=5)));
    raw.send(&append(3, 3, &batch("gap", 3..=3)));
    assert_eq!(raw.ack().last_number, 2);
    let error = raw.error();
    assert_eq!((error.code, error.batch, error.detail), (ErrorCode::OutOfOrder, 2, 2));
    assert!(matches!(raw.hear(), Heard::End));
    service.stop();
    assert_each_once(&numbers_by_producer(&place.home())["gap"], 2, "gap");
}

#[test]
fn a_name_that_is_not_known_may_begin_with_any_number() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let (mut raw, _) = Raw::greet(&place.socket(), Some("forgotten"));
    raw.send(&append(1, 5001, &batch("forgotten", 5001..=5002)));
    assert_eq!(raw.ack().last_number, 5002);
    raw.send(&append(2, 5001, &batch("forgotten", 5001..=5002)));
    assert_eq!(raw.ack().duplicates, 2);
    drop(raw);
    service.stop();
    assert_eq!(numbers_by_producer(&place.home())["forgotten"], [5001, 5002]);
}

#[test]
fn a_conditional_append_is_stored_only_behind_the_record_it_names() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    for name in [None, Some("careful")] {
        let mut options = ProducerOptions::default();
        options.name = name.map(str::to_owned);
        let producer = Producer::connect(place.socket(), options).unwrap();
        let tip = producer.welcome().tip;
        let tickets = [
            producer.append_after(tip, &[b"a"]).unwrap(),
            producer.append_after(tip, &[b"b"]).unwrap(),
            producer.append(&[b"c"]).unwrap(),
            producer.append_after(tip + 2, &[b"d", b"e"]).unwrap(),
        ];
        let [a, b, c, d] = tickets.map(waldo::client::Ticket::wait);
        assert_eq!(a.unwrap().last_seq_no, tip + 1);
        assert!(matches!(b, Err(ProducerError::Conflict { expected, tip: found })
            if expected == tip && found == tip + 1));
        assert_eq!(c.unwrap().last_seq_no, tip + 2);
        let d = d.unwrap();
        assert_eq!((d.first_seq_no, d.last_seq_no), (tip + 3, tip + 4));
        // A refused batch takes none of the producer's own numbers.
        assert_eq!(d.last_number, if name.is_some() { 4 } else { 0 });
        producer.close().unwrap();
    }
    assert_eq!(service.stop().errors(ErrorCode::Conflict), 2);
}

#[test]
fn a_producer_that_comes_back_goes_on_behind_what_is_stored() {
    let place = Place::new();
    for life in 0..3 {
        let service = Running::start(&place, Durability::Sync, ServiceOptions::default());
        let options = ProducerOptions::default().name("back");
        let producer = Producer::connect(place.socket(), options).unwrap();
        assert_eq!(producer.last_stored(), 10 * life);
        let ticket = producer.append(&batch("back", 10 * life + 1..=10 * life + 10)).unwrap();
        assert!(ticket.wait().unwrap().durable);
        producer.close().unwrap();
        service.stop();
    }
    assert_each_once(&numbers_by_producer(&place.home())["back"], 30, "back");
}

#[test]
fn acknowledgements_say_durable_when_that_was_asked_for() {
    let place = Place::new();
    let hour = std::time::Duration::from_secs(3600);
    let service = Running::start(&place, Durability::Interval(hour), ServiceOptions::default());
    for durable in [false, true] {
        let options = ProducerOptions::default().durable(durable);
        let producer = Producer::connect(place.socket(), options).unwrap();
        assert_eq!(producer.append(&[b"x"]).unwrap().wait().unwrap().durable, durable);
        producer.close().unwrap();
    }
    service.stop();
}
