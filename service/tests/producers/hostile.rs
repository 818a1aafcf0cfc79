//! Whoever sends what is no frame is told so and loses its connection. Nobody else notices, and nothing of it
//! is stored.

use crate::support::raw::{Heard, Raw, append, hello};
use crate::support::ring::{Place, assert_each_once, numbers_by_producer, payload, records};
use crate::support::running::Running;
use crate::support::wait::wait_until;
use std::net::Shutdown;
use std::time::Duration;
use waldo::client::wire::{
    AppendFields, ErrorCode, FRAME_HEADER_LEN, HelloFields, Kind, MAGIC, RawFrameHeader, begin_frame,
    encode_append, finish_frame,
};
use waldo::client::{Producer, ProducerError, ProducerOptions};
use waldo::writer::Durability;
use waldo_service::ServiceOptions;
use zerocopy::IntoBytes;

fn header(length: u32, kind: u8, flags: u8, reserved: u16) -> Vec<u8> {
    RawFrameHeader { length, kind, flags, reserved, checksum: 0 }.as_bytes().to_vec()
}

fn frame(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = begin_frame(&mut out);
    out.extend_from_slice(body);
    finish_frame(&mut out, start, kind, false);
    out
}

fn fields(count: u32, flags: u32) -> AppendFields {
    AppendFields { batch: 7, first_number: 0, previous: 0, count, flags }
}

fn damaged() -> Vec<u8> {
    let mut bytes = append(7, 0, &[b"damaged".to_vec()]);
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

fn too_long_a_record() -> Vec<u8> {
    let mut out = Vec::new();
    encode_append(&mut out, fields(0, 0), &[vec![0; 1 << 20]], true);
    out
}

/// Frames that may not come after WELCOME, and the code of the answer.
fn bad_frames() -> Vec<(&'static str, Vec<u8>, ErrorCode)> {
    let lengths = |lengths: &[u32]| {
        let mut body = fields(lengths.len() as u32, 0).as_bytes().to_vec();
        lengths.iter().for_each(|length| body.extend_from_slice(&length.to_le_bytes()));
        body.extend_from_slice(b"payload");
        frame(Kind::Append, &body)
    };
    let numbered = AppendFields { first_number: 3, ..fields(1, 0) };
    let mut numbered_body = numbered.as_bytes().to_vec();
    numbered_body.extend_from_slice(&[0; 4]);
    vec![
        ("an unknown kind", header(0, 99, 0, 0), ErrorCode::Malformed),
        ("unknown flags", header(0, 3, 0x80, 0), ErrorCode::Malformed),
        ("a reserved field", header(0, 3, 0, 1), ErrorCode::Malformed),
        ("four gibibytes", header(u32::MAX, 3, 0, 0), ErrorCode::FrameTooLarge),
        ("one byte too many", header((2 << 20) + 1, 3, 0, 0), ErrorCode::FrameTooLarge),
        ("no body", frame(Kind::Append, b""), ErrorCode::Malformed),
        ("no records", frame(Kind::Append, fields(0, 0).as_bytes()), ErrorCode::Malformed),
        ("too many records", frame(Kind::Append, fields(u32::MAX, 0).as_bytes()), ErrorCode::Malformed),
        ("unknown flags in the body", frame(Kind::Append, fields(1, 4).as_bytes()), ErrorCode::Malformed),
        ("lengths beyond the body", lengths(&[u32::MAX, u32::MAX]), ErrorCode::Malformed),
        ("lengths within the body", lengths(&[3, 3]), ErrorCode::Malformed),
        ("a number without a name", frame(Kind::Append, &numbered_body), ErrorCode::Malformed),
        ("a wrong checksum", damaged(), ErrorCode::Checksum),
        ("a record that is too long", too_long_a_record(), ErrorCode::RecordTooLarge),
        ("a second HELLO", hello(None), ErrorCode::Unexpected),
        ("an answer", frame(Kind::Ack, &[0; 40]), ErrorCode::Unexpected),
        ("a long farewell", frame(Kind::Goodbye, b"and thanks"), ErrorCode::Unexpected),
    ]
}

#[test]
fn a_bad_frame_ends_its_sender_alone_and_stores_nothing() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let good = Producer::connect(place.socket(), ProducerOptions::default().name("good")).unwrap();
    let mut sent = 0;
    for (what, bytes, code) in bad_frames() {
        let before = service.counters().errors(code);
        let (mut raw, _) = Raw::greet(&place.socket(), None);
        // A batch before it is stored and acknowledged: it was whole.
        raw.send(&append(1, 0, &[b"whole 1".to_vec()]));
        raw.send(&bytes);
        assert_eq!(raw.ack().batch, 1, "{what}");
        let error = raw.error();
        assert_eq!((error.code, error.fatal), (code, true), "{what}: {error:?}");
        assert!(matches!(raw.hear(), Heard::End), "{what}");
        assert_eq!(service.counters().errors(code), before + 1, "{what}");
        sent += 1;
        let stored = good.append(&[payload("good", sent)]).unwrap().wait().unwrap();
        assert_eq!(stored.last_number, sent, "{what}");
    }
    good.close().unwrap();
    service.stop();
    let wholes = records(&place.home()).iter().filter(|(_, data)| data == b"whole 1").count() as u64;
    assert_eq!(wholes, sent);
    assert_eq!(records(&place.home()).len() as u64, 2 * sent, "nothing else was stored");
}

