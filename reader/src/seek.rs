//! Finding a place in the log: the page by bisection, a record near the target by the sparse index, and the
//! target by walking from there.
//!
//! Directory and index are hints. A search always ends at a record that it has checked itself.

mod empty;
mod found;
mod page_cursor;
mod pages;
mod resume;
mod target;

use crate::checkpoint::Checkpoint;
use crate::error::ReadError;
use crate::options::{Cursor, ReaderOptions, Visibility};
use crate::pages::Opened;
use crate::pages::page_map::PageMap;
use crate::pages::window::PageWindow;
use crate::place::{Last, Place, SeekTarget, Skip};
use crate::reader::Reader;
use crate::source::Attachment;
use crate::source::attached_ring::AttachedRing;
use crate::watermark::Watermark;
use found::{Attempt, Start};
pub(crate) use found::{Found, Overtaken, Sought};
use page_cursor::{PageCursor, in_front_of_seal};
use std::sync::Arc;
use target::Target;
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;
use waldo_shm_protocol::segment::{IndexKey, SegmentFault};

/// A search that is overtaken by trimming so often has something else in its way.
const RACES_MAX: u32 = 64;
/// A reader that starts at the tip looks for the record before it within this many bytes.
const TIP_WALK_MAX: u32 = 1 << 20;

const FIRST: u32 = PAGE_HEADER_LEN as u32;

/// A search. It reads, opens and maps pages, and changes to another attachment if the ring has moved. But it
/// has no access to the reader's position: its result is a value.
pub(crate) struct Search<'r> {
    pub(crate) ring: &'r Arc<AttachedRing>,
    pub(crate) attachment: &'r mut Arc<Attachment>,
    pub(crate) options: &'r ReaderOptions,
    pub(crate) window: &'r mut PageWindow,
}

/// What a search may look at.
struct Span {
    watermark: Watermark,
    oldest: u64,
    tip: u64,
}

impl Reader {
    /// Moves to `cursor`. The reader stays where it is if that fails.
    ///
    /// A cursor beyond the tip is valid: records up to the cursor are skipped when they come. If the cursor
    /// is in a gap of the numbering, the next existing record follows.
    ///
    /// # Errors
    /// [`ReadError::Lapped`] if records after the cursor have been trimmed, and all errors of reading.
    pub fn seek(&mut self, cursor: Cursor) -> Result<(), ReadError> {
        self.go(cursor.into())
    }
}

