//! Finding a place in the log: the page by bisection, a record near the target by the sparse index, the rest on foot.
//!
//! Directory and index are hints. A search ends at a record that has been looked at itself, whatever they said.

use crate::error::ReadError;
use crate::options::{Cursor, OnLapped, Visibility};
use crate::page_map::PageMap;
use crate::pages::Opened;
use crate::place::{Last, Mark, Place, Skip, Want};
use crate::reader::{Reader, corrupt};
use crate::source::Source;
use crate::walk::{chain, frame};
use crate::watermark::Watermark;
use std::sync::Arc;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo_shm_protocol::page::IndexEntry;
use waldo_shm_protocol::record::{Frame, RawRecord, Record, RecordFault};
use waldo_shm_protocol::segment::{IndexKey, SegmentFault, WriterState};

/// Pages a reader keeps mapped besides the one it is in, while it looks records up.
const KEPT_MAX: usize = 16;
/// A search that is overtaken by trimming so often has something else in its way.
const RACES_MAX: u32 = 64;
/// A reader that starts at the tip looks for the record before it within this many bytes.
const TIP_WALK_MAX: u32 = 1 << 20;

const FIRST: u32 = PAGE_HEADER_LEN as u32;

/// Where a search has led.
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) page: Option<Arc<PageMap>>,
    pub(crate) last: Option<Last>,
    pub(crate) skip: Skip,
    /// Sequence number of the record at `place`, if there is one.
    pub(crate) next: Option<u64>,
}

/// One attempt of a search.
enum Attempt {
    Done(Found),
    /// A page could not be opened, most likely because it has just been trimmed.
    Raced(ReadError),
}

/// What a search may look at.
struct Span {
    watermark: Watermark,
    oldest: u64,
    tip: u64,
}

/// A record being searched for: the first that does not lie before it.
#[derive(Clone, Copy)]
enum Target {
    After(u64),
    Since(u64),
}

impl Target {
    #[inline(always)]
    fn is_behind(self, seq_no: u64, time_ns: u64) -> bool {
        match self {
            Target::After(after) => seq_no <= after,
            Target::Since(time) => time_ns < time,
        }
    }

    fn key(self) -> IndexKey {
        match self {
            Target::After(after) => IndexKey::SeqNo(after),
            Target::Since(time) => IndexKey::TimeBefore(time),
        }
    }

    fn skip(self) -> Skip {
        match self {
            Target::After(after) => Skip::Through(after),
            Target::Since(time) => Skip::Before(time),
        }
    }
}

/// A place in a walk: in front of the record at `offset`.
struct Spot {
    map: Arc<PageMap>,
    offset: u32,
    last: Option<Last>,
    /// Number of the record that follows, if one does.
    next: Option<u64>,
}

impl Reader {
    /// Goes to `cursor`. The reader stays where it is if that fails.
    ///
    /// A cursor beyond the tip is fine: records up to it are passed over when they come. In a gap of the
    /// numbering, the next record that exists follows.
    ///
    /// # Errors
    /// [`ReadError::Lapped`] if records behind the cursor have been trimmed, and what reading can meet.
    pub fn seek(&mut self, cursor: Cursor) -> Result<(), ReadError> {
        self.go(cursor.into())
    }