#[test]
fn whoever_does_not_begin_with_a_good_hello_is_told_why() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let hello_of = |magic, min, max, flags, name: &[u8]| {
        let fields =
            HelloFields { magic, version_min: min, version_max: max, flags, name_len: name.len() as u32 };
        frame(Kind::Hello, &[fields.as_bytes(), name].concat())
    };
    let cases = [
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec(), ErrorCode::Malformed),
        ("another magic", hello_of(*b"KAFKA   ", 1, 1, 0, b""), ErrorCode::Malformed),
        ("only newer versions", hello_of(MAGIC, 2, 9, 0, b""), ErrorCode::Version),
        ("no version", hello_of(MAGIC, 1, 0, 0, b""), ErrorCode::Version),
        ("unknown flags", hello_of(MAGIC, 1, 1, 8, b""), ErrorCode::Malformed),
        ("a name that is too long", hello_of(MAGIC, 1, 1, 0, &[b'x'; 65]), ErrorCode::Name),
        ("a name with a line break", hello_of(MAGIC, 1, 1, 0, b"a\nb"), ErrorCode::Name),
        ("a name that is no text", hello_of(MAGIC, 1, 1, 0, &[0xff]), ErrorCode::Name),
        ("a frame longer than any HELLO", header(257, 1, 0, 0), ErrorCode::FrameTooLarge),
        ("a batch first", append(1, 0, &[b"early".to_vec()]), ErrorCode::Unexpected),
    ];
    for (what, bytes, code) in cases {
        let mut raw = Raw::connect(&place.socket());
        raw.send(&bytes);
        let error = raw.error();
        assert_eq!((error.code, error.fatal), (code, true), "{what}: {error:?}");
        assert!(matches!(raw.hear(), Heard::End), "{what}");
    }
    // A producer that also speaks newer versions is welcome.
    let mut raw = Raw::connect(&place.socket());
    raw.send(&hello_of(MAGIC, 1, 9, 0, b""));
    assert!(matches!(raw.hear(), Heard::Welcome(welcome) if welcome.version == 1));
    service.stop();
    assert!(records(&place.home()).is_empty());
}

#[test]
fn half_a_frame_stores_nothing_however_its_sender_goes() {
    let place = Place::new();
    let options = ServiceOptions::default().stall_timeout(Duration::from_millis(50));
    let service = Running::start(&place, Durability::PageCache, options);
    let whole = append(1, 0, &[vec![b'x'; 1000], vec![b'y'; 1000]]);
    for len in [1, FRAME_HEADER_LEN - 1, FRAME_HEADER_LEN, FRAME_HEADER_LEN + 40, whole.len() - 1] {
        // It goes.
        let (mut raw, _) = Raw::greet(&place.socket(), None);
        raw.send(&whole[..len]);
        drop(raw);
        // It stops sending.
        let (mut raw, _) = Raw::greet(&place.socket(), None);
        raw.send(&whole[..len]);
        raw.0.shutdown(Shutdown::Write).unwrap();
        assert!(matches!(raw.hear(), Heard::End));
        // It sleeps.
        let cut_off = service.counters().cut_off;
        let (mut raw, _) = Raw::greet(&place.socket(), None);
        raw.send(&whole[..len]);
        assert_eq!(raw.error().code, ErrorCode::TooSlow);
        assert!(matches!(raw.hear(), Heard::End));
        assert_eq!(service.counters().cut_off, cut_off + 1);
    }
    let producer = Producer::connect(place.socket(), ProducerOptions::default().name("good")).unwrap();
    producer.append(&[payload("good", 1)]).unwrap().wait().unwrap();
    producer.close().unwrap();
    wait_until("all connections end", || service.counters().connected == 0);
    service.stop();
    assert_each_once(&numbers_by_producer(&place.home())["good"], 1, "good");
    assert_eq!(records(&place.home()).len(), 1);
}

#[test]
fn a_connection_too_many_and_a_name_too_many_are_refused() {
    let place = Place::new();
    let options = ServiceOptions::default().producers_max(2).names_max(1);
    let service = Running::start(&place, Durability::PageCache, options);
    let (first, _) = Raw::greet(&place.socket(), Some("first"));
    let mut second = Raw::connect(&place.socket());
    second.send(&hello(Some("second")));
    assert_eq!(second.error().code, ErrorCode::TooManyNames);
    drop(second);
    wait_until("the second has gone", || service.counters().connected == 1);
    let (_unnamed, _) = Raw::greet(&place.socket(), None);
    assert_eq!(Raw::connect(&place.socket()).error().code, ErrorCode::TooManyProducers);
    let once = ProducerOptions::default().connect_timeout(Duration::ZERO);
    let refused = Producer::connect(place.socket(), once).unwrap_err();
    assert!(
        matches!(refused, ProducerError::Refused { code: ErrorCode::TooManyProducers, detail: 2, .. }),
        "{refused}"
    );
    drop(first);
    // With the first gone, its name makes room for another.
    let options = ProducerOptions::default().name("second");
    Producer::connect(place.socket(), options).unwrap().close().unwrap();
    service.stop();
}
