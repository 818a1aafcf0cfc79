//! A reader's position in the log, and the only ways in which it changes.
//!
//! Values that belong together change together: the place, the record before it, the records to skip, and the
//! source and epoch under which all of these were found. A search returns a [`Found`](crate::seek::Found) and
//! cannot touch the position; [`ReadPosition::move_to`] takes over the whole result.

use crate::place::{Last, Place, Skip};
use crate::source::Attachment;
use waldo_shm_protocol::Position;

/// A watermark that no ring shows: page 0 does not exist.
const NEVER: u64 = 1;
/// Bytes of records in the first batch after a move, about; the next ones double up to what was asked for.
const FIRST_BATCH: usize = 4 << 10;
/// Not a number that a writer's start could have: the place has to be looked at again.
const NO_EPOCH: u32 = u32::MAX;

/// Where a reader stands, and under which source and epoch that was found.
#[derive(Debug)]
pub(crate) struct ReadPosition {
    at: Place,
    /// The record before `at`.
    last: Option<Last>,
    skip: Skip,
    /// Records in the ring before the page of `at`, if known.
    before_page: Option<u64>,
    /// The watermark up to which everything has been handed out.
    drained: u64,
    /// The writer's start under which `at` was found good.
    epoch: u32,
    /// The attachment under which the position was found, and whether its source is the files.
    generation: u64,
    from_files: bool,
    /// `at` was reached by reading the files, and the watermark is allowed to arrive there later.
    ahead: bool,
    /// The record before `at` has been trimmed, and another start of the writer may have put another one in
    /// its place before.
    unsure: bool,
    /// Most bytes of records in the next batch. A lookup of one record through an interface that makes a
    /// batch of each query shall not walk through, and map, a quarter of a megabyte behind it.
    batch_bytes: usize,
}

/// A position to move to.
pub(crate) struct Destination {
    pub(crate) at: Place,
    pub(crate) last: Option<Last>,
    pub(crate) skip: Skip,
    pub(crate) before_page: Option<u64>,
    /// The epoch under which this was found; `None` if the place has to be checked again.
    pub(crate) epoch: Option<u32>,
}

impl ReadPosition {
    /// A position whose place has not been searched for yet.
    pub(crate) fn new(at: Place, attachment: &Attachment) -> ReadPosition {
        ReadPosition {
            at,
            last: None,
            skip: Skip::Nothing,
            before_page: None,
            drained: NEVER,
            epoch: attachment.epoch(),
            generation: attachment.generation,
            from_files: attachment.goes_by_files(),
            ahead: false,
            unsure: false,
            batch_bytes: FIRST_BATCH,
        }
    }

    #[inline(always)]
    pub(crate) fn at(&self) -> Place {
        self.at
    }

    #[inline(always)]
    pub(crate) fn last(&self) -> Option<Last> {
        self.last
    }

    #[inline(always)]
    pub(crate) fn skip(&self) -> Skip {
        self.skip
    }

    /// Most bytes of records in the next batch, unless the options say fewer.
    #[inline(always)]
    pub(crate) fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    pub(crate) fn before_page(&self) -> Option<u64> {
        self.before_page
    }

    /// The watermark up to which everything has been handed out.
    #[inline(always)]
    pub(crate) fn drained(&self) -> u64 {
        self.drained
    }

