//! Records and seals: every fault, the extremes of length and number, any bytes.

use super::*;
use crate::limits::PAYLOAD_LEN_MAX;
use crate::record::{PageEnd, RecordNumbers};
use crate::{Log, payload_hash};
use proptest::prelude::*;

const RING: [u8; 16] = *b"0123456789abcdef";
const STAMP: Stamp = Stamp { time_ns: 1_700_000_000_000_000_000, durable: Position::NONE, epoch: 3 };

fn seed() -> PageSeed {
    PageSeed::new(&RING, 7)
}

/// A record with its payload and padding, as it lies in the page.
fn record(offset: u32, seq: (u64, u64), payload: &[u8]) -> Vec<u8> {
    let raw = Record::encode(
        seed(),
        offset,
        RecordNumbers { seq_no: seq.0, prev_seq_no: seq.1 },
        payload.len(),
        payload_hash(payload),
        STAMP,
    );
    let mut bytes = raw.as_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes.resize(align_record(bytes.len()), 0);
    bytes
}

/// Every check there is on one record.
fn check_all(seed: PageSeed, offset: u32, bytes: &[u8]) -> Result<Frame, RecordFault> {
    let room = bytes.len() as u64;
    let raw = RawRecord::read(bytes).ok_or(RecordFault::NoRoom { room })?;
    let frame = raw.check(room)?;
    raw.verify(seed, offset)?;
    if let Frame::Record(record) = frame {
        record.verify_payload(&bytes[RECORD_HEADER_LEN..][..record.payload_len()])?;
    }
    Ok(frame)
}

