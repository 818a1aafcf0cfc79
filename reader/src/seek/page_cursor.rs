//! A place in a walk through one page.

use crate::error::ReadError;
use crate::pages::page_map::PageMap;
use crate::place::Last;
use crate::reader::corrupt;
use crate::walk::{chain, frame};
use std::sync::Arc;
use waldo_shm_protocol::limits::RECORD_HEADER_LEN;
use waldo_shm_protocol::page::IndexEntry;
use waldo_shm_protocol::record::{Frame, RawRecord, Record, RecordFault};

/// The place before the record at `offset`.
pub(super) struct PageCursor {
    pub(super) map: Arc<PageMap>,
    pub(super) offset: u32,
    pub(super) last: Option<Last>,
    /// Number of the record that follows, if one does.
    pub(super) next: Option<u64>,
    /// Bytes from the last record passed to the one after it; 0 if none was passed.
    pub(super) stride: u32,
}

impl PageCursor {
    pub(super) fn at(map: Arc<PageMap>, offset: u32, last: Option<Last>) -> PageCursor {
        PageCursor { map, offset, last, next: None, stride: 0 }
    }
}

impl PageCursor {
    /// Walks in this page while `on`, called with number and time, returns true, up to `limit` or the seal.
    /// The checksums of the two records between which the walk stops are checked; of the other records only
    /// structure and chain are.
    #[inline]
    pub(super) fn walk(&mut self, limit: u32, on: impl Fn(u64, u64) -> bool) -> Result<(), ReadError> {
        let map = &*self.map;
        let start = self.offset;
        let Some(bytes) = map.bytes(start, limit) else {
            return Err(corrupt(map, start, RecordFault::NoRoom { room: 0 }, None));
        };
        let (at, passed, prev) = pass(bytes, self.last.map(|last| last.seq_no), on);
        // Here the walk has ended: at a record to stop at, at the seal, at the end, or at damage.
        self.offset = start + at as u32;
        let ahead = &bytes[at..];
        self.next = if ahead.is_empty() {
            None
        } else {
            self.stop(ahead, prev).map_err(|fault| corrupt(map, self.offset, fault, prev))?
        };
        let Some(passed) = passed else { return Ok(()) };
        let offset = start + passed as u32;
        self.stride = (at - passed) as u32;
        match frame(map, offset, limit)
            .and_then(|(raw, frame)| raw.verify(map.seed(), offset).map(|()| frame))
        {
            Ok(Frame::Record(record)) => self.last = Some(Last::seen(&record, map.id(), offset)),
            Ok(Frame::Seal(_)) => {}
            Err(fault) => return Err(corrupt(map, offset, fault, None)),
        }
        Ok(())
    }

    /// Checks what the walk has stopped at, in front of `ahead`: the number of a good record, or a good seal.
    #[inline]
    fn stop(&self, ahead: &[u8], prev: Option<u64>) -> Result<Option<u64>, RecordFault> {
        let room = ahead.len() as u64;
        let raw = RawRecord::read(ahead).ok_or(RecordFault::NoRoom { room })?;
        let frame = raw.check(room)?;
        raw.verify(self.map.seed(), self.offset)?;
        let Frame::Record(record) = frame else { return Ok(None) };
        chain(prev, &record)?;
        Ok(Some(record.seq_no()))
    }
}

/// Goes over records of `bytes` while `on` says so and their structure and chain are in order. Gives where it
/// stopped, where the last record begins that was passed, and the number of the record before. A loop of its
/// own, with its state in registers: this is what a lookup spends its time in.
#[inline]
fn pass(
    bytes: &[u8],
    first_prev: Option<u64>,
    on: impl Fn(u64, u64) -> bool,
) -> (usize, Option<usize>, Option<u64>) {
    let (mut at, mut passed, mut prev) = (0, None, first_prev);
    while let Some(ahead) = bytes.get(at..)
        && let Some(raw) = RawRecord::read(ahead)
        && let Ok(Frame::Record(record)) = raw.check(ahead.len() as u64)
        && prev.is_none_or(|prev| prev == record.prev_seq_no())
        && on(record.seq_no(), record.time_ns())
    {
        prev = Some(record.seq_no());
        passed = Some(at);
        at += record.size();
    }
    (at, passed, prev)
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
