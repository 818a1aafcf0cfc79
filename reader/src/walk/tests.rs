//! Runs of records, and what ends them.

use super::*;
use waldo_shm_protocol::record::{PageEnd, RecordNumbers, Stamp};
use waldo_shm_protocol::{Position, payload_hash};

const INTEGRITIES: [Integrity; 3] = [Integrity::Structure, Integrity::Headers, Integrity::Payloads];
/// Where the bytes begin in the page.
const BASE: u32 = 4096 + 56;
/// Bytes of payload, and of a record with that.
const LEN: usize = 5;
const SIZE: usize = 56;

fn seed() -> PageSeed {
    PageSeed::new(b"0123456789abcdef", 3)
}

/// A record to be: its number, its predecessor, its epoch.
type Numbers = (u64, u64, u32);

/// Six records, one behind the other.
const RECORDS: [Numbers; 6] = [(10, 9, 3), (11, 10, 3), (12, 11, 3), (20, 12, 4), (21, 20, 4), (22, 21, 4)];

fn put(bytes: &mut Vec<u8>, raw: &RawRecord) {
    let at = bytes.len();
    bytes.resize(at + RECORD_HEADER_LEN, 0);
    raw.store(&mut bytes[at..]);
}

fn bytes(records: &[Numbers]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (seq_no, prev_seq_no, epoch) in records {
        let payload = [*seq_no as u8; LEN];
        let stamp = Stamp { time_ns: 1, durable: Position::NONE, epoch: *epoch };
        let numbers = RecordNumbers { seq_no: *seq_no, prev_seq_no: *prev_seq_no };
        let offset = BASE + bytes.len() as u32;
        put(&mut bytes, &Record::encode(seed(), offset, numbers, LEN, payload_hash(&payload), stamp));
        bytes.extend_from_slice(&payload);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    assert_eq!(bytes.len(), records.len() * SIZE);
    bytes
}

fn walk(bytes: &[u8], integrity: Integrity) -> Walk<'_> {
    Walk::new((bytes, seed(), BASE), Some(9), 3, integrity)
}

/// Takes so many steps, each of a record.
fn take(walk: &mut Walk<'_>, steps: usize) {
    for (n, (seq_no, ..)) in RECORDS.iter().enumerate().take(steps) {
        let offset = BASE + (n * SIZE) as u32;
        assert!(matches!(walk.step(), Step::Record { offset: at, record }
            if at == offset && record.seq_no() == *seq_no));
    }
}

#[test]
fn bytes_are_asked_for_where_a_record_of_the_same_size_begins() {
    for size in [48, 56, 148, 1048, 4096, 5000, 1 << 20] {
        let distance = size << doublings(size);
        assert!(distance.is_multiple_of(size) && distance >= AHEAD && distance >= RECORDS_AHEAD * size);
        assert!(distance <= (2 * AHEAD).max(RECORDS_AHEAD * size), "{size}: {distance}");
    }
}

/// The bytes asked for count from a record that was taken before, which need not be the first.
#[test]
fn a_run_takes_as_many_records_as_fit_into_what_is_asked_for() {
    let bytes = bytes(&RECORDS);
    let cases = (0..3).flat_map(|skipped| (0..4).map(move |taken| (skipped, taken)));
    for (integrity, (skipped, taken)) in
        INTEGRITIES.into_iter().flat_map(|i| cases.clone().map(move |c| (i, c)))
    {
        let (first, start) = (skipped + taken, BASE + (skipped * SIZE) as u32);
        for most in 0..7 * SIZE {
            let mut walk = walk(&bytes, integrity);
            take(&mut walk, first);
            let run = walk.run(start, most);
            let fit = (most / SIZE).saturating_sub(taken).min(RECORDS.len() - first);
            let what = format!("{integrity:?}, {skipped} skipped, {taken} taken, {most} bytes");
            assert_eq!((run.len, run.payload_bytes), (fit, fit * LEN), "{what}");
            let end = BASE + ((first + fit) * SIZE) as u32;
            assert_eq!(walk.offset(), end, "{what}");
            let last = (fit > 0).then(|| (end - SIZE as u32, RECORDS[first + fit - 1].0));
            assert_eq!(run.last, last, "{what}");
            // What comes next is checked against the last record of the run.
            match walk.step() {
                Step::Record { record, .. } => assert_eq!(record.seq_no(), RECORDS[first + fit].0),
                Step::End => assert_eq!(first + fit, RECORDS.len(), "{what}"),
                _ => panic!("{what}"),
            }
        }
    }
}

/// What a step makes of the record at `offset`.
fn steps_to(walk: &mut Walk<'_>, offset: u32, wanted: Option<RecordFault>, what: &str) {
    let fault = match walk.step() {
        Step::Record { offset: at, .. } => {
            assert_eq!(at, offset, "{what}");
            None
        }
        Step::Fault(fault) => Some(fault),
        _ => panic!("{what}"),
    };
    assert_eq!(fault, wanted, "{what}");
}

/// A run ends in front of it, and a step says what it is. So does a step that has no run in front of it.
#[test]
fn neither_a_run_nor_a_step_takes_what_does_not_follow() {
    let chain = RecordFault::Chain { seq_no: 20, found: 13, expected: 12 };
    let epoch = RecordFault::Epoch { found: 2, expected: 3 };
    for (numbers, headers_only, fault) in [((20, 13, 4), false, chain), ((20, 12, 2), true, epoch)] {
        let mut records = RECORDS;
        records[3] = numbers;
        let bytes = bytes(&records);
        let at = BASE + 3 * SIZE as u32;
        for integrity in INTEGRITIES {
            let what = format!("{numbers:?}, {integrity:?}");
            let checked = !headers_only || integrity >= Integrity::Headers;
            let mut by_run = walk(&bytes, integrity);
            let run = by_run.run(BASE, usize::MAX);
            if checked {
                assert_eq!((run.len, run.last), (3, Some((at - SIZE as u32, 12))), "{what}");
                steps_to(&mut by_run, at, Some(fault), &what);
            } else {
                assert_eq!(run.len, 6, "{what}");
            }
            let mut by_step = walk(&bytes, integrity);
            take(&mut by_step, 3);
            steps_to(&mut by_step, at, checked.then_some(fault), &what);
        }
    }
}

#[test]
fn a_seal_has_to_follow_the_last_record_too() {
    for (last_seq_no, good) in [(22, true), (21, false), (23, false)] {
        let mut bytes = bytes(&RECORDS);
        let stamp = Stamp { time_ns: 1, durable: Position::NONE, epoch: 4 };
        let offset = u64::from(BASE) + bytes.len() as u64;
        put(&mut bytes, &Seal::encode(seed(), PageEnd { offset, last_seq_no, records: 7 }, stamp));
        for integrity in INTEGRITIES {
            let mut walk = walk(&bytes, integrity);
            assert_eq!(walk.run(BASE, usize::MAX).len, 6);
            match walk.step() {
                Step::Seal(seal) => assert!(good && seal.last_seq_no() == 22),
                Step::Fault(fault) => assert!(!good && matches!(fault, RecordFault::Chain { .. }), "{fault}"),
                _ => panic!("{last_seq_no}"),
            }
        }
    }
}
