//! Lanes: who gets one, what goes through it, and what a hostile producer can do with the memory that it shares
//! with the service: harm itself.

use crate::support::raw::{Heard, Raw, RawLane, append, empty, hello};
use crate::support::ring::{Place, assert_each_once, numbers_by_producer, open, payload, records};
use crate::support::running::Running;
use crate::support::wait::wait_until;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use waldo::client::wire::{Ack, ErrorCode, FRAME_HEADER_LEN, Kind};
use waldo::client::{Producer, ProducerOptions};
use waldo::writer::Durability;
use waldo_service::{Service, ServiceOptions};

/// Offset of what the producer says it has filled, of whether it waits for room, and of the first word.
const FILLED: u64 = 0;
const WAITS: u64 = 8;
const WORDS: u64 = 4096;

fn start(place: &Place, options: ServiceOptions) -> Running {
    let writer = open(place.dir(), Durability::PageCache);
    Running::serve(|| Service::bind(writer, place.socket(), options).unwrap())
}

fn lane(raw: &mut Raw) -> &mut RawLane {
    raw.1.as_mut().unwrap()
}

fn good(place: &Place) -> Producer {
    Producer::connect(place.socket(), ProducerOptions::default().name("good")).unwrap()
}

#[test]
fn a_client_takes_a_lane_by_itself_and_the_socket_where_there_is_none() {
    let place = Place::new();
    let service = start(&place, ServiceOptions::default().lanes_max(1));
    let options = || ProducerOptions::default();
    let append = |producer: &Producer| {
        let before = service.counters();
        producer.append(&[&[b'x'; 5000]]).unwrap().wait().unwrap();
        let after = service.counters();
        (after.socket_bytes - before.socket_bytes > 5000, after.lane_bytes - before.lane_bytes > 5000)
    };
    let unwilling = Producer::connect(place.socket(), options().lane(false)).unwrap();
    assert_eq!(service.counters().lanes, 0);
    let first = Producer::connect(place.socket(), options()).unwrap();
    let second = Producer::connect(place.socket(), options()).unwrap();
    assert_eq!(service.counters().lanes, 1);
    assert_eq!([&unwilling, &first, &second].map(append), [(true, false), (false, true), (true, false)]);
    first.close().unwrap();
    wait_until("its lane goes", || service.counters().lanes == 0);
    let third = Producer::connect(place.socket(), options()).unwrap();
    assert_eq!(append(&third), (false, true));
    drop((unwilling, second, third));
    service.stop();
}

#[test]
fn a_producer_that_does_not_use_its_lane_sends_over_the_socket_and_the_lane_goes() {
    let place = Place::new();
    let service = start(&place, ServiceOptions::default());
    let (mut raw, _) = Raw::greet_with_lane(&place.socket(), Some("unable"));
    assert_eq!(service.counters().lanes, 1);
    raw.1 = None;
    for number in 1..=3 {
        raw.send(&append(number, number, &[payload("unable", number)]));
        assert_eq!(raw.ack().last_number, number);
    }
    assert_eq!((service.counters().lanes, service.counters().lane_bytes), (0, 0));
    raw.ring();
    assert_eq!(raw.error().code, ErrorCode::Unexpected);
    // Nor may anybody ring who has none.
    let mut raw = Raw::connect(&place.socket());
    raw.send(&[hello(None), empty(Kind::Bell)].concat());
    assert!(matches!(raw.hear(), Heard::Welcome(_)));
    assert_eq!(raw.error().code, ErrorCode::Unexpected);
    service.stop();
}

#[test]
fn frames_larger_than_the_lane_go_through_it_in_pieces() {
    let place = Place::new();
    let service = start(&place, ServiceOptions::default().lane_bytes(4096));
    let producer = Producer::connect(place.socket(), ProducerOptions::default()).unwrap();
    // Every length of a last word, and frames of up to a hundred lanes.
    let payloads: Vec<Vec<u8>> = (0..200_usize)
        .map(|n| {
            let len = if n.is_multiple_of(10) { 20_000 * (n / 10) + n } else { n };
            (0..len).map(|byte| (byte * 31 + n) as u8).collect()
        })
        .collect();
    let tickets: Vec<_> = payloads.iter().map(|payload| producer.append(&[payload]).unwrap()).collect();
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    producer.close().unwrap();
    assert!(service.stop().lane_bytes > payloads.iter().map(|payload| payload.len() as u64).sum());
    let found: Vec<Vec<u8>> = records(&place.home()).into_iter().map(|(_, data)| data).collect();
    assert!(found == payloads);
}