    pub(crate) fn go(&mut self, want: Want) -> Result<(), ReadError> {
        match self.resolve(want) {
            Ok(found) => self.take(found),
            Err(ReadError::Lapped { requested, lost, .. }) if self.options.on_lapped != OnLapped::Fail => {
                self.go_lapsed(requested, lost)?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Finds `want` without moving there.
    pub(crate) fn resolve(&mut self, want: Want) -> Result<Found, ReadError> {
        let mut races = 0;
        loop {
            self.attend_for_search()?;
            let error = match self.attempt(want)? {
                Attempt::Done(found) => return Ok(found),
                Attempt::Raced(error) => error,
            };
            races += 1;
            if races >= RACES_MAX {
                return Err(error);
            }
            if races == RACES_MAX / 2 {
                self.refresh()?;
            }
            if let Source::Files(files) = &self.attachment.source {
                files.look()?;
            }
            std::thread::yield_now();
        }
    }

    /// Like `attend`, but the old place does not matter.
    fn attend_for_search(&mut self) -> Result<(), ReadError> {
        let current = self.ring.attend(&self.attachment)?;
        self.adopt(current);
        Ok(())
    }

    fn attempt(&mut self, want: Want) -> Result<Attempt, ReadError> {
        let Some(span) = self.span()? else { return Ok(Attempt::Done(self.pending(want))) };
        match want {
            Want::Tip => self.tip(&span),
            Want::Trim => self.trim(&span),
            Want::After(seq_no) => self.find(&span, Target::After(seq_no), None),
            Want::Since(time) => self.find(&span, Target::Since(time), None),
            Want::Resume(checkpoint) => {
                let target = Target::After(checkpoint.seq_no.saturating_sub(1));
                let attempt = self.find(&span, target, Some(checkpoint.seq_no))?;
                match attempt {
                    Attempt::Done(found) => self.behind_checkpoint(found, want).map(Attempt::Done),
                    raced => Ok(raced),
                }
            }
        }
    }

    /// Nothing to search in yet.
    fn pending(&self, want: Want) -> Found {
        // Behind the newest record of an empty ring comes its first one. While a writer is still reading the
        // files, there may be records that belong before the tip.
        let empty = match &self.attachment.source {
            Source::Control(control) => control.segment().status().state() == Some(WriterState::Live),
            Source::Files(_) => true,
        };
        let want = if want == Want::Tip && empty { Want::Trim } else { want };
        Found { place: Place::Pending(want), page: None, last: None, skip: Skip::Nothing, next: None }
    }

    /// The pages to search in; `None` if there are none (yet).
    fn span(&self) -> Result<Option<Span>, ReadError> {
        for _ in 0..RACES_MAX {
            // In this order: the oldest page can only have grown since the watermark was loaded.
            let watermark = self.watermark();
            let (oldest, tip) = (self.attachment.oldest_page(), watermark.position().page());
            if watermark.position().is_none() {
                return Ok(None);
            }
            if oldest == 0 || tip.saturating_sub(oldest) >= self.attachment.pages_max() {
                break;
            }
            if oldest <= tip {
                return Ok(Some(Span { watermark, oldest, tip }));
            }
            let committed = self.attachment.watermark(Visibility::Committed).position().page();
            if self.options.visibility == Visibility::Durable && oldest <= committed {
                // The ring has gone round since the last flush: there is nothing durable in it.
                return Ok(None);
            }
            std::thread::yield_now();
        }
        let path = self.attachment.path(&self.ring.home);
        Err(ReadError::Control { path, fault: SegmentFault::Range })
    }

    fn tip(&mut self, span: &Span) -> Result<Attempt, ReadError> {
        let map = match self.map_page(span.tip)? {
            Opened::Page(map) => map,
            Opened::Gone(error) => return Ok(Attempt::Raced(error)),
        };
        let limit = self.limit(&map, span)?;
        let start = self.hint(&map, limit, IndexKey::SeqNo(u64::MAX)).unwrap_or(FIRST);
        let (mut last, mut end) = (None, limit);
        if limit - start <= TIP_WALK_MAX {
            let spot = Spot { map: map.clone(), offset: start, last: None, next: None };
            // Damage before the tip is no concern of a reader that starts at the tip.
            if let Ok(spot) = self.walk_to(spot, limit, |_| true) {
                (last, end) = (spot.last, spot.offset);
            }
        }
        if end == limit && last.is_none() {
            end = in_front_of_seal(&map, limit);
        }
        let place = self.place_in(&map, end)?;
        Ok(Attempt::Done(Found { place, page: Some(map), last, skip: Skip::Nothing, next: None }))
    }

    fn trim(&mut self, span: &Span) -> Result<Attempt, ReadError> {
        let map = match self.map_page(span.oldest)? {
            Opened::Page(map) => map,
            Opened::Gone(error) => return Ok(Attempt::Raced(error)),
        };
        let first = self.first_record(&map, span)?;
        let last = first.map(|record| Last::number(record.prev_seq_no()));
        let place = self.place_in(&map, FIRST)?;
        let next = first.map(|record| record.seq_no());
        Ok(Attempt::Done(Found { place, page: Some(map), last, skip: Skip::Nothing, next }))
    }

    /// The first record that does not lie behind `target`. `resuming` is the record a checkpoint names.
    fn find(&mut self, span: &Span, target: Target, resuming: Option<u64>) -> Result<Attempt, ReadError> {
        let mut id = self.bisect(span, target)?;
        let (map, first) = loop {
            let map = match self.map_page(id)? {
                Opened::Page(map) => map,
                Opened::Gone(error) => return Ok(Attempt::Raced(error)),
            };
            let first = self.first_record(&map, span)?;
            let begins_later = first.is_some_and(|record| match target {
                Target::After(after) => record.prev_seq_no() > after,
                Target::Since(time) => record.time_ns() >= time,
            });
            if !begins_later {
                break (map, first);
            }
            // The directory was mistaken, or was not read in time, if there is an older page.
            if id > span.oldest {
                id -= 1;
                continue;
            }
            if let (Target::After(after), Some(record)) = (target, first) {
                self.check_lapsed(&map, &record, after, resuming)?;
            }
            break (map, first);
        };
        let mut offset = FIRST;
        let mut last = first.map(|record| Last::number(record.prev_seq_no()));
        if first.is_some_and(|record| target.is_behind(record.seq_no(), record.time_ns())) {
            let limit = self.limit(&map, span)?;
            if let Some(hint) = self.hint_behind(&map, limit, target) {
                (offset, last) = (hint, None);
            }
        }
        self.walk_pages(Spot { map, offset, last, next: None }, span, target)
    }

    /// Whether it matters that the ring begins after what was asked for.
    fn check_lapsed(
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

    /// Walks on from `spot`, across pages, to the first record not behind `target`.
    fn walk_pages(&mut self, mut spot: Spot, span: &Span, target: Target) -> Result<Attempt, ReadError> {
        loop {
            let limit = self.limit(&spot.map, span)?;
            spot = self.walk_to(spot, limit, |record| target.is_behind(record.seq_no(), record.time_ns()))?;
            let at_end = spot.map.id() >= span.tip;
            if spot.next.is_some() || at_end {
                break;
            }
            // In front of the seal of a page that is not the last one: each turn of this loop maps a page.
            let next = match self.map_page(spot.map.id() + 1)? {
                Opened::Page(map) => map,
                Opened::Gone(error) => return Ok(Attempt::Raced(error)),
            };
            spot = Spot { map: next, offset: FIRST, ..spot };
        }
        let place = self.place_in(&spot.map, spot.offset)?;
        let next = spot.next;
        let skip = if next.is_some() { Skip::Nothing } else { target.skip() };
        Ok(Attempt::Done(Found { place, page: Some(spot.map), last: spot.last, skip, next }))
    }

    /// Walks in one page while `on` says so, up to `limit` or the seal. The records it stops between are
    /// checked against their checksums, those passed on the way only for structure and chain.
    fn walk_to(&self, mut spot: Spot, limit: u32, on: impl Fn(&Record) -> bool) -> Result<Spot, ReadError> {
        let map = spot.map.clone();
        let start = spot.offset;
        let fault = |offset, fault, prev| corrupt(&map, offset, fault, prev);
        let room = RecordFault::NoRoom { room: 0 };
        let bytes = map.bytes(start, limit).ok_or_else(|| fault(start, room, None))?;
        let mut prev = spot.last.map(|last| last.seq_no);
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
            at += record.size();
        }
        spot.offset = start + at as u32;
        spot.next = next;
        if let Some(offset) = passed {
            let (raw, frame) = frame(&map, offset, limit).map_err(|f| fault(offset, f, None))?;
            raw.verify(map.seed(), offset).map_err(|f| fault(offset, f, None))?;
            if let Frame::Record(record) = frame {
                spot.last = Some(Last::seen(&record, map.id(), offset));
            }
        }
        Ok(spot)
    }

    /// Steps over the record the checkpoint names, if that is what was found.
    fn behind_checkpoint(&self, mut found: Found, want: Want) -> Result<Found, ReadError> {
        let Want::Resume(checkpoint) = want else { return Ok(found) };
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

    /// The last page whose first record lies behind `target`, or the oldest.
    fn bisect(&mut self, span: &Span, target: Target) -> Result<u64, ReadError> {
        let (mut low, mut high) = (span.oldest + 1, span.tip + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.begins_behind(middle, span, target)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low - 1)
    }

    fn begins_behind(&mut self, id: u64, span: &Span, target: Target) -> Result<bool, ReadError> {
        if let Some(info) = self.attachment.page(id) {
            return Ok(info.first_seq_no > 0 && target.is_behind(info.first_seq_no, info.first_time_ns));
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
    fn first_record(&self, map: &PageMap, span: &Span) -> Result<Option<Record>, ReadError> {
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

    /// A record of the page behind `target` that is really there, from the index.
    fn hint_behind(&self, map: &PageMap, limit: u32, target: Target) -> Option<u32> {
        let entry = self.attachment.index_floor(map.id(), target.key())?;
        let record = good_hint(map, limit, &entry)?;
        target.is_behind(record.seq_no(), record.time_ns()).then_some(entry.offset as u32)
    }

    fn hint(&self, map: &PageMap, limit: u32, key: IndexKey) -> Option<u32> {
        let entry = self.attachment.index_floor(map.id(), key)?;
        good_hint(map, limit, &entry).map(|_| entry.offset as u32)
    }

    fn limit(&self, map: &PageMap, span: &Span) -> Result<u32, ReadError> {
        map.admit(span.watermark).ok_or_else(|| ReadError::Control {
            path: self.attachment.path(&self.ring.home),
            fault: SegmentFault::Range,
        })
    }

    fn place_in(&self, map: &PageMap, offset: u32) -> Result<Place, ReadError> {
        let path = || self.attachment.path(&self.ring.home);
        Position::new(map.id(), offset.into())
            .map(Place::At)
            .ok_or_else(|| ReadError::Control { path: path(), fault: SegmentFault::Range })
    }

    /// Page `id`, from what this reader holds or from the ring.
    fn map_page(&mut self, id: u64) -> Result<Opened<Arc<PageMap>>, ReadError> {
        if let Some(map) = self.page.iter().chain(&self.kept).find(|map| map.id() == id) {
            return Ok(Opened::Page(map.clone()));
        }
        let opened = self.ring.pages.map(id)?;
        if let Opened::Page(map) = &opened {
            self.keep(map.clone());
        }
        Ok(opened)
    }

    /// Keeps a page mapped for the next lookup, and lets go of those that the ring has trimmed.
    pub(crate) fn keep(&mut self, map: Arc<PageMap>) {
        let oldest = self.attachment.oldest_page();
        self.kept.retain(|kept| kept.id() >= oldest && kept.id() != map.id());
        if self.kept.len() >= KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push(map);
    }
}

/// The record that an index entry points at, if it is there.
fn good_hint(map: &PageMap, limit: u32, entry: &IndexEntry) -> Option<Record> {
    let offset = u32::try_from(entry.offset).ok()?;
    if offset < FIRST || !offset.is_multiple_of(8) {
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
fn in_front_of_seal(map: &PageMap, limit: u32) -> u32 {
    let Some(offset) = limit.checked_sub(RECORD_HEADER_LEN as u32).filter(|offset| *offset >= FIRST) else {
        return limit;
    };
    match frame(map, offset, limit) {
        Ok((raw, Frame::Seal(_))) if raw.verify(map.seed(), offset).is_ok() => offset,
        _ => limit,
    }
}