impl Search<'_> {
    /// Finds `want`.
    pub(crate) fn resolve(mut self, want: SeekTarget) -> Result<Sought, ReadError> {
        // Attempts, and those in a row between which nothing has changed in the files.
        let (mut races, mut still) = (0, 0);
        loop {
            self.attend_for_search()?;
            let error = match self.attempt(want) {
                // Another writer has started, and may have replaced files: the result may be from before or
                // after that.
                _ if self.attachment.epoch() != self.window.epoch() && races < RACES_MAX => None,
                Ok(Attempt::Done(found)) => return Ok(Sought::Found(found)),
                Ok(Attempt::Overtaken(overtaken)) => return Ok(Sought::Overtaken(overtaken)),
                Ok(Attempt::Raced(error)) => Some(error),
                Err(error) => return Err(error),
            };
            races += 1;
            match error {
                Some(error) if races >= self.races_max() || still >= RACES_MAX => {
                    let before = self.attachment.generation;
                    self.refresh()?;
                    if self.attachment.generation == before {
                        return self.put_off(want).map(Sought::Found).ok_or(error);
                    }
                    (races, still) = (0, 0);
                }
                _ if races == RACES_MAX / 2 => self.refresh()?,
                _ => {}
            }
            if let Some(moved) = self.attachment.look_at_files()? {
                still = if moved { 0 } else { still + 1 };
            }
            std::thread::yield_now();
        }
    }

    fn refresh(&mut self) -> Result<(), ReadError> {
        *self.attachment = self.ring.refresh_closely(self.attachment)?;
        // Otherwise everything found from here on would count as found under another epoch.
        self.window.look_under(self.attachment.epoch());
        Ok(())
    }

    /// Postpones the search, if pages are missing that an outdated segment names: the next writer will say
    /// where `want` is, or the files will, once it is known that no writer comes.
    #[cold]
    fn put_off(&self, want: SeekTarget) -> Option<Found> {
        let unsettled = self.attachment.is_unsettled(&self.ring.options);
        unsettled.then(|| Found { settled: false, ..self.found(Place::Pending(want), None, None) })
    }

    /// Attempts that may be lost to a writer that trims. Without a segment each of them begins with a look at
    /// the directory, in which time a fast writer can trim all of a small ring.
    fn races_max(&self) -> u32 {
        if self.attachment.goes_by_files() { RACES_MAX * 32 } else { RACES_MAX }
    }

    /// Like [`Reader::attend`], but there is no place that could be wrong.
    #[inline]
    fn attend_for_search(&mut self) -> Result<(), ReadError> {
        if self.ring.generation() != self.attachment.generation
            || self.attachment.needs_attention(self.window.epoch())
        {
            *self.attachment = self.ring.attend(&self.ring.current())?;
            self.window.look_under(self.attachment.epoch());
        }
        Ok(())
    }

    fn attempt(&mut self, want: SeekTarget) -> Result<Attempt, ReadError> {
        let Some(span) = self.span()? else { return self.pending(want).map(Attempt::Done) };
        match want {
            SeekTarget::Tip => self.tip(&span),
            SeekTarget::Oldest => self.trim(&span),
            SeekTarget::After(seq_no) => self.find(&span, Target::After(seq_no), None),
            SeekTarget::Since(time) => self.find(&span, Target::Since(time), None),
            SeekTarget::FromNowSince(time) => {
                let attempt = self.find(&span, Target::Since(time), None)?;
                Ok(self.nothing_trimmed(attempt))
            }
            SeekTarget::Resume(checkpoint) => {
                let target = Target::After(checkpoint.seq_no.saturating_sub(1));
                let attempt = self.find(&span, target, Some(&checkpoint))?;
                match attempt {
                    Attempt::Done(found) => self.behind_checkpoint(found, &checkpoint).map(Attempt::Done),
                    other => Ok(other),
                }
            }
        }
    }

    /// The pages to search in; `None` if there are none (yet).
    #[inline]
    fn span(&self) -> Result<Option<Span>, ReadError> {
        for _ in 0..RACES_MAX {
            // In this order: the oldest page can only have grown since the watermark was loaded.
            let watermark = self.attachment.watermark(self.options.visibility);
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
                // The ring has completed a lap since the last flush: there is nothing durable in it.
                return Ok(None);
            }
            std::thread::yield_now();
        }
        Err(self.nonsense())
    }

    fn nonsense(&self) -> ReadError {
        ReadError::Control { path: self.attachment.path(&self.ring.home), fault: SegmentFault::Range }
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
            let mut spot = PageCursor::at(map.clone(), start, None);
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
        if first.is_none() && map.id() < span.tip {
            // Sealed without a record: the first one is in a later page.
            let attempt = self.walk_pages(PageCursor::at(map, FIRST, None), span, Target::After(0))?;
            return Ok(match attempt {
                Attempt::Done(found) => Attempt::Done(Found { begins_ring: found.next.is_some(), ..found }),
                other => other,
            });
        }
        self.start_of_ring(map, first).map(Attempt::Done)
    }

    /// The first record that does not lie behind `target`. `resuming` is the checkpoint whose record it
    /// should be.
    #[inline]
    fn find(
        &mut self,
        span: &Span,
        target: Target,
        resuming: Option<&Checkpoint>,
    ) -> Result<Attempt, ReadError> {
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
            Some((offset, _)) => PageCursor::at(map, offset, None),
            None => match self.start_of_page(map, span, target, resuming)? {
                Start::Page(spot) => spot,
                Start::Ring(found) => return Ok(Attempt::Done(*found)),
                Start::Overtaken(overtaken) => return Ok(Attempt::Overtaken(overtaken)),
                Start::Raced(error) => return Ok(Attempt::Raced(error)),
            },
        };
        self.walk_pages(spot, span, target)
    }

    /// The start of the newest page, `map` or one before it, that begins behind `target`; else of the oldest
    /// page.
    #[cold]
    fn start_of_page(
        &mut self,
        mut map: Arc<PageMap>,
        span: &Span,
        target: Target,
        resuming: Option<&Checkpoint>,
    ) -> Result<Start, ReadError> {
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
                        Opened::Gone(error) => return Ok(Start::Raced(error)),
                    };
                    continue;
                }
                let missed = match target {
                    Target::After(after) => self.missed(&map, &record, after, resuming),
                    Target::Since(_) => None,
                };
                let oldest = self.start_of_ring(map, first)?;
                return Ok(match missed {
                    Some((requested, lost)) => {
                        Start::Overtaken(Box::new(Overtaken { requested, lost, oldest }))
                    }
                    None => Start::Ring(Box::new(oldest)),
                });
            }
            let last = first.map(|record| Last::number(record.prev_seq_no()));
            return Ok(Start::Page(PageCursor::at(map, FIRST, last)));
        }
    }

    /// Walks on from `spot`, across pages, to the first record not behind `target`.
    #[inline]
    fn walk_pages(
        &mut self,
        mut spot: PageCursor,
        span: &Span,
        target: Target,
    ) -> Result<Attempt, ReadError> {
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
            spot = PageCursor { map: next, offset: FIRST, ..spot };
        }
        if spot.stride > 0 {
            self.window.guess_stride(spot.stride);
        }
        let place = self.place_in(&spot.map, spot.offset)?;
        let next = spot.next;
        let skip = match (next, target) {
            (None, _) => target.skip(),
            // In a gap of the numbers. After a crash that loses the next record, others may come with numbers
            // of the gap.
            (Some(_), Target::After(after)) if spot.last.is_some_and(|last| last.seq_no < after) => {
                target.skip()
            }
            _ => Skip::Nothing,
        };
        Ok(Attempt::Done(Found { skip, next, ..self.found(place, Some(spot.map), spot.last) }))
    }
}
