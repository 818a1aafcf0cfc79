//! Walking over the records of a batch, in a mapping or in a copy.

use super::Reader;
use crate::error::ReadError;
use crate::passed::{BadRecord, Passed};
use crate::place::{Last, Skip};
use crate::walk::{Step, Walk, head};
use waldo_shm_protocol::record::Frame;
use waldo_shm_protocol::{PageSeed, Position};

impl Reader {
    /// Walks over the next records, in `bytes` at `offset` of the page with this seed, with the checks that
    /// the options ask for.
    #[inline(always)]
    pub(super) fn pass(&self, bytes: &[u8], seed: PageSeed, offset: u32) -> Result<Passed, BadRecord> {
        let prev = self.position.last().map(|last| last.seq_no);
        // An epoch cannot be lower than that of the last record seen.
        let epoch = self.position.last().and_then(|last| last.mark).map_or(0, |mark| mark.epoch);
        let mut walk = Walk::new((bytes, seed, offset), prev, epoch, self.options.integrity);
        let mut start = offset;
        // Keep only the place of the last record: carrying its header along costs more than reading it once
        // more.
        let (mut last, mut skip) = (None, self.position.skip());
        let (mut len, mut payload_bytes, mut first_seq_no) = (0, 0, 0);
        let sealed = loop {
            match walk.step() {
                Step::Record { offset, record } => {
                    last = Some((offset, record.seq_no()));
                    if skip.skips(&record) {
                        start = walk.offset();
                        continue;
                    }
                    skip = Skip::Nothing;
                    first_seq_no = record.seq_no();
                    // If this record fills the batch, the record after it is not touched.
                    let run = walk.run(start, self.options.batch_bytes.min(self.position.batch_bytes()));
                    len = 1 + run.len;
                    payload_bytes = record.payload_len() + run.payload_bytes;
                    last = run.last.or(last);
                    break None;
                }
                Step::Seal(seal) => break Some(seal),
                Step::End => break None,
                Step::Fault(fault) => {
                    let before = last.map(|(_, seq_no)| seq_no).or(prev);
                    return Err(BadRecord { offset: walk.offset(), fault, before });
                }
            }
        };
        let last = last.and_then(|(at, _)| match head(bytes.get((at - offset) as usize..)?) {
            Ok((_, Frame::Record(record))) => Some((at, record)),
            _ => None,
        });
        Ok(Passed { start, end: walk.offset(), len, payload_bytes, first_seq_no, last, skip, sealed })
    }

    /// Moves to the place where a walk through page `id` has ended.
    #[inline(always)]
    pub(super) fn advance(&mut self, id: u64, passed: &Passed) -> Result<(), ReadError> {
        let at = Position::new(id, passed.end.into()).ok_or_else(|| self.nonsense())?;
        let last = passed.last.as_ref().map(|(offset, record)| Last::seen(record, id, *offset));
        self.position.advance(at, last, passed.skip);
        Ok(())
    }
}
