//! One record: a header of 48 bytes, the payload, zeros up to a multiple of eight.
//!
//! ```text
//!  0        4              8         16            24       32        40      44         48
//!  | length | payload hash | seq no | prev seq no | time ns | durable | epoch | checksum | payload ...
//! ```
//!
//! Two kinds share the header. A *record* carries a payload. A *seal* follows the last record of a full page:
//! it has no payload and tells readers to continue in the next page.
//!
//! `length` counts header and payload without the padding, so that an empty payload differs from a zeroed
//! file. Its top eight bits are the flags.

mod header_words;
mod seal;

pub use header_words::RecordHeaderWords;

use crate::checksum::PageSeed;
use crate::limits::{RECORD_HEADER_LEN, RECORD_SIZE_LIMIT, align_record};
use crate::position::Position;
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Flag in the top byte of `length`: this is a page's seal, not a record.
pub const FLAG_SEAL: u32 = 1 << 24;
const LEN_MASK: u32 = (1 << 24) - 1;

/// A record header as read from a page, unchecked.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RawRecord {
    /// Bits 0..24: header + payload in bytes. Bits 24..32: flags.
    pub length: u32,
    /// CRC-32C of the payload.
    pub payload_hash: u32,
    /// Sequence number; of a seal, that of the last record in the page.
    pub seq_no: u64,
    /// Sequence number of the record before; of a seal, the number of records in the page.
    pub prev_seq_no: u64,
    /// When the record was appended: nanoseconds since 1970 by the writer's clock, never decreasing.
    pub time_ns: u64,
    /// A [`Position`] below which everything was durable before this record was written.
    pub durable: u64,
    /// The writer's start that appended it. Never decreases along the log.
    pub epoch: u32,
    /// See [`PageSeed`].
    pub checksum: u32,
}

crate::layout::describe! {
    RawRecord, "Record header", 48, {
        length: 0, payload_hash: 4, seq_no: 8, prev_seq_no: 16, time_ns: 24, durable: 32, epoch: 40, checksum: 44,
    }
}
const _: () = assert!(size_of::<RawRecord>() == RECORD_HEADER_LEN);

/// What is wrong with the bytes where a record should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// The length field is zero: nothing was ever written here.
    #[error("no record (zero length)")]
    Blank,
    /// Fewer bytes are left in the readable part of the page than a header takes.
    #[error("only {room} bytes are left, a record header takes 48")]
    NoRoom {
        /// Bytes left.
        room: u64,
    },
    /// The length is smaller than a header, not below the limit, or reaches beyond the readable bytes.
    #[error("record length {length} does not fit (48 to 1048568, {room} bytes left)")]
    Length {
        /// Stored length in bytes.
        length: u32,
        /// Bytes left.
        room: u64,
    },
    /// Unknown flags.
    #[error("unknown record flags {flags:#04x}")]
    Flags {
        /// The flag byte.
        flags: u8,
    },
    /// The sequence number is not greater than the one before it.
    #[error("sequence number {seq_no} is not greater than its predecessor {prev_seq_no}")]
    Sequence {
        /// Stored sequence number.
        seq_no: u64,
        /// Stored number of the record before.
        prev_seq_no: u64,
    },
    /// The header does not match its checksum.
    #[error("record header checksum {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// Stored checksum.
        stored: u32,
        /// Computed checksum.
        computed: u32,
    },
    /// The payload does not match its hash.
    #[error("payload hash {stored:#010x}, computed {computed:#010x}")]
    Payload {
        /// Stored hash.
        stored: u32,
        /// Computed hash.
        computed: u32,
    },
    /// The record does not name the record before it as its predecessor.
    #[error("record {seq_no} names {found} as its predecessor, the record before it is {expected}")]
    Chain {
        /// Sequence number of this record.
        seq_no: u64,
        /// The predecessor it names.
        found: u64,
        /// The predecessor it should name.
        expected: u64,
    },
    /// The seal does not fit the records that stand before it.
    #[error(
        "seal counts {records} records up to {last_seq_no}, there are {found_records} up to {found_last_seq_no}"
    )]
    Seal {
        /// Records that the seal counts.
        records: u64,
        /// Sequence number that the seal names as the last.
        last_seq_no: u64,
        /// Records found.
        found_records: u64,
        /// Sequence number of the last record found, 0 if there is none.
        found_last_seq_no: u64,
    },
    /// The epoch is lower than that of the record before it: left over from an earlier life.
    #[error("epoch {found} follows epoch {expected}")]
    Epoch {
        /// Stored epoch.
        found: u32,
        /// Lowest epoch that could stand here.
        expected: u32,
    },
}

