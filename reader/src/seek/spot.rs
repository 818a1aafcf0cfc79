//! A place in a walk through one page.

use crate::error::ReadError;
use crate::page_map::PageMap;
use crate::place::Last;
use crate::reader::corrupt;
use crate::walk::{chain, frame};
use std::sync::Arc;
use waldo_shm_protocol::limits::RECORD_HEADER_LEN;
use waldo_shm_protocol::page::IndexEntry;
use waldo_shm_protocol::record::{Frame, RawRecord, Record, RecordFault};

/// In front of the record at `offset`.
pub(super) struct Spot {
    pub(super) map: Arc<PageMap>,
    pub(super) offset: u32,
    pub(super) last: Option<Last>,
    /// Number of the record that follows, if one does.
    pub(super) next: Option<u64>,
}

/// Headers fetched ahead of the walk: records tend to be of one size, so where the next ones are can be guessed.
const FETCH_AHEAD: u32 = 8;

impl Spot {
    /// Walks in this page while `on` says so, up to `limit` or the seal. The records it stops between are checked
    /// against their checksums, those passed on the way only for structure and chain.
    #[inline]
    pub(super) fn walk(&mut self, limit: u32, on: impl Fn(&Record) -> bool) -> Result<(), ReadError> {
        let map = &*self.map;
        let fault = |offset, fault, prev| corrupt(map, offset, fault, prev);
        let start = self.offset;
        let no_room = RecordFault::NoRoom { room: 0 };
        let bytes = map.bytes(start, limit).ok_or_else(|| fault(start, no_room, None))?;
        let mut prev = self.last.map(|last| last.seq_no);
        // Only what the next turn needs: this loop is what a lookup spends its time in.
        let (mut at, mut passed) = (0usize, None);
        let mut next = None;
        while let Some(ahead) = bytes.get(at..).filter(|ahead| !ahead.is_empty()) {
            let room = ahead.len() as u64;
            let offset = start + at as u32;
            let raw =
                RawRecord::read(ahead).ok_or_else(|| fault(offset, RecordFault::NoRoom { room }, prev))?;
            let Frame::Record(record) = raw.check(room).map_err(|f| fault(offset, f, prev))? else {
                raw.verify(map.seed(), offset).map_err(|f| fault(offset, f, prev))?;
                break;
            };
            chain(prev, &record).map_err(|f| fault(offset, f, prev))?;
            if !on(&record) {
                raw.verify(map.seed(), offset).map_err(|f| fault(offset, f, prev))?;
                next = Some(record.seq_no());
                break;
            }
            prev = Some(record.seq_no());
            passed = Some(offset);
            map.prefetch(offset.saturating_add(FETCH_AHEAD * record.size() as u32), limit);
            at += record.size();
        }
        self.offset = start + at as u32;
        self.next = next;
        if let Some(offset) = passed {
            let (raw, frame) = frame(map, offset, limit).map_err(|f| fault(offset, f, None))?;
            raw.verify(map.seed(), offset).map_err(|f| fault(offset, f, None))?;
            if let Frame::Record(record) = frame {
                self.last = Some(Last::seen(&record, map.id(), offset));
            }
        }
        Ok(())
    }
}

/// The record that an index entry points at, if it is there.
#[inline]
pub(super) fn good_hint(map: &PageMap, limit: u32, entry: &IndexEntry) -> Option<Record> {
    let offset = u32::try_from(entry.offset).ok()?;
    if offset < super::FIRST || !offset.is_multiple_of(8) {
        return None;
    }
    let (raw, frame) = frame(map, offset, limit).ok()?;
    raw.verify(map.seed(), offset).ok()?;
    match frame {
        Frame::Record(record) if record.seq_no() == entry.seq_no => Some(record),
        _ => None,
    }
}

/// `limit`, or the offset of the seal that ends there.
pub(super) fn in_front_of_seal(map: &PageMap, limit: u32) -> u32 {
    let Some(offset) = limit.checked_sub(RECORD_HEADER_LEN as u32).filter(|offset| *offset >= super::FIRST)
    else {
        return limit;
    };
    match frame(map, offset, limit) {
        Ok((raw, Frame::Seal(_))) if raw.verify(map.seed(), offset).is_ok() => offset,
        _ => limit,
    }
}
