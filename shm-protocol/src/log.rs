//! [`Log`]: a record as a program holds it, before it is appended or after it was read.

use crate::limits::{RECORD_HEADER_LEN, RECORD_SIZE_LIMIT, align_record};
use std::borrow::Cow;
use thiserror::Error;

/// A sequenced log record.
///
/// The payload's hash is computed once, when the record is constructed, and travels with it.
#[derive(Debug, Clone)]
pub struct Log<'a> {
    seq_no: u64,
    prev_seq_no: u64,
    data_hash: u32,
    /// The hash was computed here, of this payload.
    hash_is_computed: bool,
    data: Cow<'a, [u8]>,
}

/// How the hash came about makes no difference.
impl PartialEq for Log<'_> {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |log: &Self| (log.seq_no, log.prev_seq_no, log.data_hash);
        numbers(self) == numbers(other) && self.data == other.data
    }
}

impl Eq for Log<'_> {}

/// Different types of errors when validating a log record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogError {
    /// (sequence number, the predecessor it names, the predecessor it should name)
    #[error("record {0} names {1} as its predecessor, the record before it is {2}")]
    Sequence(u64, u64, u64),
    /// (sequence number, stored hash, computed hash)
    #[error("payload of record {0} is damaged: stored hash {1:#010x}, computed {2:#010x}")]
    Corruption(u64, u32, u32),
}

impl<'a> Log<'a> {
    /// A record whose serialized [`size`](Log::size) is this many bytes (1 MiB) or more cannot be appended.
    pub const SIZE_LIMIT: usize = RECORD_SIZE_LIMIT;

    /// A record that borrows its payload. Reads the payload once, for its hash.
    pub fn new_borrowed(seq_no: u64, prev_seq_no: u64, data: &'a [u8]) -> Log<'a> {
        Log {
            seq_no,
            prev_seq_no,
            data_hash: crate::payload_hash(data),
            hash_is_computed: true,
            data: Cow::Borrowed(data),
        }
    }

    /// A record that owns its payload. Reads the payload once, for its hash.
    pub fn new_owned(seq_no: u64, prev_seq_no: u64, data: Vec<u8>) -> Log<'static> {
        Log {
            seq_no,
            prev_seq_no,
            data_hash: crate::payload_hash(&data),
            hash_is_computed: true,
            data: Cow::Owned(data),
        }
    }

    /// A record whose payload hash is already known, as when the record was read from a ring. The hash is not
    /// checked here: [`Log::validate_data`] checks it, and a writer refuses a record whose hash does not
    /// match.
    pub fn with_hash(seq_no: u64, prev_seq_no: u64, data: &'a [u8], data_hash: u32) -> Log<'a> {
        Log { seq_no, prev_seq_no, data_hash, hash_is_computed: false, data: Cow::Borrowed(data) }
    }

    /// The same record, borrowing this one's payload.
    pub fn borrow(&self) -> Log<'_> {
        Log {
            seq_no: self.seq_no,
            prev_seq_no: self.prev_seq_no,
            data_hash: self.data_hash,
            hash_is_computed: self.hash_is_computed,
            data: Cow::Borrowed(&self.data),
        }
    }

    /// The same payload, with its hash, under other numbers.
    pub fn renumbered(&self, seq_no: u64, prev_seq_no: u64) -> Log<'a> {
        Log { seq_no, prev_seq_no, ..self.clone() }
    }

    /// Whether the hash was computed from this payload when the record was constructed, and not given by the
    /// caller.
    #[inline]
    pub fn hash_is_computed(&self) -> bool {
        self.hash_is_computed
    }

    /// CRC-32C of the payload, as computed at construction or as stored in the ring.
    #[inline]
    pub fn data_hash(&self) -> u32 {
        self.data_hash
    }

    /// Computes the payload's hash and compares it.
    ///
    /// # Errors
    /// [`LogError::Corruption`] if the payload does not match the hash.
    pub fn validate_data(&self) -> Result<(), LogError> {
        let computed = crate::payload_hash(&self.data);
        if computed == self.data_hash {
            Ok(())
        } else {
            Err(LogError::Corruption(self.seq_no, self.data_hash, computed))
        }
    }

    /// Sequence number, at least 1 in a ring.
    #[inline]
    pub fn seq_no(&self) -> u64 {
        self.seq_no
    }

    /// Sequence number of the record before.
    #[inline]
    pub fn prev_seq_no(&self) -> u64 {
        self.prev_seq_no
    }

    /// The payload; may be empty.
    #[inline]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Serialized size in bytes: header and payload, padded to a multiple of eight.
    #[inline]
    pub fn size(&self) -> usize {
        align_record(RECORD_HEADER_LEN + self.data.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_padded_and_counts_the_header() {
        assert_eq!(Log::new_borrowed(1, 0, b"").size(), 48);
        assert_eq!(Log::new_borrowed(1, 0, b"x").size(), 56);
        assert_eq!(Log::new_borrowed(1, 0, &[0; 8]).size(), 56);
    }

    #[test]
    fn damage_is_found() {
        let log = Log::with_hash(9, 8, b"abc", 1);
        assert!(matches!(log.validate_data(), Err(LogError::Corruption(9, 1, _))));
        let log = Log::new_owned(9, 8, b"abc".to_vec());
        assert_eq!(log.validate_data(), Ok(()));
        assert_eq!(log, log.borrow());
    }

    #[test]
    fn a_record_says_what_it_was_made_of() {
        let hash = crate::payload_hash(b"abc");
        let made = [
            (Log::new_borrowed(9, 7, b"abc"), true),
            (Log::new_owned(9, 7, b"abc".to_vec()), true),
            (Log::with_hash(9, 7, b"abc", hash), false),
        ];
        for (log, computed) in &made {
            assert_eq!(
                (log.seq_no(), log.prev_seq_no(), log.data(), log.data_hash()),
                (9, 7, &b"abc"[..], hash)
            );
            assert_eq!((log.hash_is_computed(), log.borrow().hash_is_computed()), (*computed, *computed));
            let other = log.renumbered(12, 9);
            assert_eq!(
                (other.seq_no(), other.prev_seq_no(), other.data(), other.data_hash()),
                (12, 9, log.data(), hash)
            );
        }
        assert_eq!(made[0].0, made[2].0, "how the hash came about makes no difference");
    }

    #[test]
    fn records_differ_by_each_of_their_parts() {
        let log = Log::with_hash(9, 7, b"abc", 1);
        let others = [
            Log::with_hash(8, 7, b"abc", 1),
            Log::with_hash(9, 6, b"abc", 1),
            Log::with_hash(9, 7, b"abd", 1),
            Log::with_hash(9, 7, b"abc", 2),
        ];
        for other in others {
            assert_ne!(log, other);
        }
    }
}
