//! Walking from record to record in a page.

use crate::options::Integrity;
use crate::pages::page_map::PageMap;
use waldo_shm_protocol::PageSeed;
use waldo_shm_protocol::limits::RECORD_HEADER_LEN;
use waldo_shm_protocol::prefetch;
use waldo_shm_protocol::record::{Frame, RawRecord, Record, RecordFault, RecordHeaderWords, Seal};

/// Shortest distance ahead of a record at which the walk prefetches: a page of memory, since the processor's
/// own prefetching ends at page boundaries. A shorter distance gains at most a quarter as much, a longer one
/// a little less (`waldo-suite read --regime scan`, 512 B to 16 KiB).
const AHEAD: usize = 4096;
/// Smallest number of records ahead. Where records are long, four gain as much as eight, and sixteen a little
/// less.
const RECORDS_AHEAD: usize = 4;

/// How often a record's size is doubled to get the prefetch distance. At that distance a later header starts,
/// if all records have this size. Computing an exact number of records instead would cost a division.
#[inline(always)]
fn doublings(size: usize) -> u32 {
    size.leading_zeros().saturating_sub(AHEAD.leading_zeros()).max(RECORDS_AHEAD.trailing_zeros())
}

/// A walk over the committed bytes of one page.
pub(crate) struct Walk<'a> {
    /// The readable bytes from `base` on.
    bytes: &'a [u8],
    base: u32,
    offset: u32,
    seed: PageSeed,
    /// Sequence number of the preceding record, if known.
    prev: Option<u64>,
    /// Lowest epoch that the next record may have.
    epoch: u32,
    integrity: Integrity,
}

/// One step.
pub(crate) enum Step {
    /// A record that passed the checks asked for.
    Record { offset: u32, record: Record },
    /// The page's seal; the walk stays before it.
    Seal(Seal),
    /// Nothing more is readable.
    End,
    /// Damage; the walk stays before it.
    Fault(RecordFault),
}

/// A run of records that were walked without a stop.
pub(crate) struct Run {
    pub(crate) len: usize,
    pub(crate) payload_bytes: usize,
    /// Offset and number of the last record.
    pub(crate) last: Option<(u32, u64)>,
}

impl<'a> Walk<'a> {
    /// A walk over `bytes`, which are at `offset` in the page with this seed.
    #[inline(always)]
    pub(crate) fn new(
        (bytes, seed, offset): (&'a [u8], PageSeed, u32),
        prev: Option<u64>,
        epoch: u32,
        integrity: Integrity,
    ) -> Walk<'a> {
        Walk { bytes, base: offset, offset, seed, prev, epoch, integrity }
    }

    /// Where the next record starts.
    pub(crate) fn offset(&self) -> u32 {
        self.offset
    }

    /// Takes one step.
    #[inline]
    pub(crate) fn step(&mut self) -> Step {
        let ahead = &self.bytes[(self.offset - self.base) as usize..];
        if ahead.is_empty() {
            return Step::End;
        }
        match self.check(ahead) {
            Ok(Frame::Record(record)) => {
                let offset = self.offset;
                self.prev = Some(record.seq_no());
                self.epoch = record.epoch();
                self.offset += record.size() as u32;
                Step::Record { offset, record }
            }
            Ok(Frame::Seal(seal)) => Step::Seal(seal),
            Err(fault) => Step::Fault(fault),
        }
    }

    /// Walks on while good records follow and the records since `start` take at most `most` bytes. If the run
    /// ends for another reason, the next step reports it.
    #[inline]
    pub(crate) fn run(&mut self, start: u32, most: usize) -> Run {
        match self.integrity {
            Integrity::Structure => self.run_at::<false>(start, most),
            Integrity::Headers | Integrity::Payloads => self.run_at::<true>(start, most),
        }
    }

