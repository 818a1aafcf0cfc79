//! What every record holds: bytes that follow from its number, so that any process can check them.

use waldo::reader::{Batch, Record};

/// Payload of the last record of all, in tests that say so.
pub const END: &[u8] = b"this is the end";

/// The payload of record `seq_no`, up to `max` bytes long. Some are empty.
pub fn payload(seq_no: u64, max: usize) -> Vec<u8> {
    let mut state = mix(seq_no);
    let len = if max == 0 { 0 } else { (state % (max as u64 + 1)) as usize };
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = mix(state);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The payloads of records `first..=last`.
pub fn payloads(first: u64, last: u64, max: usize) -> Vec<Vec<u8>> {
    (first..=last).map(|seq_no| payload(seq_no, max)).collect()
}

/// SplitMix64: the next of a run of numbers without pattern.
pub fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Panics unless `record` is the one after `last`, byte for byte.
pub fn check(record: &Record<'_>, last: u64, max: usize) {
    assert_eq!(record.prev_seq_no(), last, "predecessor of {}", record.seq_no());
    assert_eq!(record.seq_no(), last + 1, "a gap after {last}");
    check_bytes(record, max);
}

/// Panics unless `record` holds what its number says.
pub fn check_bytes(record: &Record<'_>, max: usize) {
    assert!(record.data() == payload(record.seq_no(), max), "payload of record {}", record.seq_no());
    record.verify().expect("payload hash");
}

/// Checks a whole batch that goes on after `last`; returns its last number.
pub fn check_batch(batch: &Batch, last: u64, max: usize) -> u64 {
    assert!(!batch.is_empty());
    let end = batch.iter().fold(last, |last, record| {
        check(&record, last, max);
        record.seq_no()
    });
    assert_eq!(batch.first_seq_no(), last + 1);
    assert_eq!(batch.last_seq_no(), end);
    end
}
