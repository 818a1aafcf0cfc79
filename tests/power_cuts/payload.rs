//! Payloads that say what they are, and prove that they are whole without any checksum of Waldo's.
//!
//! The first 24 bytes name the record's number, the writer's life that appended the record, and the length;
//! the others follow from these. So any process can check a payload by itself, and a record of one life
//! cannot be taken for the record that an earlier life had under the same number.

use crate::dice::mix;

const HEAD: usize = 24;

/// What a payload says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub seq_no: u64,
    pub life: u64,
}

/// The payload of a record, 24 to `max` bytes long (24 at least).
pub fn make(origin: Origin, max: usize) -> Vec<u8> {
    let spread = max.saturating_sub(HEAD) as u64 + 1;
    let len = HEAD + (mix(origin.seq_no ^ origin.life.rotate_left(40)) % spread) as usize;
    fill(origin, len)
}

fn fill(origin: Origin, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    for word in [origin.seq_no, origin.life, len as u64] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    let mut state = mix(origin.seq_no) ^ mix(origin.life.wrapping_add(1)) ^ len as u64;
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bytes.extend_from_slice(&mix(state).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// What `bytes` say they are; `None` unless every one of them is as it was appended.
pub fn read(bytes: &[u8]) -> Option<Origin> {
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let origin = Origin { seq_no: word(0)?, life: word(8)? };
    (word(16)? == bytes.len() as u64 && bytes == fill(origin, bytes.len())).then_some(origin)
}

#[test]
fn a_payload_proves_itself_and_no_changed_byte_passes() {
    for (seq_no, life) in [(1, 1), (77, 3), (u64::MAX, 9)] {
        let origin = Origin { seq_no, life };
        let bytes = make(origin, 100);
        assert_eq!(read(&bytes), Some(origin));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert_eq!(read(&changed), None, "byte {at}");
        }
        assert_eq!(read(&bytes[..bytes.len() - 1]), None);
    }
    assert_eq!(read(&[]), None);
}