/// A checked header: a record or a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A record; its payload follows the header.
    Record(Record),
    /// The end of this page; the next record is the first of the next page.
    Seal(Seal),
}

/// A record header whose length, flags and numbers have been checked against the readable bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record(RawRecord);

/// A checked seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal(RawRecord);

impl RawRecord {
    /// The header at the start of `bytes`; `None` if there are fewer than 48 bytes.
    #[inline(always)]
    pub fn read(bytes: &[u8]) -> Option<RawRecord> {
        RawRecord::read_from_prefix(bytes).ok().map(|(raw, _)| raw)
    }

    /// Checks everything that memory safety and progress depend on: a known kind, and a valid length within
    /// `room`, the number of readable bytes from the start of this header on. Does not read the payload and
    /// does not compute a checksum.
    #[inline(always)]
    pub fn check(self, room: u64) -> Result<Frame, RecordFault> {
        let length = self.length & LEN_MASK;
        let padded = align_record(length as usize) as u64;
        if self.length >> 24 != 0 {
            return self.check_seal(room);
        }
        if (length as usize) < RECORD_HEADER_LEN || padded >= RECORD_SIZE_LIMIT as u64 || padded > room {
            return Err(if self.length == 0 {
                RecordFault::Blank
            } else {
                RecordFault::Length { length, room }
            });
        }
        if self.seq_no <= self.prev_seq_no {
            return Err(RecordFault::Sequence { seq_no: self.seq_no, prev_seq_no: self.prev_seq_no });
        }
        Ok(Frame::Record(Record(self)))
    }

    #[cold]
    fn check_seal(self, room: u64) -> Result<Frame, RecordFault> {
        let length = self.length & LEN_MASK;
        if self.length & !LEN_MASK != FLAG_SEAL {
            return Err(RecordFault::Flags { flags: (self.length >> 24) as u8 });
        }
        if length as usize != RECORD_HEADER_LEN || u64::from(length) > room {
            return Err(RecordFault::Length { length, room });
        }
        Ok(Frame::Seal(Seal(self)))
    }

    /// Checks the header against its checksum, `offset` bytes into the page that `seed` belongs to.
    #[inline]
    pub fn verify(&self, seed: PageSeed, offset: u32) -> Result<(), RecordFault> {
        let computed = self.compute(seed, offset);
        if computed == self.checksum {
            Ok(())
        } else {
            Err(RecordFault::Checksum { stored: self.checksum, computed })
        }
    }

    #[inline]
    fn compute(&self, seed: PageSeed, offset: u32) -> u32 {
        let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let halves = |word: u64| (word as u32, (word >> 32) as u32);
        let (seq, prev) = (halves(self.seq_no), halves(self.prev_seq_no));
        let (time, durable) = (halves(self.time_ns), halves(self.durable));
        seed.record([
            join(offset, self.length),
            join(self.payload_hash, seq.0),
            join(seq.1, prev.0),
            join(prev.1, time.0),
            join(time.1, durable.0),
            join(durable.1, self.epoch),
        ])
    }

