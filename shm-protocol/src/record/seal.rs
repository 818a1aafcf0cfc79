//! The record that ends a page: how many records the page holds, and which is the last.

use super::{FLAG_SEAL, PageEnd, RawRecord, Seal, Stamp};
use crate::limits::RECORD_HEADER_LEN;
use crate::{PageSeed, Position};

impl Seal {
    /// The seal of a page that ends at `end`. The caller has checked that `end` is within a page.
    pub fn encode(seed: PageSeed, end: PageEnd, stamp: Stamp) -> RawRecord {
        let mut raw = RawRecord {
            length: FLAG_SEAL | RECORD_HEADER_LEN as u32,
            payload_hash: 0,
            seq_no: end.last_seq_no,
            prev_seq_no: end.records,
            time_ns: stamp.time_ns,
            durable: stamp.durable.word(),
            epoch: stamp.epoch,
            checksum: 0,
        };
        raw.checksum = raw.compute(seed, end.offset as u32);
        raw
    }

    /// Sequence number of the last record in the page.
    pub fn last_seq_no(&self) -> u64 {
        self.0.seq_no
    }

    /// Records in the page.
    pub fn records(&self) -> u64 {
        self.0.prev_seq_no
    }

    /// The writer's start that sealed the page.
    pub fn epoch(&self) -> u32 {
        self.0.epoch
    }

    /// Everything below this position was durable before the page was sealed.
    pub fn durable(&self) -> Position {
        Position::from_word(self.0.durable)
    }
}
