//! Flow control: a producer that does not read its answers is held back, in the end cut off, and harms
//! nobody.

use crate::support::raw::{Raw, append};
use crate::support::ring::{Place, payload, records};
use crate::support::running::Running;
use crate::support::wait::{DEADLINE, wait_until};
use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;
use waldo::client::wire::ErrorCode;
use waldo::client::{Producer, ProducerError, ProducerOptions};
use waldo::writer::Durability;
use waldo_service::ServiceOptions;

/// Sends batches of one record, and reads nothing, until the service closes the connection. Returns how many
/// were sent as a whole. A full socket says nothing of the service, which may not have had its turn: so this
/// waits in the write.
fn flood(raw: &mut Raw) -> u64 {
    raw.0.set_write_timeout(Some(DEADLINE)).unwrap();
    let mut sent = 0;
    let frame = append(1, 0, &[b"flood 1".to_vec()]);
    loop {
        match raw.0.write_all(&frame) {
            Ok(()) => sent += 1,
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => break,
            Err(error) => panic!("{error}"),
        }
    }
    sent
}

#[test]
fn a_producer_that_never_reads_its_answers_is_held_back_and_cut_off() {
    let place = Place::new();
    let options = ServiceOptions::default().window_batches(8).stall_timeout(Duration::from_secs(2));
    let service = Running::start(&place, Durability::PageCache, options);
    let good = Producer::connect(place.socket(), ProducerOptions::default().name("good")).unwrap();
    let (mut bad, _) = Raw::greet(&place.socket(), None);
    let sent = thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&mut bad));
        // Others are served meanwhile.
        for number in 1..=100 {
            good.append(&[payload("good", number)]).unwrap().wait().unwrap();
        }
        flooding.join().unwrap()
    });
    wait_until("the service cuts it off", || service.counters().cut_off == 1);
    wait_until("its connection ends", || service.counters().connected == 1);
    assert_eq!(service.counters().errors(ErrorCode::TooSlow), 1);
    good.append(&[payload("good", 101)]).unwrap().wait().unwrap();
    good.close().unwrap();
    service.stop();
    let stored = records(&place.home()).len() as u64 - 101;
    assert!(0 < stored && stored <= sent, "{stored} of {sent}");
}

#[test]
fn a_window_that_is_full_holds_the_producer_back_until_it_reads() {
    let place = Place::new();
    let options = ServiceOptions::default().window_batches(1);
    let service = Running::start(&place, Durability::PageCache, options);
    let (mut raw, welcome) = Raw::greet(&place.socket(), Some("eager"));
    assert_eq!(welcome.window_batches, 1);
    // More than the window at once: the rest waits in the socket.
    let frames: Vec<u8> = (1..=50).flat_map(|n| append(n, n, &[payload("eager", n)])).collect();
    raw.send(&frames);
    for number in 1..=50 {
        assert_eq!(raw.ack().last_number, number);
    }
    drop(raw);
    service.stop();
}

#[test]
fn a_client_with_a_full_buffer_waits_or_says_so() {
    let place = Place::new();
    let mut service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let options = ProducerOptions::default().name("full").buffer_bytes(10_000);
    let producer = Producer::connect(place.socket(), options).unwrap();
    let record = vec![0; 4000];
    // Blocks now and then, and goes on.
    let tickets: Vec<_> = (0..50).map(|_| producer.append(&[&record]).unwrap()).collect();
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    service.begin_stop();
    wait_until("the service ends", || !place.socket().exists());
    let mut tickets = Vec::new();
    let full = loop {
        match producer.try_append(&[&record]) {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, ProducerError::Full { max: 10_000, .. }), "{full}");
    drop(service);
    // Back again, everything goes through.
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    producer.close().unwrap();
    service.stop();
}