#[test]
fn what_a_producer_had_put_in_whole_is_stored_when_it_is_gone() {
    let place = Place::new();
    let service = start(&place, ServiceOptions::default());
    let (mut raw, _) = Raw::greet_with_lane(&place.socket(), Some("gone"));
    raw.send(&append(1, 1, &[payload("gone", 1)]));
    assert_eq!(raw.ack().last_number, 1);
    // It is killed before it rings, in the middle of the third.
    let third = append(3, 3, &[payload("gone", 3)]);
    lane(&mut raw).put(&append(2, 2, &[payload("gone", 2)]));
    lane(&mut raw).put(&third[..16]);
    drop(raw);
    wait_until("the connection ends", || service.counters().connected == 0);
    let (_raw, welcome) = Raw::greet_with_lane(&place.socket(), Some("gone"));
    assert_eq!(welcome.last_number, 2);
    service.stop();
    assert_each_once(&numbers_by_producer(&place.home())["gone"], 2, "gone");
}

#[test]
fn a_frame_on_the_socket_comes_behind_those_in_the_lane() {
    let place = Place::new();
    let service = start(&place, ServiceOptions::default());
    let (mut raw, _) = Raw::greet_with_lane(&place.socket(), Some("both"));
    for number in (1..=99).step_by(3) {
        lane(&mut raw).put(&append(number, number, &[payload("both", number)]));
        lane(&mut raw).put(&append(number + 1, number + 1, &[payload("both", number + 1)]));
        raw.ring();
        let frame = append(number + 2, number + 2, &[payload("both", number + 2)]);
        raw.0.write_all(&frame).unwrap();
        for number in number..number + 3 {
            assert_eq!(raw.ack().last_number, number);
        }
    }
    lane(&mut raw).put(&append(100, 100, &[payload("both", 100)]));
    raw.0.write_all(&empty(Kind::Goodbye)).unwrap();
    assert_eq!(raw.ack().last_number, 100);
    assert!(matches!(raw.hear(), Heard::Goodbye));
    service.stop();
    assert_each_once(&numbers_by_producer(&place.home())["both"], 100, "both");
}

#[test]
fn positions_that_cannot_be_end_their_producer_alone() {
    let place = Place::new();
    let service = start(&place, ServiceOptions::default());
    let good = good(&place);
    let frame = append(1, 0, &[b"whole 1".to_vec()]);
    let at = frame.len().next_multiple_of(8) as u64;
    let capacity = 256 << 10;
    // Back, before the beginning, half a word, more than the lane holds, and as far as a number goes.
    let mut sent = 0;
    for filled in [at - 8, 0, at + 4, at + capacity + 8, u64::MAX, u64::MAX - 7, 1 << 63] {
        let before = service.counters().errors(ErrorCode::Lane);
        let (mut raw, _) = Raw::greet_with_lane(&place.socket(), None);
        assert_eq!(lane(&mut raw).capacity, capacity);
        raw.send(&frame);
        assert_eq!(raw.ack().batch, 1);
        lane(&mut raw).store(FILLED, filled);
        raw.ring();
        let error = raw.error();
        assert_eq!((error.code, error.fatal), (ErrorCode::Lane, true), "{filled}: {error:?}");
        assert!(matches!(raw.hear(), Heard::End));
        assert_eq!(service.counters().errors(ErrorCode::Lane), before + 1);
        sent += 1;
        assert_eq!(good.append(&[payload("good", sent)]).unwrap().wait().unwrap().last_number, sent);
    }
    // A lane that is said to be full of what nobody has put in: frames of zeros, or of what was there before.
    let (mut raw, _) = Raw::greet_with_lane(&place.socket(), None);
    lane(&mut raw).store(FILLED, capacity);
    raw.ring();
    assert_eq!(raw.error().code, ErrorCode::Malformed);
    good.close().unwrap();
    wait_until("all lanes go", || service.counters().lanes == 0);
    service.stop();
    assert_eq!(records(&place.home()).len() as u64, 2 * sent, "nothing else was stored");
}

#[test]
fn half_a_frame_in_a_lane_stores_nothing_however_its_producer_goes_on() {
    let place = Place::new();
    let service = start(&place, ServiceOptions::default().stall_timeout(Duration::from_millis(50)));
    let whole = append(1, 0, &[vec![b'x'; 1000], vec![b'y'; 1000]]);
    for len in [8, 16, FRAME_HEADER_LEN + 36, whole.len() / 8 * 8] {
        // It sleeps, and rings now and then.
        let cut_off = service.counters().cut_off;
        let (mut raw, _) = Raw::greet_with_lane(&place.socket(), None);
        lane(&mut raw).put(&whole[..len]);
        raw.ring();
        raw.ring();
        assert_eq!(raw.error().code, ErrorCode::TooSlow, "{len}");
        assert!(matches!(raw.hear(), Heard::End));
        assert_eq!(service.counters().cut_off, cut_off + 1);
    }
    // It puts in a word at a time, and rings for each: a frame has a time, not each word.
    let (mut raw, _) = Raw::greet_with_lane(&place.socket(), None);
    let stopped = AtomicBool::new(false);
    let large = append(1, 0, &[vec![0; 1 << 19], vec![0; 1 << 19]]);
    let mut lane = raw.1.take().unwrap();
    let mut bell = raw.0.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for word in large.chunks_exact(8).take_while(|_| !stopped.load(Ordering::Relaxed)) {
                lane.put(word);
                // Until the service has closed the connection.
                let _ = bell.write(&empty(Kind::Bell));
                thread::sleep(Duration::from_millis(1));
            }
        });
        assert_eq!(raw.error().code, ErrorCode::TooSlow);
        stopped.store(true, Ordering::Relaxed);
    });
    good(&place).append(&[payload("good", 1)]).unwrap().wait().unwrap();
    service.stop();
    assert_eq!(records(&place.home()).len(), 1);
}

