//! Reading in one page, and changing to the next.

use super::outcome::{Entered, Stepped};
use super::{Reader, corrupt};
use crate::batch::Batch;
use crate::batch_storage::BatchStorage;
use crate::error::ReadError;
use crate::pages::Opened;
use crate::passed::BadRecord;
use crate::source::Attachment;
use crate::watermark::Watermark;
use waldo_shm_protocol::page::RECORDS_UNKNOWN;
use waldo_shm_protocol::record::{RecordFault, Seal};
use waldo_shm_protocol::{Position, limits};

/// Looks at a page that is not there before that counts as an error.
const GONE_TRIES: u32 = 16;

impl Reader {
    /// Maps the reader's page.
    #[inline]
    pub(super) fn enter(&mut self, id: u64) -> Result<Entered, ReadError> {
        if self.window.page().is_some_and(|map| map.id() == id) {
            return Ok(Entered::Page);
        }
        self.enter_anew(id)
    }

    #[cold]
    fn enter_anew(&mut self, id: u64) -> Result<Entered, ReadError> {
        // A page older than the oldest may still exist for a moment, and is as good as any other.
        let mut tries = 0;
        loop {
            let opened = self.ring.pages.map(id, self.window.epoch())?;
            // A new writer raises the epoch before it replaces files. A file that it has put there must not
            // be read up to a watermark from before.
            if self.attachment.epoch() != self.window.epoch() {
                return Ok(Entered::Moved);
            }
            match opened {
                Opened::Page(map) => {
                    self.position.count_before_page(|| records_before(&self.attachment, id));
                    self.window.enter(map);
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
                        // The segment may be out of use, and the ring may continue elsewhere.
                        let before = self.attachment.generation;
                        self.refresh_closely()?;
                        return match self.attachment.generation != before {
                            true => Ok(Entered::Moved),
                            false if self.attachment.is_unsettled(&self.ring.options) => {
                                Ok(Entered::Unsettled)
                            }
                            false => Err(error),
                        };
                    }
                    std::thread::yield_now();
                }
            }
        }
    }

    /// Whether page `id`, which could not be opened, has been trimmed.
    pub(crate) fn trimmed(&self, id: u64) -> Result<bool, ReadError> {
        self.attachment.look_at_files()?;
        // The writer raises this before the file loses its name, and the failed open came after that.
        Ok(self.attachment.oldest_page() > id)
    }

    /// Reads from `position`, which is below `watermark`, in its page.
    pub(super) fn read(&mut self, position: Position, watermark: Watermark) -> Result<Stepped, ReadError> {
        let Some(map) = self.window.page().cloned() else { return Ok(Stepped::Again) };
        let Some(limit) = map.admit(watermark) else { return Err(self.nonsense()) };
        let offset = position.offset();
        let Some(bytes) = map.bytes(offset, limit) else { return Err(self.nonsense()) };
        let passed = match self.pass(bytes, map.seed(), offset) {
            Ok(passed) => passed,
            Err(BadRecord { offset, fault, before }) => {
                let behind = watermark.position().page() > map.id();
                return match self.attachment.torn_seal(map.id(), offset).filter(|_| behind) {
                    Some(seal) => Ok(self.cross(map.id(), &seal)),
                    None => Err(corrupt(&map, offset, fault, before)),
                };
            }
        };
        self.advance(map.id(), &passed)?;
        if passed.len > 0 {
            return Ok(Stepped::Batch(Batch::new(BatchStorage::Mapped(map), &passed, self.last_seq_no())));
        }
        match &passed.sealed {
            Some(seal) if watermark.position().page() > map.id() => Ok(self.cross(map.id(), seal)),
            // Complete records up to the watermark; a reader leaves a sealed page only once the next one has
            // begun.
            _ if watermark.position().page() == map.id() => Ok(Stepped::Drained),
            // The page ended without a seal.
            _ => Err(corrupt(&map, passed.end, RecordFault::NoRoom { room: 0 }, self.last_seq_no())),
        }
    }

    /// Goes on to the page after `page`.
    fn cross(&mut self, page: u64, seal: &Seal) -> Stepped {
        self.window.leave_page();
        self.window.forget_recent();
        self.position.cross(Position::start_of((page + 1).min(limits::PAGE_ID_MAX)), seal.records());
        Stepped::Again
    }
}

/// Number of records appended before `page`, if that is known.
pub(crate) fn records_before(attachment: &Attachment, page: u64) -> Option<u64> {
    let info = attachment.page(page)?;
    (info.records_before != RECORDS_UNKNOWN).then_some(info.records_before)
}
