//! A record's header in registers, for the inner loop of readers.

use crate::checksum::PageSeed;
use crate::limits::{RECORD_HEADER_LEN, RECORD_SIZE_LIMIT, align_record};

// Kinds other than records have bits above the length's 24: beyond the limit.
const _: () = assert!(RECORD_SIZE_LIMIT <= 1 << 24);

/// The header as its six words, which stay in registers. [`super::RawRecord`] makes a copy in memory instead,
/// and loads parts of the copy before its stores have completed (measured: 4 of the 60 ns that a reader takes
/// for a record of 100 bytes).
///
/// This type accepts only good records. Where it accepts none, [`super::RawRecord::check`] and
/// [`super::RawRecord::verify`] say why.
#[derive(Clone, Copy, Debug)]
pub struct RecordHeaderWords {
    words: [u64; 6],
}

impl RecordHeaderWords {
    /// The record at the start of `bytes`, if everything that memory safety and progress depend on is right:
    /// it is not a seal, its length is valid and within `bytes`, and its number is greater than that of its
    /// predecessor.
    #[inline(always)]
    pub fn take(bytes: &[u8]) -> Option<RecordHeaderWords> {
        let (words, _) = bytes.as_chunks::<8>();
        let words: &[[u8; 8]; 6] = words.first_chunk()?;
        let words = words.map(u64::from_le_bytes);
        let header = RecordHeaderWords { words };
        let length = header.length();
        let size = align_record(length);
        let fits = length >= RECORD_HEADER_LEN && size < RECORD_SIZE_LIMIT && size <= bytes.len();
        (fits && header.seq_no() > header.prev_seq_no()).then_some(header)
    }

    /// Bytes from the header to the end of the payload.
    #[inline(always)]
    fn length(&self) -> usize {
        self.words[0] as u32 as usize
    }

    /// Bytes of the whole record, padding included.
    #[inline(always)]
    pub fn size(&self) -> usize {
        align_record(self.length())
    }

    /// Bytes of the payload.
    #[inline(always)]
    pub fn payload_len(&self) -> usize {
        self.length() - RECORD_HEADER_LEN
    }

    /// The record's number.
    #[inline(always)]
    pub fn seq_no(&self) -> u64 {
        self.words[1]
    }

    /// The number of the preceding record.
    #[inline(always)]
    pub fn prev_seq_no(&self) -> u64 {
        self.words[2]
    }

    /// The epoch of the writer that appended the record.
    #[inline(always)]
    pub fn epoch(&self) -> u32 {
        self.words[5] as u32
    }

    /// Whether the header matches its checksum, `offset` bytes into the page that `seed` belongs to.
    #[inline(always)]
    pub fn checksum_matches(&self, seed: PageSeed, offset: u32) -> bool {
        let w = &self.words;
        let join = |low: u64, high: u64| low >> 32 | high << 32;
        // The offset comes before the header, so that everything moves by half a word.
        let covered = [
            u64::from(offset) | w[0] << 32,
            join(w[0], w[1]),
            join(w[1], w[2]),
            join(w[2], w[3]),
            join(w[3], w[4]),
            join(w[4], w[5]),
        ];
        seed.record(covered) == (w[5] >> 32) as u32
    }

    /// Whether `payload` matches the stored hash.
    #[inline]
    pub fn is_payload(&self, payload: &[u8]) -> bool {
        crate::payload_hash(payload) == (self.words[0] >> 32) as u32
    }
}
