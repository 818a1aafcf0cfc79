//! What a search owes to checkpoints and to readers that have been overtaken.

use super::Found;
use crate::checkpoint::Checkpoint;
use crate::error::ReadError;
use crate::options::Visibility;
use crate::page_map::PageMap;
use crate::place::{Last, Mark, Place, Skip};
use crate::reader::{Reader, corrupt};
use crate::walk::frame;
use waldo_shm_protocol::record::{Frame, Record, RecordFault};

impl Reader {
    /// Whether it matters that the ring begins after what was asked for.
    pub(super) fn check_lapsed(
        &self,
        map: &PageMap,
        first: &Record,
        after: u64,
        resuming: Option<u64>,
    ) -> Result<(), ReadError> {
        let before = self.records_before(map.id());
        let whole = map.id() == 1 || before == Some(0);
        // The checkpoint's record is the last one trimmed: nothing behind it is lost.
        if whole || resuming == Some(first.prev_seq_no()) {
            return Ok(());
        }
        let lost = if after == 0 && resuming.is_none() { before } else { None };
        Err(ReadError::Lapped { requested: resuming.unwrap_or(after), oldest: first.seq_no(), lost })
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
        let Some(next) = found.next else {
            // The log ends at or before the checkpoint.
            let tip = found.last.map(|last| last.seq_no);
            let committed = self.attachment.tip_seq_no();
            if self.options.visibility == Visibility::Durable && committed >= Some(seq_no) {
                // Committed but not durable yet: it will be passed over when it is.
                found.skip = Skip::Through(seq_no);
                return Ok(found);
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
        let limit = map.admit(self.watermark());
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
