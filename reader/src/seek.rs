//! Finding a place in the log: the page by bisection, a record near the target by the sparse index, the rest on foot.
//!
//! Directory and index are hints. A search ends at a record that has been looked at itself, whatever they said.

mod pages;
mod resume;
mod spot;
mod target;

use crate::error::ReadError;
use crate::options::{Cursor, OnLapped, Visibility};
use crate::page_map::PageMap;
use crate::pages::Opened;
use crate::place::{Last, Place, Skip, Want};
use crate::reader::Reader;
use crate::source::{Source, settling};
use crate::watermark::Watermark;
use spot::{Spot, in_front_of_seal};
use std::sync::Arc;
use target::Target;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;
use waldo_shm_protocol::segment::{IndexKey, SegmentFault, WriterState};

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
    /// The writer's start under which this was found.
    pub(crate) epoch: u32,
    /// That writer has published where the log ends.
    pub(crate) settled: bool,
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
            let error = match self.attempt(want) {
                // Another writer has come, and may have replaced files: what was found may be of before or of after.
                _ if self.attachment.epoch() != self.seen_epoch && races < RACES_MAX => None,
                Ok(Attempt::Done(found)) => return Ok(found),
                Ok(Attempt::Raced(error)) => Some(error),
                Err(error) => return Err(error),
            };
            races += 1;
            match error {
                Some(error) if races >= RACES_MAX => return Err(error),
                _ if races == RACES_MAX / 2 => self.refresh()?,
                _ => {}
            }
            if let Source::Files(files) = &self.attachment.source {
                files.look()?;
            }
            std::thread::yield_now();
        }
    }

    /// Like `attend`, but the old place does not matter.
    #[inline]
    fn attend_for_search(&mut self) -> Result<(), ReadError> {
        if self.ring.generation() != self.attachment.generation
            || self.attachment.needs_attention(self.seen_epoch)
        {
            let current = self.ring.attend(&self.ring.current())?;
            self.adopt(current);
            let epoch = self.attachment.epoch();
            if epoch != self.seen_epoch {
                self.kept.clear();
                self.seen_epoch = epoch;
            }
        }
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
                    Attempt::Done(found) => self.behind_checkpoint(found, &checkpoint).map(Attempt::Done),
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
        self.found(Place::Pending(want), None, None)
    }

    /// A search's outcome under the writer as it was seen before the search.
    fn found(&self, place: Place, page: Option<Arc<PageMap>>, last: Option<Last>) -> Found {
        let settled = match &self.attachment.source {
            Source::Control(control) => !settling(control),
            Source::Files(_) => true,
        };
        Found { place, page, last, skip: Skip::Nothing, next: None, epoch: self.seen_epoch, settled }
    }

    /// The pages to search in; `None` if there are none (yet).
    #[inline]
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
        let start = self.hint(&map, limit, IndexKey::SeqNo(u64::MAX)).map_or(FIRST, |(offset, _)| offset);
        let (mut last, mut end) = (None, limit);
        if limit - start <= TIP_WALK_MAX {
            let mut spot = Spot::at(map.clone(), start, None);
            // Damage before the tip is no concern of a reader that starts at the tip.
            if spot.walk(limit, |_, _| true).is_ok() {
                (last, end) = (spot.last, spot.offset);
            }
        }
        if end == limit && last.is_none() {
            end = in_front_of_seal(&map, limit);
        }
        let place = self.place_in(&map, end)?;
        Ok(Attempt::Done(self.found(place, Some(map), last)))
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
        Ok(Attempt::Done(Found { next, ..self.found(place, Some(map), last) }))
    }

    /// The first record that does not lie behind `target`. `resuming` is the record a checkpoint names.
    #[inline]
    fn find(&mut self, span: &Span, target: Target, resuming: Option<u64>) -> Result<Attempt, ReadError> {
        let id = self.bisect(span, target)?;
        let map = match self.map_page(id)? {
            Opened::Page(map) => map,
            Opened::Gone(error) => return Ok(Attempt::Raced(error)),
        };
        let limit = self.limit(&map, span)?;
        // A record behind the target that is really there proves that this page is not too new.
        let hint = self.hint(&map, limit, target.key());
        let hint = hint.filter(|(_, record)| target.is_behind(record.seq_no(), record.time_ns()));
        let spot = match hint {
            Some((offset, _)) => Spot::at(map, offset, None),
            None => match self.start_of_page(map, span, target, resuming)? {
                Ok(spot) => spot,
                Err(error) => return Ok(Attempt::Raced(error)),
            },
        };
        self.walk_pages(spot, span, target)
    }

    /// The start of the newest page, `map` or one before it, that begins behind `target`; else of the oldest page.
    #[cold]
    fn start_of_page(
        &mut self,
        mut map: Arc<PageMap>,
        span: &Span,
        target: Target,
        resuming: Option<u64>,
    ) -> Result<Result<Spot, ReadError>, ReadError> {
        loop {
            let first = self.first_record(&map, span)?;
            let begins_later = first.filter(|record| match target {
                Target::After(after) => record.prev_seq_no() > after,
                Target::Since(time) => record.time_ns() >= time,
            });
            if let Some(record) = begins_later {
                // The directory was mistaken, or was not read in time, if there is an older page.
                if map.id() > span.oldest {
                    map = match self.map_page(map.id() - 1)? {
                        Opened::Page(map) => map,
                        Opened::Gone(error) => return Ok(Err(error)),
                    };
                    continue;
                }
                if let Target::After(after) = target {
                    self.check_lapsed(&map, &record, after, resuming)?;
                }
            }
            let last = first.map(|record| Last::number(record.prev_seq_no()));
            return Ok(Ok(Spot::at(map, FIRST, last)));
        }
    }

    /// Walks on from `spot`, across pages, to the first record not behind `target`.
    #[inline]
    fn walk_pages(&mut self, mut spot: Spot, span: &Span, target: Target) -> Result<Attempt, ReadError> {
        loop {
            let limit = self.limit(&spot.map, span)?;
            spot.walk(limit, |seq_no, time_ns| target.is_behind(seq_no, time_ns))?;
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
        if spot.stride > 0 {
            self.stride = spot.stride;
        }
        let place = self.place_in(&spot.map, spot.offset)?;
        let next = spot.next;
        let skip = if next.is_some() { Skip::Nothing } else { target.skip() };
        Ok(Attempt::Done(Found { skip, next, ..self.found(place, Some(spot.map), spot.last) }))
    }

    fn place_in(&self, map: &PageMap, offset: u32) -> Result<Place, ReadError> {
        let path = || self.attachment.path(&self.ring.home);
        Position::new(map.id(), offset.into())
            .map(Place::At)
            .ok_or_else(|| ReadError::Control { path: path(), fault: SegmentFault::Range })
    }
}