/// The bytes that are checked are those that are stored: a copy, which the producer cannot reach.
#[test]
fn a_producer_that_rewrites_its_frames_all_the_time_harms_nobody() {
    let place = Place::new();
    let service = start(&place, ServiceOptions::default().lane_bytes(4096));
    let good = good(&place);
    let over = AtomicBool::new(false);
    let original: Vec<Vec<u8>> = (0..10).map(|_| b"original".to_vec()).collect();
    let frame = append(1, 0, &original);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut wild = 0_u64;
            while !over.load(Ordering::Relaxed) {
                let (mut raw, _) = Raw::greet_with_lane(&place.socket(), None);
                // The service is woken, then lengths, counts and payloads change under its hands.
                lane(&mut raw).put(&frame);
                raw.ring();
                let _ = raw.0.set_nonblocking(true);
                for _ in 0..50 {
                    wild = wild.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let word = wild >> 33 & 0x1f;
                    let value = if wild & 1 == 0 { wild } else { wild >> 40 };
                    lane(&mut raw).store(WORDS + 8 * word, value);
                }
                lane(&mut raw).store(FILLED, wild >> 32 & 0xfff8);
                let _ = raw.0.write(&empty(Kind::Bell));
            }
        });
        for number in 1..=300 {
            let stored = good.append(&[payload("good", number)]).unwrap().wait().unwrap();
            assert_eq!(stored.last_number, number);
        }
        over.store(true, Ordering::Relaxed);
    });
    good.close().unwrap();
    service.stop();
    // With checksums what is not what its producer made is refused.
    let found = records(&place.home());
    assert_eq!(found.iter().filter(|(_, data)| data.starts_with(b"good")).count(), 300);
    assert!(found.iter().all(|(_, data)| data.starts_with(b"good") || data == b"original"));
}

#[test]
fn nobody_can_cut_a_lane_short_under_the_service() {
    let place = Place::new();
    let service = start(&place, ServiceOptions::default());
    let (mut raw, _) = Raw::greet_with_lane(&place.socket(), Some("short"));
    for len in [0, 4096, 1 << 30] {
        let error = lane(&mut raw).file.set_len(len).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
    raw.send(&append(1, 1, &[payload("short", 1)]));
    assert_eq!(raw.ack().last_number, 1);
    service.stop();
}

/// What it asks for again and again waits for it once, beside what the socket holds.
#[test]
fn a_producer_that_waits_for_room_all_the_time_and_never_listens_is_told_once() {
    let place = Place::new();
    let service = start(&place, ServiceOptions::default());
    let (mut raw, _) = Raw::greet_with_lane(&place.socket(), None);
    for _ in 0..20_000 {
        lane(&mut raw).store(WAITS, 1);
        raw.ring();
    }
    raw.send(&append(1, 0, &[b"after all".to_vec()]));
    raw.ring();
    let (bells, heard) = raw.hear_behind_bells();
    assert!(matches!(heard, Heard::Ack(Ack { batch: 1, .. })), "{heard:?}");
    // One message of a socket takes some hundreds of bytes of the 200 KiB that there are for them.
    assert!((1..2000).contains(&bells), "{bells} bells");
    service.stop();
}

#[test]
fn a_lane_takes_no_memory_when_its_connection_is_over_though_its_producer_keeps_it() {
    let place = Place::new();
    let service = start(&place, ServiceOptions::default());
    let (mut raw, _) = Raw::greet_with_lane(&place.socket(), None);
    raw.send(&append(1, 0, &[vec![b'x'; 100_000]]));
    assert_eq!(raw.ack().batch, 1);
    assert!(lane(&mut raw).file.metadata().unwrap().blocks() >= 100_000 / 512);
    raw.0.shutdown(Shutdown::Both).unwrap();
    wait_until("its lane goes", || service.counters().lanes == 0);
    // But for the page of its positions.
    wait_until("its memory goes", || lane(&mut raw).file.metadata().unwrap().blocks() <= WORDS / 512);
    service.stop();
}

#[test]
fn a_producer_that_rings_without_end_gets_no_more_than_its_share() {
    let place = Place::new();
    let service = start(&place, ServiceOptions::default());
    let good = good(&place);
    let (mut raw, _) = Raw::greet_with_lane(&place.socket(), None);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                raw.ring();
            }
        });
        for number in 1..=100 {
            good.append(&[payload("good", number)]).unwrap().wait().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    raw.send(&append(1, 0, &[b"after all".to_vec()]));
    assert_eq!(raw.ack().batch, 1);
    assert_eq!(service.counters().lanes, 2);
    good.close().unwrap();
    service.stop();
}