fn raw(length: u32, seq_no: u64, prev_seq_no: u64) -> RawRecord {
    RawRecord { length, payload_hash: 0, seq_no, prev_seq_no, time_ns: 0, durable: 0, epoch: 0, checksum: 0 }
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

#[test]
fn round_trips() {
    let stamp = Stamp { durable: Position::new(6, 8192).unwrap(), ..STAMP };
    let raw = Record::encode(
        seed(),
        4096,
        RecordNumbers { seq_no: 9, prev_seq_no: 5 },
        3,
        payload_hash(b"abc"),
        stamp,
    );
    let Ok(Frame::Record(record)) = raw.check(56) else { panic!("not a record") };
    assert_eq!(raw.verify(seed(), 4096), Ok(()));
    assert_eq!((record.seq_no(), record.prev_seq_no(), record.payload_len(), record.size()), (9, 5, 3, 56));
    assert_eq!((record.time_ns(), record.durable(), record.epoch()), (STAMP.time_ns, stamp.durable, 3));
    assert_eq!((record.payload_hash(), record.checksum()), (payload_hash(b"abc"), raw.checksum));
    assert_eq!(record.verify_payload(b"abc"), Ok(()));
}

#[test]
fn seal_round_trips() {
    let raw = Seal::encode(seed(), PageEnd { offset: 8192, last_seq_no: u64::MAX, records: 77 }, STAMP);
    assert_eq!(raw.verify(seed(), 8192), Ok(()));
    let Ok(Frame::Seal(seal)) = raw.check(48) else { panic!("not a seal") };
    assert_eq!(
        (seal.last_seq_no(), seal.records(), seal.epoch(), seal.durable()),
        (u64::MAX, 77, 3, STAMP.durable)
    );
    // A seal's two numbers are no pair of sequence numbers: a page of more records than its last number is
    // legal.
    assert!(matches!(
        Seal::encode(seed(), PageEnd { offset: 8192, last_seq_no: 5, records: 77 }, STAMP).check(48),
        Ok(Frame::Seal(_))
    ));
}

#[test]
fn what_is_stored_is_the_header_and_nothing_behind_it() {
    let stamp = Stamp { durable: Position::new(6, 8192).unwrap(), time_ns: u64::MAX - 2, epoch: 0x8765_4321 };
    let numbers = RecordNumbers { seq_no: u64::MAX - 1, prev_seq_no: 5 };
    let raw = Record::encode(seed(), 4096, numbers, 3, payload_hash(b"abc"), stamp);
    let mut space = [0x5a; RECORD_HEADER_LEN + 8];
    raw.store(&mut space);
    assert_eq!(space[..RECORD_HEADER_LEN], *raw.as_bytes());
    assert_eq!(space[RECORD_HEADER_LEN..], [0x5a; 8]);
}

#[test]
fn a_seal_says_how_far_the_log_was_durable() {
    let stamp = Stamp { durable: Position::new(6, 8192).unwrap(), ..STAMP };
    let raw = Seal::encode(seed(), PageEnd { offset: 8192, last_seq_no: 9, records: 4 }, stamp);
    let Ok(Frame::Seal(seal)) = raw.check(48) else { panic!("not a seal") };
    assert_eq!(seal.durable(), stamp.durable);
}

#[test]
fn shortest_and_longest_payloads_are_legal() {
    let empty = record(4096, (1, 0), b"");
    assert_eq!(empty.len(), 48);
    assert!(check_all(seed(), 4096, &empty).is_ok());
    let longest = record(4096, (u64::MAX, u64::MAX - 1), &vec![0xa5; PAYLOAD_LEN_MAX]);
    assert_eq!(longest.len(), RECORD_SIZE_LIMIT - 8);
    assert!(check_all(seed(), 4096, &longest).is_ok());
}

#[test]
fn one_byte_more_than_the_longest_is_refused() {
    let longest = RECORD_HEADER_LEN + PAYLOAD_LEN_MAX;
    assert!(raw(longest as u32, 1, 0).check(u64::MAX).is_ok());
    for length in longest + 1..=longest + 17 {
        let length = length as u32;
        let fault = RecordFault::Length { length, room: u64::MAX };
        assert_eq!(raw(length, 1, 0).check(u64::MAX), Err(fault));
    }
    // The number in the message, and what a program sees before it appends.
    assert_eq!(longest, 1_048_568);
    assert!(RecordFault::Length { length: 0, room: 0 }.to_string().contains("48 to 1048568"));
    assert!(Log::new_borrowed(1, 0, &vec![0; PAYLOAD_LEN_MAX]).size() < Log::SIZE_LIMIT);
    assert!(Log::new_borrowed(1, 0, &vec![0; PAYLOAD_LEN_MAX + 1]).size() >= Log::SIZE_LIMIT);
}

#[test]
fn faults_name_their_causes() {
    use RecordFault::*;
    assert_eq!(raw(0, 0, 0).check(4096), Err(Blank));
    assert_eq!(raw(0, 0, 0).check(0), Err(Blank));
    for length in [1, 47] {
        assert_eq!(raw(length, 1, 0).check(4096), Err(Length { length, room: 4096 }));
    }
    // The padding has to fit as well.
    assert_eq!(raw(49, 1, 0).check(55), Err(Length { length: 49, room: 55 }));
    assert!(raw(49, 1, 0).check(56).is_ok());
    assert_eq!(raw(48 | 1 << 31, 1, 0).check(4096), Err(Flags { flags: 0x80 }));
    assert_eq!(raw(48 | FLAG_SEAL | 1 << 25, 1, 0).check(4096), Err(Flags { flags: 3 }));
    assert_eq!(raw(FLAG_SEAL | 56, 1, 0).check(4096), Err(Length { length: 56, room: 4096 }));
    assert_eq!(raw(FLAG_SEAL | 48, 1, 0).check(47), Err(Length { length: 48, room: 47 }));
    for (seq_no, prev_seq_no) in [(0, 0), (5, 5), (5, 6), (0, u64::MAX)] {
        assert_eq!(raw(48, seq_no, prev_seq_no).check(4096), Err(Sequence { seq_no, prev_seq_no }));
    }
    let good = Record::encode(seed(), 4096, RecordNumbers { seq_no: 1, prev_seq_no: 0 }, 0, 0, STAMP);
    let computed = good.checksum;
    let stored = computed ^ 1;
    assert_eq!(
        RawRecord { checksum: stored, ..good }.verify(seed(), 4096),
        Err(Checksum { stored, computed })
    );
    let Ok(Frame::Record(record)) = good.check(48) else { panic!("not a record") };
    assert_eq!(record.verify_payload(b"x"), Err(Payload { stored: 0, computed: payload_hash(b"x") }));
    assert_eq!(RawRecord::read(&[0; 47]), None);
}

#[test]
fn every_flipped_bit_is_detected() {
    for payload in [&b""[..], b"x", b"a longer payload than eight bytes"] {
        let bytes = record(4096, (9, 8), payload);
        let covered = RECORD_HEADER_LEN + payload.len();
        for bit in 0..covered * 8 {
            assert!(check_all(seed(), 4096, &flipped(&bytes, bit)).is_err(), "bit {bit} of {covered} bytes");
        }
    }
    let seal = Seal::encode(seed(), PageEnd { offset: 4096, last_seq_no: 9, records: 4 }, STAMP);
    for bit in 0..RECORD_HEADER_LEN * 8 {
        assert!(check_all(seed(), 4096, &flipped(seal.as_bytes(), bit)).is_err(), "bit {bit} of the seal");
    }
}

#[test]
fn a_record_validates_only_where_it_was_written() {
    let bytes = record(4096, (9, 8), b"payload");
    assert!(check_all(seed(), 4096, &bytes).is_ok());
    let elsewhere = [
        (PageSeed::new(&RING, 8), 4096, "another page"),
        (PageSeed::new(&RING, 7 | 1 << 35), 4096, "another page, far away"),
        (PageSeed::new(b"0123456789abcdeg", 7), 4096, "another ring"),
        (seed(), 4104, "another offset"),
        (seed(), 0, "another offset"),
    ];
    for (seed, offset, what) in elsewhere {
        assert!(matches!(check_all(seed, offset, &bytes), Err(RecordFault::Checksum { .. })), "{what}");
    }
}

#[test]
fn checksum_is_what_the_document_says() {
    let bytes = record(4096, (9, 8), b"payload");
    let mut input = RING.to_vec();
    input.extend_from_slice(&7u64.to_le_bytes());
    input.extend_from_slice(&4096u32.to_le_bytes());
    input.extend_from_slice(&bytes[..44]);
    assert_eq!(bytes[44..48], payload_hash(&input).to_le_bytes());
}

proptest! {
    #[test]
    fn any_bytes_are_checked_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        length in prop_oneof![any::<u32>(), 0u32..2_000_000, Just(FLAG_SEAL | 48)],
        room in prop_oneof![any::<u64>(), 0u64..4096],
        offset: u32,
    ) {
        let mut bytes = bytes;
        if let Some(start) = bytes.get_mut(..4) {
            start.copy_from_slice(&length.to_le_bytes());
        }
        let Some(raw) = RawRecord::read(&bytes) else {
            prop_assert!(bytes.len() < RECORD_HEADER_LEN);
            return Ok(());
        };
        let _ = raw.verify(seed(), offset);
        match raw.check(room) {
            Ok(Frame::Record(record)) => {
                prop_assert!(record.size() as u64 <= room && record.size() < RECORD_SIZE_LIMIT);
                prop_assert!(RECORD_HEADER_LEN + record.payload_len() <= record.size());
                prop_assert!(record.seq_no() > record.prev_seq_no());
            }
            Ok(Frame::Seal(_)) => prop_assert!(room >= RECORD_HEADER_LEN as u64),
            Err(fault) => prop_assert!(!fault.to_string().is_empty()),
        }
    }

    #[test]
    fn any_record_round_trips(
        prev_seq_no in 0..u64::MAX,
        gap in 1..=u64::MAX,
        payload in prop::collection::vec(any::<u8>(), 0..300),
        offset in (0u32..1 << 28).prop_map(|n| n * 8),
    ) {
        let seq = (prev_seq_no.saturating_add(gap), prev_seq_no);
        let bytes = record(offset, seq, &payload);
        let Ok(Frame::Record(found)) = check_all(seed(), offset, &bytes) else {
            return Err(TestCaseError::fail("refused"));
        };
        prop_assert_eq!((found.seq_no(), found.prev_seq_no(), found.size()), (seq.0, seq.1, bytes.len()));
        prop_assert_eq!(found.payload_len(), payload.len());
    }
}

