//! Reading in one page, and going on to the next.

use super::{Reader, Stepped, corrupt};
use crate::batch::Batch;
use crate::error::ReadError;
use crate::pages::Opened;
use crate::place::{Last, Place, Skip};
use crate::source::Source;
use crate::walk::{Step, Walk, frame};
use crate::watermark::Watermark;
use waldo_shm_protocol::page::RECORDS_UNKNOWN;
use waldo_shm_protocol::record::{Frame, RecordFault, Seal};
use waldo_shm_protocol::{Position, limits};

/// Looks at a page that is not there before that counts as an error.
const GONE_TRIES: u32 = 16;

/// What became of entering a page.
pub(super) enum Entered {
    /// It is mapped, as [`Reader`]'s page.
    Page,
    Trimmed,
    /// The ring or its writer has changed meanwhile.
    Moved,
}

impl Reader {
    /// Maps the reader's page.
    #[inline]
    pub(super) fn enter(&mut self, id: u64) -> Result<Entered, ReadError> {
        if self.page.as_ref().is_some_and(|map| map.id() == id) {
            return Ok(Entered::Page);
        }
        self.enter_anew(id)
    }

    #[cold]
    fn enter_anew(&mut self, id: u64) -> Result<Entered, ReadError> {
        // A page older than the oldest may still be there for a moment, and is as good as any.
        let mut tries = 0;
        loop {
            let opened = self.ring.pages.map(id, self.seen_epoch)?;
            // A new writer raises the epoch before it replaces files. What it has put there does not go together
            // with a watermark from before.
            if self.attachment.epoch() != self.seen_epoch {
                return Ok(Entered::Moved);
            }
            match opened {
                Opened::Page(map) => {
                    if self.before_page.is_none() {
                        self.before_page = self.records_before(id);
                    }
                    self.page = Some(map);
                    return Ok(Entered::Page);
                }
                Opened::Gone(error) => {
                    if self.trimmed(id)? {
                        return Ok(Entered::Trimmed);
                    }
                    if self.ring.generation() != self.attachment.generation {
                        return Ok(Entered::Moved);
                    }
                    tries += 1;
                    if tries >= GONE_TRIES {
                        // The segment may be out of use, its ring gone on elsewhere.
                        let before = self.attachment.generation;
                        self.refresh()?;
                        let moved = self.attachment.generation != before;
                        return if moved { Ok(Entered::Moved) } else { Err(error) };
                    }
                    std::thread::yield_now();
                }
            }
        }
    }

    /// Whether page `id`, which could not be opened, has left the ring.
    pub(crate) fn trimmed(&self, id: u64) -> Result<bool, ReadError> {
        if let Source::Files(files) = &self.attachment.source {
            files.look()?;
        }
        // The writer raises this before the file loses its name, and the failed open came after that.
        Ok(self.attachment.oldest_page() > id)
    }

    pub(crate) fn records_before(&self, page: u64) -> Option<u64> {
        let info = self.attachment.page(page)?;
        (info.records_before != RECORDS_UNKNOWN).then_some(info.records_before)
    }

    /// Reads from `position`, which is below `watermark`, in its page.
    pub(super) fn read(&mut self, position: Position, watermark: Watermark) -> Result<Stepped, ReadError> {
        let Some(map) = self.page.clone() else { return Ok(Stepped::Again) };
        let Some(limit) = map.admit(watermark) else { return Err(self.nonsense()) };
        let integrity = self.options.integrity;
        let prev = self.last_seq_no();
        // An epoch cannot be lower than that of the last record seen.
        let epoch = self.last.and_then(|last| last.mark).map_or(0, |mark| mark.epoch);
        let Some(mut walk) = Walk::new(&map, (position.offset(), limit), prev, epoch, integrity) else {
            return Err(self.nonsense());
        };
        let mut start = position.offset();
        // Of the last record only the place: to carry its header along costs more than to look at it once more.
        let (mut last, mut skip) = (None, self.skip);
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
                    // Not one record more is looked at than is handed out, if this one fills the batch.
                    let run = walk.run(start, self.options.batch_bytes);
                    len = 1 + run.len;
                    payload_bytes = record.payload_len() + run.payload_bytes;
                    last = run.last.or(last);
                    break None;
                }
                Step::Seal(seal) => break Some(seal),
                Step::End => break None,
                Step::Fault(fault) => {
                    let before = last.map(|(_, seq_no)| seq_no).or(prev);
                    return Err(corrupt(&map, walk.offset(), fault, before));
                }
            }
        };
        let end = walk.offset();
        let at = Position::new(map.id(), end.into()).ok_or_else(|| self.nonsense())?;
        if let Some((offset, _)) = last
            && let Ok((_, Frame::Record(record))) = frame(&map, offset, limit)
        {
            self.last = Some(Last::seen(&record, map.id(), offset));
        }
        self.place = Place::At(at);
        self.skip = skip;
        if len > 0 {
            let last_seq_no = self.last_seq_no().unwrap_or_default();
            return Ok(Stepped::Batch(Batch {
                map,
                start,
                end,
                len,
                payload_bytes,
                first_seq_no,
                last_seq_no,
            }));
        }
        match sealed {
            Some(seal) if watermark.position().page() > map.id() => Ok(self.cross(map.id(), &seal)),
            // Whole records up to the watermark; a sealed page is only left once the next one has begun.
            _ if watermark.position().page() == map.id() => Ok(Stepped::Drained),
            // The page ended without a seal.
            _ => Err(corrupt(&map, at.offset(), RecordFault::NoRoom { room: 0 }, self.last_seq_no())),
        }
    }

    /// Goes on to the page after `page`.
    fn cross(&mut self, page: u64, seal: &Seal) -> Stepped {
        self.before_page = self.before_page.and_then(|before| before.checked_add(seal.records()));
        self.page = None;
        self.kept.clear();
        self.place = Place::At(Position::start_of((page + 1).min(limits::PAGE_ID_MAX)));
        Stepped::Again
    }
}
