//! Reading the newest records without a mapping.
//!
//! During a flush the kernel walks every mapping of each dirty folio, and the folio at the tip is dirty
//! whenever an append is made durable: with 10,000 processes that have mapped it, each such append takes 10
//! times as long. So where appends are made durable one by one, a reader that goes to sleep drops its page
//! table entries of the page. If it finds only a few bytes when it is woken, it copies them with one `pread`.
//! It never maps a page in which it never finds more. An existing mapping stays, because unmapping and
//! mapping take a lock on the file that a flush needs too. Readers with more to read, or that never sleep,
//! read in place.

use super::Reader;
use super::outcome::Stepped;
use crate::batch::Batch;
use crate::batch_storage::{BatchStorage, Copied};
use crate::error::ReadError;
use crate::options::Visibility;
use crate::pages::Opened;
use crate::pages::page_file::PageFile;
use crate::watermark::Watermark;
use std::sync::Arc;
use waldo_shm_protocol::Position;

/// Bytes of news up to which they are copied.
const NEWS_MAX: u32 = 32 << 10;
impl Reader {
    /// Called before the reader sleeps until it is woken.
    pub(crate) fn before_sleep(&mut self) {
        if !self.appends_are_flushed() {
            self.let_go_behind();
            return;
        }
        if self.window.tail_mut().take_touched() {
            self.window.release_page();
        }
        if self.ring.pages.read_without_lock() {
            self.window.tail_mut().asleep();
        }
    }

    /// Whether the writer makes each append durable, or has been idle. If it flushes only now and then, no
    /// append waits for a flush, and reading in place is cheaper.
    fn appends_are_flushed(&self) -> bool {
        let end = |visibility| self.attachment.watermark(visibility).position();
        !self.attachment.goes_by_files() && end(Visibility::Durable) == end(Visibility::Committed)
    }

    /// Reads from `position`, which is below `watermark`, without a mapping; `None` if these bytes have to be
    /// read in place. Damage also gives `None`, and is reported when the bytes are read in place.
    pub(super) fn read_tail(
        &mut self,
        position: Position,
        watermark: Watermark,
    ) -> Result<Option<Stepped>, ReadError> {
        let end = watermark.position();
        if end.page() != position.page() {
            return Ok(None);
        }
        if end.offset() - position.offset() > NEWS_MAX {
            self.window.tail_mut().awake();
            return Ok(None);
        }
        let Some(page) = self.tail_page(position.page()) else { return Ok(None) };
        let facts = (*page).as_ref();
        let Some(limit) = facts.limit(watermark) else { return Ok(None) };
        let offset = position.offset();
        let copy = match self.window.tail_mut().copy.take() {
            // More than a batch took at once.
            Some(copy) if copy.covers(offset) => copy,
            used => Copied::take(used, &page, (offset, limit))?,
        };
        let end = copy.end();
        let passed = copy.bytes(offset, end).map(|bytes| self.pass(bytes, facts.seed(), offset));
        let Some(Ok(passed)) = passed else { return Ok(None) };
        self.advance(facts.id(), &passed)?;
        let stepped = if passed.len > 0 {
            Stepped::Batch(Batch::new(BatchStorage::Copied(copy.clone()), &passed, self.last_seq_no()))
        } else if passed.sealed.is_some() || passed.end == limit {
            Stepped::Drained
        } else {
            Stepped::Again
        };
        self.window.tail_mut().copy = Some(copy);
        Ok(Some(stepped))
    }

    /// Page `id`, open; `None` if the way to its mapping has to tell what is the matter.
    fn tail_page(&mut self, id: u64) -> Option<Arc<PageFile>> {
        if let Some(page) = self.window.tail().page.as_ref().filter(|page| (***page).as_ref().id() == id) {
            return Some(page.clone());
        }
        self.window.tail_mut().leave();
        let Ok(Opened::Page(page)) = self.ring.pages.file(id, self.window.epoch()) else { return None };
        // As for a mapping: a file that a new writer has put there must not be read up to a watermark from
        // before.
        if self.attachment.epoch() != self.window.epoch() {
            return None;
        }
        self.window.tail_mut().page = Some(page.clone());
        Some(page)
    }
}
