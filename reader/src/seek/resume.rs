//! Searches for checkpoints, and for readers that have been overtaken.

use super::{Attempt, Found, Overtaken, Search};
use crate::checkpoint::Checkpoint;
use crate::error::ReadError;
use crate::options::Visibility;
use crate::pages::page_map::PageMap;
use crate::place::{Last, Mark, Place, SeekTarget, Skip};
use crate::reader::{corrupt, records_before};
use crate::walk::frame;
use waldo_shm_protocol::record::{Frame, Record, RecordFault};

impl Search<'_> {
    /// Whether records were missed because the ring begins with `first`, after what was asked for: the number
    /// asked for, and how many records were missed.
    pub(super) fn missed(
        &self,
        map: &PageMap,
        first: &Record,
        after: u64,
        resuming: Option<&Checkpoint>,
    ) -> Option<(u64, Option<u64>)> {
        let before = records_before(self.attachment, map.id());
        if map.id() == 1 || before == Some(0) {
            return None;
        }
        let Some(checkpoint) = resuming else {
            return Some((after, if after == 0 { before } else { None }));
        };
        // The checkpoint's record is the last one trimmed, and the same start of the writer went on behind
        // it: then it was that record, and nothing behind it is lost.
        let goes_on = first.prev_seq_no() == checkpoint.seq_no && first.epoch() == checkpoint.epoch;
        (!goes_on).then_some((checkpoint.seq_no, None))
    }

    /// For a ring that was empty when its records were asked for: checks that none has been trimmed since.
    pub(super) fn nothing_trimmed(&self, attempt: Attempt) -> Attempt {
        match attempt {
            Attempt::Done(found) if found.begins_ring => match &found.page {
                Some(map) if map.id() > 1 && records_before(self.attachment, map.id()) != Some(0) => {
                    Attempt::Overtaken(Box::new(Overtaken { requested: 0, lost: None, oldest: found }))
                }
                _ => Attempt::Done(found),
            },
            other => other,
        }
    }

    /// Steps over the record the checkpoint names, if that is what was found.
    pub(super) fn behind_checkpoint(
        &self,
        mut found: Found,
        checkpoint: &Checkpoint,
    ) -> Result<Found, ReadError> {
        let (seq_no, epoch, checksum) = (checkpoint.seq_no, checkpoint.epoch, checkpoint.checksum);
        let itself = Last { seq_no, mark: Some(Mark { epoch, checksum, at: None }) };
        let (Some(map), Place::At(position)) = (found.page.clone(), found.place) else { return Ok(found) };
        // The search went to the record itself; what follows is wanted whatever its number.
        found.skip = Skip::Nothing;
        let Some(next) = found.next else {
            // The log ends at or before the checkpoint.
            let tip = found.last.map(|last| last.seq_no);
            let committed = self.attachment.tip_seq_no();
            if self.options.visibility == Visibility::Durable && committed >= Some(seq_no) {
                // Committed but not durable yet. Whether it is the very record can be told when it is.
                return Ok(self.found(Place::Pending(SeekTarget::Resume(*checkpoint)), None, None));
            }
            return Err(ReadError::Rewound { seq_no: Some(seq_no), tip });
        };
        if next != seq_no {
            if found.last == Some(Last::number(seq_no)) {
                // Trimmed just now, as the last one: all that can be said is that nothing behind it is lost.
                found.last = Some(itself);
                return Ok(found);
            }
            return Err(ReadError::Diverged { seq_no, epoch, checksum, found: None });
        }
        let limit = map.admit(self.attachment.watermark(self.options.visibility));
        let offset = position.offset();
        let Some((raw, Frame::Record(record))) = limit.and_then(|limit| frame(&map, offset, limit).ok())
        else {
            return Err(corrupt(&map, offset, RecordFault::NoRoom { room: 0 }, None));
        };
        if (raw.epoch, raw.checksum) != (epoch, checksum) {
            let found = Some((raw.epoch, raw.checksum));
            return Err(ReadError::Diverged { seq_no, epoch, checksum, found });
        }
        found.last = Some(Last::seen(&record, map.id(), offset));
        found.place = self.place_in(&map, offset + record.size() as u32)?;
        found.next = None;
        Ok(found)
    }
}