    #[inline(always)]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    #[inline(always)]
    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead
    }

    /// Advances to `at`, over records of the same page.
    #[inline(always)]
    pub(crate) fn advance(&mut self, at: Position, last: Option<Last>, skip: Skip) {
        if last.is_some() {
            (self.last, self.unsure) = (last, false);
            self.batch_bytes = self.batch_bytes.saturating_mul(2);
        }
        self.at = Place::At(at);
        self.skip = skip;
    }

    /// Advances to `at`, the start of the next page, over the end of a page with this many records.
    pub(crate) fn cross(&mut self, at: Position, records: u64) {
        self.before_page = self.before_page.and_then(|before| before.checked_add(records));
        self.at = Place::At(at);
    }

    /// Whether the record before the place is in an earlier page than the place.
    pub(crate) fn has_crossed(&self) -> bool {
        matches!((self.at, self.last_start()), (Place::At(at), Some(last)) if last.page() < at.page())
    }

    /// Whether a log that ends at `end` is shorter than what has been read. For this, the end of a page's
    /// records and the start of the next page are the same place.
    pub(crate) fn is_beyond(&self, end: Position) -> bool {
        match (self.at, self.last_start()) {
            (Place::At(_), Some(last)) if self.has_crossed() => end <= last,
            (Place::At(at), _) => end < at,
            (Place::Pending(_), _) => false,
        }
    }

    /// Where the record before the place starts, if it has been seen.
    fn last_start(&self) -> Option<Position> {
        let (page, offset) = self.last?.mark?.at?;
        Position::new(page, offset.into())
    }

    /// Goes back to `at`, right after the last record, before the end of its page.
    pub(crate) fn uncross(&mut self, at: Position) {
        self.at = Place::At(at);
        self.before_page = None;
    }

    /// Notes how many records precede its page, unless that is already known.
    pub(crate) fn count_before_page(&mut self, count: impl FnOnce() -> Option<u64>) {
        if self.before_page.is_none() {
            self.before_page = count();
        }
    }

    /// Moves to the place that a search under `attachment` has found.
    #[inline]
    pub(crate) fn move_to(&mut self, to: Destination, attachment: &Attachment) {
        *self = ReadPosition {
            at: to.at,
            last: to.last,
            skip: to.skip,
            before_page: to.before_page,
            drained: NEVER,
            epoch: to.epoch.unwrap_or(NO_EPOCH),
            generation: attachment.generation,
            from_files: attachment.goes_by_files(),
            ahead: false,
            unsure: false,
            batch_bytes: FIRST_BATCH,
        };
    }

    /// Changes to `attachment`. If that is another one than before, the place has to be checked again.
    #[inline]
    pub(crate) fn follow(&mut self, attachment: &Attachment) {
        if attachment.generation != self.generation {
            self.invalidate(attachment);
        }
    }

    #[cold]
    fn invalidate(&mut self, attachment: &Attachment) {
        // Files show records before their writer has published them. Until the watermark has come so far,
        // that stays so through any number of other segments.
        self.ahead |= self.from_files;
        self.drained = NEVER;
        self.epoch = NO_EPOCH;
        self.generation = attachment.generation;
        self.from_files = attachment.goes_by_files();
    }

    /// The place has been found valid under this epoch.
    pub(crate) fn confirm(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.drained = NEVER;
    }

    /// The record before the place has been trimmed, under this epoch or an earlier one.
    pub(crate) fn doubt(&mut self) {
        self.unsure = self.last.is_some_and(|last| last.mark.is_some());
    }

    /// Whether the record before the place may have been replaced by another one before it was trimmed.
    #[inline(always)]
    pub(crate) fn is_unsure(&self) -> bool {
        self.unsure
    }

    /// Everything below this watermark has been handed out.
    #[inline]
    pub(crate) fn drain(&mut self, watermark: u64) {
        self.drained = watermark;
    }

    /// The watermark has arrived here.
    #[inline(always)]
    pub(crate) fn arrive(&mut self) {
        self.ahead = false;
    }

    /// Whether the next record to be handed out is the first one with a number above `seq_no`.
    pub(crate) fn is_behind(&self, seq_no: u64) -> bool {
        match (self.at, self.skip) {
            (Place::Pending(_), _) | (_, Skip::Before(_)) => false,
            (Place::At(_), Skip::Through(skipped)) => skipped == seq_no,
            (Place::At(_), Skip::Nothing) => self.last.is_some_and(|last| last.seq_no == seq_no),
        }
    }
}