/// What the header in registers tells of bytes, as `check_all` would: the numbers, if everything is right.
fn header_words(offset: u32, bytes: &[u8]) -> Option<(usize, usize, u64, u64, u32)> {
    let g = RecordHeaderWords::take(bytes)?;
    let payload = &bytes[RECORD_HEADER_LEN..][..g.payload_len()];
    let good = g.checksum_matches(seed(), offset) && g.is_payload(payload);
    good.then(|| (g.size(), g.payload_len(), g.seq_no(), g.prev_seq_no(), g.epoch()))
}

fn checked(offset: u32, bytes: &[u8]) -> Option<(usize, usize, u64, u64, u32)> {
    match check_all(seed(), offset, bytes) {
        Ok(Frame::Record(r)) => Some((r.size(), r.payload_len(), r.seq_no(), r.prev_seq_no(), r.epoch())),
        _ => None,
    }
}

proptest! {
    #[test]
    fn the_header_in_registers_tells_what_the_checks_tell(
        offset in (0_u32..1 << 20).prop_map(|n| n * 8),
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        numbers in any::<(u64, u64)>(),
        flip in proptest::option::of(any::<proptest::sample::Index>()),
        cut in any::<proptest::sample::Index>(),
    ) {
        let low = numbers.0.min(numbers.1).min(u64::MAX - 1);
        let mut bytes = record(offset, (numbers.0.max(numbers.1).max(low + 1), low), &payload);
        if let Some(flip) = flip {
            bytes = flipped(&bytes, flip.index(bytes.len() * 8));
        }
        prop_assert_eq!(header_words(offset, &bytes), checked(offset, &bytes));
        let cut = &bytes[..cut.index(bytes.len())];
        prop_assert_eq!(header_words(offset, cut), checked(offset, cut));
    }

    #[test]
    fn a_glance_at_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let looked = RecordHeaderWords::take(&bytes).map(|g| (g.size(), g.seq_no(), g.prev_seq_no()));
        let checked = match RawRecord::read(&bytes).and_then(|raw| raw.check(bytes.len() as u64).ok()) {
            Some(Frame::Record(r)) => Some((r.size(), r.seq_no(), r.prev_seq_no())),
            _ => None,
        };
        prop_assert_eq!(looked, checked);
    }
}

#[test]
fn a_glance_is_no_seal() {
    let seal = Seal::encode(seed(), PageEnd { offset: 4096, last_seq_no: 9, records: 3 }, STAMP);
    assert!(RecordHeaderWords::take(seal.as_bytes()).is_none());
}

#[test]
fn a_glance_at_the_extremes() {
    let longest = RECORD_HEADER_LEN + PAYLOAD_LEN_MAX;
    let mut bytes = vec![0; RECORD_SIZE_LIMIT + 64];
    for length in (40..=56).chain(longest - 1..=longest + 17) {
        for (seq_no, prev_seq_no) in [(1, 0), (5, 5), (5, 6), (0, 0), (u64::MAX, u64::MAX - 1)] {
            let raw = raw(length as u32, seq_no, prev_seq_no);
            raw.store(&mut bytes);
            let taken = RecordHeaderWords::take(&bytes).is_some();
            let good = matches!(raw.check(bytes.len() as u64), Ok(Frame::Record(_)));
            assert_eq!(taken, good, "{length} bytes, {seq_no} behind {prev_seq_no}");
        }
    }
}
