//! Which page to search in, and the pages that a search keeps mapped.

use super::page_cursor::good_hint;
use super::{FIRST, Search, Span, Target};
use crate::error::ReadError;
use crate::pages::Opened;
use crate::pages::page_map::PageMap;
use crate::reader::corrupt;
use crate::walk::frame;
use std::sync::Arc;
use waldo_shm_protocol::record::{Frame, Record};
use waldo_shm_protocol::segment::IndexKey;

/// Most headers on the way from an index entry to its target that are fetched ahead.
const FETCH_MAX: u64 = 128;
/// Bytes of a cache line.
const LINE: u32 = 64;

impl Search<'_> {
    /// The last page whose first record lies behind `target`, or the oldest.
    #[inline]
    pub(super) fn bisect(&mut self, span: &Span, target: Target) -> Result<u64, ReadError> {
        let (mut low, mut high) = (span.oldest + 1, span.tip + 1);
        // Lookups tend to stay in one page: ask for the one at hand first, then for the one behind it.
        let mut guess = self.window.page().map(|map| map.id());
        while low < high {
            let middle = guess.take().filter(|guess| (low..high).contains(guess));
            let (middle, local) = middle.map_or((low + (high - low) / 2, false), |guess| (guess, true));
            if self.begins_behind(middle, span, target)? {
                low = middle + 1;
                guess = local.then_some(low);
            } else {
                high = middle;
            }
        }
        Ok(low - 1)
    }

    #[inline]
    fn begins_behind(&mut self, id: u64, span: &Span, target: Target) -> Result<bool, ReadError> {
        if let Some((seq_no, time_ns)) = self.attachment.page_begin(id) {
            return Ok(seq_no > 0 && target.is_behind(seq_no, time_ns));
        }
        Ok(match self.map_page(id)? {
            Opened::Page(map) => self
                .first_record(&map, span)?
                .is_some_and(|record| target.is_behind(record.seq_no(), record.time_ns())),
            // Trimmed meanwhile, so older than what is looked for or lost with it.
            Opened::Gone(_) => true,
        })
    }

    /// The first record of a page; `None` if it has none.
    pub(super) fn first_record(&self, map: &PageMap, span: &Span) -> Result<Option<Record>, ReadError> {
        let limit = self.limit(map, span)?;
        if limit == FIRST {
            return Ok(None);
        }
        let (raw, frame) = frame(map, FIRST, limit).map_err(|fault| corrupt(map, FIRST, fault, None))?;
        raw.verify(map.seed(), FIRST).map_err(|fault| corrupt(map, FIRST, fault, None))?;
        Ok(match frame {
            Frame::Record(record) => Some(record),
            Frame::Seal(_) => None,
        })
    }

    /// A record of the page at or before `key` that is really there, from the index.
    #[inline]
    pub(super) fn hint(&self, map: &PageMap, limit: u32, key: IndexKey) -> Option<(u32, Record)> {
        let entry = self.attachment.index_floor(map.id(), key)?;
        if let (Ok(offset), IndexKey::SeqNo(seq_no)) = (u32::try_from(entry.offset), key) {
            // The walk will go from header to header, each of them far from the one before: fetch them all at
            // once.
            let stride = self.window.stride();
            let (step, way) = (stride.max(LINE), seq_no.saturating_sub(entry.seq_no).saturating_add(1));
            let fetches = way.saturating_mul(stride.into()).div_ceil(step.into()).min(FETCH_MAX) as u32;
            (0..=fetches).for_each(|n| map.prefetch(offset.saturating_add(n * step), limit));
        }
        good_hint(map, limit, &entry).map(|record| (entry.offset as u32, record))
    }

    #[inline]
    pub(super) fn limit(&self, map: &PageMap, span: &Span) -> Result<u32, ReadError> {
        map.admit(span.watermark).ok_or_else(|| self.nonsense())
    }

    /// Page `id`, from what this reader holds or from the ring.
    #[inline]
    pub(super) fn map_page(&mut self, id: u64) -> Result<Opened<Arc<PageMap>>, ReadError> {
        if let Some(map) = self.window.find(id) {
            return Ok(Opened::Page(map.clone()));
        }
        let opened = self.ring.pages.map(id, self.window.epoch())?;
        if let Opened::Page(map) = &opened {
            self.window.remember(map.clone(), self.attachment.oldest_page());
        }
        Ok(opened)
    }
}
