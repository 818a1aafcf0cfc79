//! Walking through a page's records with every check: the code that recovery, verification and reading
//! without a control segment share. No I/O: the caller supplies the bytes, one window at a time.

use crate::checksum::PageSeed;
use crate::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN, RECORD_SIZE_LIMIT};
use crate::page::{PageHeader, PageSummary};
use crate::record::{Frame, RawRecord, Record, RecordFault, Seal};

/// Bytes that a window must at least hold, so that the next step can be taken.
pub const WINDOW_MIN: usize = RECORD_SIZE_LIMIT;

/// Whether a walk hashes payloads too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadCheck {
    /// Every payload is hashed; one that does not match its hash is a fault.
    Verify,
    /// Headers only.
    Skip,
}

/// A walk through one page, from its first record on.
#[derive(Clone, Debug)]
pub struct PageScan {
    seed: PageSeed,
    limit: u64,
    offset: u64,
    /// Sequence number that the next record must name as its predecessor, if that is known.
    expected_prev: Option<u64>,
    summary: PageSummary,
    payloads: PayloadCheck,
}

/// One step of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A good record, `offset` bytes into the page.
    Record {
        /// Where it starts.
        offset: u64,
        /// Its header.
        record: Record,
    },
    /// The page is complete; the seal starts at `offset`.
    Seal {
        /// Where it starts.
        offset: u64,
        /// Its header.
        seal: Seal,
    },
    /// The window does not hold the next record: bring one that starts at `offset` and reaches
    /// [`WINDOW_MIN`] bytes further, or to the end of the page's records.
    More {
        /// Where the next record starts.
        offset: u64,
    },
    /// What stands at `offset` is no good record. The walk ends here.
    Fault {
        /// Where.
        offset: u64,
        /// What is wrong.
        fault: RecordFault,
    },
}

impl PageScan {
    /// A walk from the first record of the page. `expected_prev` is the last sequence number of the page
    /// before, if it is known, and `min_epoch` its epoch.
    pub fn new(
        header: &PageHeader,
        expected_prev: Option<u64>,
        min_epoch: u32,
        payloads: PayloadCheck,
    ) -> PageScan {
        let fields = header.fields();
        PageScan {
            seed: PageSeed::new(&fields.ring_id, fields.page_id),
            limit: fields.records_limit,
            offset: PAGE_HEADER_LEN as u64,
            expected_prev,
            summary: PageSummary {
                records_end: PAGE_HEADER_LEN as u64,
                epoch: min_epoch,
                records_before: crate::page::RECORDS_UNKNOWN,
                ..PageSummary::default()
            },
            payloads,
        }
    }

    /// Where the next record starts.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What has been found so far.
    pub fn summary(&self) -> &PageSummary {
        &self.summary
    }

    /// Takes one step. `window` holds the bytes of the page from offset `start` on. The window is the last
    /// one if it reaches `records_limit` of the page's header.
    pub fn step(&mut self, window: &[u8], start: u64) -> Step {
        let offset = self.offset;
        let room = self.limit.saturating_sub(offset);
        let ahead = offset.checked_sub(start).and_then(|skip| window.get(usize::try_from(skip).ok()?..));
        let Some(bytes) = ahead else { return Step::More { offset } };
        let bytes = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        let complete = bytes.len() as u64 == room || bytes.len() >= WINDOW_MIN;
        let Some(raw) = RawRecord::read(bytes) else {
            return if complete { self.fault(RecordFault::NoRoom { room }) } else { Step::More { offset } };
        };
        let frame = match raw.check(room) {
            Ok(frame) => frame,
            Err(fault) => return self.fault(fault),
        };
        if let Err(fault) = raw.verify(self.seed, offset as u32) {
            return self.fault(fault);
        }
        if raw.epoch < self.summary.epoch {
            return self.fault(RecordFault::Epoch { found: raw.epoch, expected: self.summary.epoch });
        }
        match frame {
            Frame::Seal(seal) => self.step_seal(seal),
            Frame::Record(record) => {
                let Some(payload) = bytes.get(RECORD_HEADER_LEN..RECORD_HEADER_LEN + record.payload_len())
                else {
                    return Step::More { offset };
                };
                match self.accept(&record, payload) {
                    Ok(()) => Step::Record { offset, record },
                    Err(fault) => self.fault(fault),
                }
            }
        }
    }

    fn step_seal(&self, seal: Seal) -> Step {
        let summary = &self.summary;
        if seal.records() == summary.records && seal.last_seq_no() == summary.last_seq_no {
            return Step::Seal { offset: self.offset, seal };
        }
        self.fault(RecordFault::Seal {
            records: seal.records(),
            last_seq_no: seal.last_seq_no(),
            found_records: summary.records,
            found_last_seq_no: summary.last_seq_no,
        })
    }

    fn accept(&mut self, record: &Record, payload: &[u8]) -> Result<(), RecordFault> {
        if self.payloads == PayloadCheck::Verify {
            record.verify_payload(payload)?;
        }
        if let Some(expected) = self.expected_prev
            && record.prev_seq_no() != expected
        {
            return Err(RecordFault::Chain {
                seq_no: record.seq_no(),
                found: record.prev_seq_no(),
                expected,
            });
        }
        let summary = &mut self.summary;
        if summary.records == 0 {
            summary.first_seq_no = record.seq_no();
            summary.prev_seq_no = record.prev_seq_no();
            summary.first_time_ns = record.time_ns();
        }
        summary.records += 1;
        summary.last_seq_no = record.seq_no();
        summary.last_time_ns = record.time_ns();
        summary.epoch = record.epoch();
        self.expected_prev = Some(record.seq_no());
        self.offset += record.size() as u64;
        summary.records_end = self.offset;
        Ok(())
    }

    fn fault(&self, fault: RecordFault) -> Step {
        Step::Fault { offset: self.offset, fault }
    }
}

#[cfg(test)]
mod tests;