    /// The inner loop of reading, separate so that its state stays in registers.
    fn run_at<const HEADERS: bool>(&mut self, start: u32, most: usize) -> Run {
        let mut run = Run { len: 0, payload_bytes: 0, last: None };
        let Some(mut prev) = self.prev else { return run };
        let (bytes, begin) = (self.bytes, (start - self.base) as usize);
        let mut at = (self.offset - self.base) as usize;
        let mut last = at;
        let mut epoch = self.epoch;
        while at - begin < most {
            let Some(ahead) = bytes.get(at..) else { break };
            let Some(record) = RecordHeaderWords::take(ahead) else { break };
            let size = record.size();
            // A header may span two cache lines.
            let soon = at + (size << doublings(size));
            prefetch(bytes, soon);
            prefetch(bytes, soon + RECORD_HEADER_LEN - 1);
            let next = at + size;
            if record.prev_seq_no() != prev || next - begin > most {
                break;
            }
            if HEADERS {
                if record.epoch() < epoch || !record.checksum_matches(self.seed, self.base + at as u32) {
                    break;
                }
                epoch = record.epoch();
                if self.integrity == Integrity::Payloads {
                    let payload = &ahead[RECORD_HEADER_LEN..][..record.payload_len()];
                    if !record.is_payload(payload) {
                        break;
                    }
                }
            }
            run.len += 1;
            run.payload_bytes += record.payload_len();
            prev = record.seq_no();
            (last, at) = (at, next);
        }
        if run.len > 0 {
            run.last = Some((self.base + last as u32, prev));
            self.prev = Some(prev);
            self.epoch = epoch;
            self.offset = self.base + at as u32;
        }
        run
    }

    #[inline]
    fn check(&self, ahead: &[u8]) -> Result<Frame, RecordFault> {
        let room = ahead.len() as u64;
        let raw = RawRecord::read(ahead).ok_or(RecordFault::NoRoom { room })?;
        let frame = raw.check(room)?;
        if self.integrity >= Integrity::Headers {
            raw.verify(self.seed, self.offset)?;
            if raw.epoch < self.epoch {
                return Err(RecordFault::Epoch { found: raw.epoch, expected: self.epoch });
            }
        }
        match &frame {
            Frame::Record(record) => {
                if self.prev.is_some_and(|prev| prev != record.prev_seq_no()) {
                    chain(self.prev, record)?;
                }
                if self.integrity == Integrity::Payloads {
                    record.verify_payload(&ahead[RECORD_HEADER_LEN..][..record.payload_len()])?;
                }
            }
            Frame::Seal(seal) => {
                if let Some(expected) = self.prev
                    && seal.last_seq_no() != expected
                {
                    let found = seal.last_seq_no();
                    return Err(RecordFault::Chain { seq_no: found, found, expected });
                }
            }
        }
        Ok(frame)
    }
}

/// Checks that `record` names `prev` as its predecessor, if that is known.
#[cold]
pub(crate) fn chain(prev: Option<u64>, record: &Record) -> Result<(), RecordFault> {
    match prev {
        Some(expected) if record.prev_seq_no() != expected => {
            Err(RecordFault::Chain { seq_no: record.seq_no(), found: record.prev_seq_no(), expected })
        }
        _ => Ok(()),
    }
}

/// The header at `offset`, its structure checked against the readable bytes up to `limit`.
#[inline]
pub(crate) fn frame(map: &PageMap, offset: u32, limit: u32) -> Result<(RawRecord, Frame), RecordFault> {
    head(map.bytes(offset, limit).ok_or(RecordFault::NoRoom { room: 0 })?)
}

/// The header that `bytes` begin with, its structure checked against their length.
#[inline]
pub(crate) fn head(bytes: &[u8]) -> Result<(RawRecord, Frame), RecordFault> {
    let room = bytes.len() as u64;
    let raw = RawRecord::read(bytes).ok_or(RecordFault::NoRoom { room })?;
    Ok((raw, raw.check(room)?))
}

#[cfg(test)]
mod tests;
