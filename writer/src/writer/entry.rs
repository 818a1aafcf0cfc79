//! A record to be appended, and the result of an append.

use waldo_shm_protocol::Log;
use waldo_shm_protocol::record::RecordNumbers;

/// A record to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) seq_no: u64,
    pub(crate) prev_seq_no: u64,
    pub(crate) payload: &'a [u8],
    /// CRC-32C of the payload; `None` if it is still to be computed.
    pub(crate) hash: Option<u32>,
    /// The caller has supplied the hash, and it has not been checked.
    pub(crate) hash_is_claimed: bool,
}

impl<'a> Entry<'a> {
    #[inline(always)]
    pub(super) fn numbers(&self) -> RecordNumbers {
        RecordNumbers { seq_no: self.seq_no, prev_seq_no: self.prev_seq_no }
    }

    pub(super) fn hash(&self) -> u32 {
        self.hash.unwrap_or_else(|| waldo_shm_protocol::payload_hash(self.payload))
    }

    /// The record after `prev_seq_no`, not hashed yet.
    pub(super) fn unnumbered(prev_seq_no: u64, payload: &'a [u8]) -> Entry<'a> {
        Entry { seq_no: prev_seq_no + 1, prev_seq_no, payload, hash: None, hash_is_claimed: false }
    }
}

impl<'a> From<&'a Log<'_>> for Entry<'a> {
    fn from(log: &'a Log<'_>) -> Entry<'a> {
        Entry {
            seq_no: log.seq_no(),
            prev_seq_no: log.prev_seq_no(),
            payload: log.data(),
            hash: Some(log.data_hash()),
            hash_is_claimed: !log.hash_is_computed(),
        }
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Sequence number of the first record; of an empty append, the tip or 0.
    pub first_seq_no: u64,
    /// Sequence number of the last record; of an empty append, the tip or 0.
    pub last_seq_no: u64,
    /// How many records.
    pub records: usize,
}
