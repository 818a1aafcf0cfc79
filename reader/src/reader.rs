//! Following the log.

mod lapsed;
mod outcome;
mod page;
mod pass;
mod release_page_tables;
mod source_check;
mod tail;

pub(crate) use page::records_before;

use crate::batch::Batch;
use crate::checkpoint::Checkpoint;
use crate::error::ReadError;
use crate::lapse::Lapses;
use crate::options::{ReaderOptions, Visibility};
use crate::pace::Pace;
use crate::pages::page_map::PageMap;
use crate::pages::window::PageWindow;
use crate::place::{Place, SeekTarget};
use crate::position::ReadPosition;
use crate::source::Attachment;
use crate::source::attached_ring::AttachedRing;
use crate::watermark::Watermark;
use outcome::{Entered, SourceCheck, Stepped};
use std::sync::Arc;
use waldo_shm_protocol::record::RecordFault;
use waldo_shm_protocol::segment::SegmentFault;

/// Most turns of one poll: pages crossed without a record to hand out, or changes of the ring.
const TURNS_MAX: u32 = 256;

/// One reader's place in the log.
pub struct Reader {
    pub(crate) ring: Arc<AttachedRing>,
    pub(crate) attachment: Arc<Attachment>,
    pub(crate) options: ReaderOptions,
    pub(crate) position: ReadPosition,
    pub(crate) window: PageWindow,
    lapses: Lapses,
    pub(crate) pace: Pace,
}

impl Reader {
    pub(crate) fn new(ring: Arc<AttachedRing>, options: ReaderOptions) -> Reader {
        let attachment = ring.current();
        let epoch = attachment.epoch();
        Reader {
            ring,
            position: ReadPosition::new(Place::Pending(SeekTarget::Oldest), &attachment),
            window: PageWindow::new(epoch),
            attachment,
            options,
            lapses: Lapses::default(),
            pace: Pace::new(epoch),
        }
    }

    /// The next records, if there are any. Never sleeps. Makes no system call when there is nothing new;
    /// makes a few when a page begins, and now and then to check that the ring is still where it was.
    ///
    /// An error leaves the reader where it is: no record is skipped silently. Polling again returns the error
    /// again, until its cause is gone or [`Reader::seek`] has moved the reader.
    ///
    /// # Errors
    /// [`ReadError`], each variant as described there.
    #[inline]
    pub fn poll(&mut self) -> Result<Option<Batch>, ReadError> {
        // Load the watermark before the epoch, as below: a new writer may publish the same watermark as the
        // old one.
        if self.watermark().word() == self.position.drained()
            && self.ring.generation() == self.attachment.generation
            && !self.attachment.needs_attention(self.position.epoch())
        {
            return Ok(None);
        }
        self.poll_news()
    }

    fn poll_news(&mut self) -> Result<Option<Batch>, ReadError> {
        // Each turn either crosses into another page, or catches up with a ring that has moved. The limit
        // ends the poll if a damaged segment keeps reporting changes; the next poll continues.
        for _ in 0..TURNS_MAX {
            // Load the watermark first, then the epoch: a reader that sees a new writer's watermark also sees
            // its epoch, and checks that its place is still valid before it reads on.
            let watermark = self.watermark();
            #[cfg(test)]
            crate::meanwhile::happens(crate::meanwhile::Moment::Loaded);
            match self.attend()? {
                SourceCheck::Same => {}
                SourceCheck::Moved => continue,
                SourceCheck::Unsettled => return Ok(None),
            }
            match self.step(watermark)? {
                Stepped::Batch(batch) => return Ok(Some(batch)),
                Stepped::Drained => {
                    if let Some(error) = self.attachment.damage_at(watermark) {
                        return Err(error);
                    }
                    self.position.drain(watermark.word());
                    self.window.tail_mut().drained();
                    return Ok(None);
                }
                Stepped::Again => {}
            }
        }
        Ok(None)
    }