    /// Stores the header at the start of `space`, word by word out of registers. Building the header in
    /// memory field by field and copying it would make the copy wait for those stores (measured: a quarter of
    /// the time to encode a record).
    ///
    /// # Panics
    /// If `space` is shorter than a header.
    #[inline(always)]
    pub fn store(self, space: &mut [u8]) {
        let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let words = [
            join(self.length, self.payload_hash),
            self.seq_no,
            self.prev_seq_no,
            self.time_ns,
            self.durable,
            join(self.epoch, self.checksum),
        ];
        for (place, word) in space[..RECORD_HEADER_LEN].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// A record's own number and that of the record before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordNumbers {
    /// See [`RawRecord::seq_no`].
    pub seq_no: u64,
    /// See [`RawRecord::prev_seq_no`].
    pub prev_seq_no: u64,
}

/// Where the records of a complete page end, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageEnd {
    /// Bytes from the start of the page to the end of its last record, where the seal stands.
    pub offset: u64,
    /// Sequence number of the last record.
    pub last_seq_no: u64,
    /// Records in the page.
    pub records: u64,
}

/// What the writer puts into a record's header besides what it computes.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// See [`RawRecord::time_ns`].
    pub time_ns: u64,
    /// See [`RawRecord::durable`].
    pub durable: Position,
    /// See [`RawRecord::epoch`].
    pub epoch: u32,
}

impl Record {
    /// The header of a record with a payload of `payload_len` bytes and hash `payload_hash`, to stand
    /// `offset` bytes into the page of `seed`. The caller has checked `payload_len <= PAYLOAD_LEN_MAX`
    /// and `seq_no > prev_seq_no`.
    #[inline]
    pub fn encode(
        seed: PageSeed,
        offset: u32,
        numbers: RecordNumbers,
        payload_len: usize,
        payload_hash: u32,
        stamp: Stamp,
    ) -> RawRecord {
        debug_assert!(payload_len <= crate::limits::PAYLOAD_LEN_MAX);
        debug_assert!(numbers.seq_no > numbers.prev_seq_no);
        let mut raw = RawRecord {
            length: (RECORD_HEADER_LEN + payload_len) as u32,
            payload_hash,
            seq_no: numbers.seq_no,
            prev_seq_no: numbers.prev_seq_no,
            time_ns: stamp.time_ns,
            durable: stamp.durable.word(),
            epoch: stamp.epoch,
            checksum: 0,
        };
        raw.checksum = raw.compute(seed, offset);
        raw
    }

    /// Sequence number.
    #[inline(always)]
    pub fn seq_no(&self) -> u64 {
        self.0.seq_no
    }

    /// Sequence number of the record before.
    #[inline(always)]
    pub fn prev_seq_no(&self) -> u64 {
        self.0.prev_seq_no
    }

    /// Bytes of payload.
    #[inline(always)]
    pub fn payload_len(&self) -> usize {
        self.0.length as usize - RECORD_HEADER_LEN
    }

    /// Bytes from this record's start to the next one's: header, payload, padding.
    #[inline(always)]
    pub fn size(&self) -> usize {
        align_record(self.0.length as usize)
    }

    /// Stored hash of the payload.
    #[inline(always)]
    pub fn payload_hash(&self) -> u32 {
        self.0.payload_hash
    }

    /// When it was appended, in nanoseconds since 1970.
    #[inline(always)]
    pub fn time_ns(&self) -> u64 {
        self.0.time_ns
    }

    /// Everything below this position was durable before this record was written.
    #[inline(always)]
    pub fn durable(&self) -> Position {
        Position::from_word(self.0.durable)
    }

    /// The writer's start that appended it.
    #[inline(always)]
    pub fn epoch(&self) -> u32 {
        self.0.epoch
    }

    /// The stored checksum of the header: with the sequence number it identifies this very record.
    #[inline(always)]
    pub fn checksum(&self) -> u32 {
        self.0.checksum
    }

    /// Checks `payload` against the stored hash.
    pub fn verify_payload(&self, payload: &[u8]) -> Result<(), RecordFault> {
        let computed = crate::payload_hash(payload);
        if computed == self.0.payload_hash {
            Ok(())
        } else {
            Err(RecordFault::Payload { stored: self.0.payload_hash, computed })
        }
    }
}

#[cfg(test)]
mod tests;