    /// Sequence number of the last record handed out, or of the record before the cursor if that is known.
    /// With a cursor beyond the end of the log, this is the last record of the log: see
    /// [`Reader::is_behind`].
    pub fn last_seq_no(&self) -> Option<u64> {
        match self.position.at() {
            Place::Pending(SeekTarget::Resume(checkpoint)) => Some(checkpoint.seq_no),
            _ => self.position.last().map(|last| last.seq_no),
        }
    }

    /// Whether the next record that the reader hands out is the first one with a number above `seq_no`, so
    /// that [`Cursor::After`](crate::Cursor::After) this number would change nothing.
    pub fn is_behind(&self, seq_no: u64) -> bool {
        self.position.is_behind(seq_no)
    }

    /// A checkpoint of the last record handed out, or of the record before the cursor if the reader has seen
    /// that record.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        if let Place::Pending(SeekTarget::Resume(checkpoint)) = self.position.at() {
            return Some(checkpoint);
        }
        let last = self.position.last()?;
        let mark = last.mark?;
        let ring_id = self.ring.meta.ring_id;
        Some(Checkpoint { ring_id, seq_no: last.seq_no, epoch: mark.epoch, checksum: mark.checksum })
    }

    /// What the reader missed because the ring overtook it, if the reader was told to go on by itself.
    pub fn lapses(&self) -> &Lapses {
        &self.lapses
    }

    #[inline(always)]
    pub(crate) fn watermark(&self) -> Watermark {
        self.attachment.watermark(self.options.visibility)
    }

    /// Whether a poll would have something to do.
    pub(crate) fn news(&self) -> bool {
        let watermark = self.watermark();
        let nothing = watermark.position().is_none() || watermark.word() == self.position.drained();
        let reached = match self.position.at() {
            Place::At(here) => {
                here == watermark.position() || (self.position.is_ahead() && here > watermark.position())
            }
            Place::Pending(_) => false,
        };
        if self.attachment.damaged() && (nothing || reached) {
            return true;
        }
        // While a new writer is still about to change the log, there is nothing to report yet.
        !nothing && !reached && !self.unsettled()
    }

    fn nonsense(&self) -> ReadError {
        ReadError::Control { path: self.attachment.path(&self.ring.home), fault: SegmentFault::Range }
    }

    fn step(&mut self, watermark: Watermark) -> Result<Stepped, ReadError> {
        let end = watermark.position();
        if end.is_none() {
            return Ok(Stepped::Drained);
        }
        let position = match self.position.at() {
            Place::At(position) => position,
            Place::Pending(want) => {
                self.go(want)?;
                let settled = matches!(self.position.at(), Place::At(_));
                return Ok(if settled { Stepped::Again } else { Stepped::Drained });
            }
        };
        if end == position {
            self.position.arrive();
            return Ok(Stepped::Drained);
        }
        if end < position {
            // A reader of durable records may stand beyond the durable watermark, at a checkpoint say.
            return if self.position.is_ahead()
                || self.attachment.watermark(Visibility::Committed).position() >= position
            {
                Ok(Stepped::Drained)
            } else {
                Err(self.rewound())
            };
        }
        self.position.arrive();
        if self.position.is_unsure() {
            return self.lapsed();
        }
        if self.window.tail().is_wanted()
            && let Some(stepped) = self.read_tail(position, watermark)?
        {
            return Ok(stepped);
        }
        match self.enter(position.page())? {
            Entered::Page => self.read(position, watermark),
            Entered::Trimmed => self.lapsed(),
            Entered::Moved => Ok(Stepped::Again),
            Entered::Unsettled => Ok(Stepped::Drained),
        }
    }
}

pub(crate) fn corrupt(map: &PageMap, offset: u32, fault: RecordFault, seq_no: Option<u64>) -> ReadError {
    ReadError::Corrupt {
        path: map.path().to_path_buf(),
        page: map.id(),
        offset: offset.into(),
        fault,
        seq_no,
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("home", &self.ring.home)
            .field("place", &self.position.at())
            .field("last_seq_no", &self.last_seq_no())
            .finish_non_exhaustive()
    }
}
