//! The results of a search.

use super::page_cursor::PageCursor;
use super::{FIRST, Search};
use crate::error::ReadError;
use crate::pages::page_map::PageMap;
use crate::place::{Last, Place, Skip};
use std::sync::Arc;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::record::Record;

/// The result of a search.
pub(crate) enum Sought {
    Found(Found),
    Overtaken(Box<Overtaken>),
}

/// Records that were asked for have been trimmed.
pub(crate) struct Overtaken {
    /// The number after which the reader wanted to continue; 0 for everything.
    pub(crate) requested: u64,
    /// Records missed before `oldest`, if that is known.
    pub(crate) lost: Option<u64>,
    /// The oldest record left, as the same search has found it.
    pub(crate) oldest: Found,
}

/// Where a search has led.
pub(crate) struct Found {
    pub(crate) place: Place,
    pub(crate) page: Option<Arc<PageMap>>,
    pub(crate) last: Option<Last>,
    pub(crate) skip: Skip,
    /// Sequence number of the record at `place`, if there is one.
    pub(crate) next: Option<u64>,
    /// `place` is the start of the ring, and the record there is wanted: wanted records before it may have
    /// been trimmed.
    pub(crate) begins_ring: bool,
    /// The epoch under which this was found.
    pub(crate) epoch: u32,
    /// The writer of that epoch has published where the log ends.
    pub(crate) settled: bool,
}

/// One attempt of a search.
pub(super) enum Attempt {
    Done(Found),
    Overtaken(Box<Overtaken>),
    /// A page could not be opened, most likely because it has just been trimmed.
    Raced(ReadError),
}

/// Where a search in the page that the directory names begins.
pub(super) enum Start {
    /// At the start of a page; the target is there or behind.
    Page(PageCursor),
    /// The ring begins with the target, and nothing that was asked for is missed.
    Ring(Box<Found>),
    Overtaken(Box<Overtaken>),
    Raced(ReadError),
}

impl Search<'_> {
    /// A search's outcome under the writer as it was seen before the search.
    pub(super) fn found(&self, place: Place, page: Option<Arc<PageMap>>, last: Option<Last>) -> Found {
        let settled = self.attachment.is_settled();
        let (skip, epoch) = (Skip::Nothing, self.window.epoch());
        Found { place, page, last, skip, next: None, begins_ring: false, epoch, settled }
    }

    /// The start of the oldest page, `map`, whose first record is `first`.
    pub(super) fn start_of_ring(&self, map: Arc<PageMap>, first: Option<Record>) -> Result<Found, ReadError> {
        let last = first.map(|record| Last::number(record.prev_seq_no()));
        let next = first.map(|record| record.seq_no());
        let place = self.place_in(&map, FIRST)?;
        Ok(Found { next, begins_ring: next.is_some(), ..self.found(place, Some(map), last) })
    }

    pub(super) fn place_in(&self, map: &PageMap, offset: u32) -> Result<Place, ReadError> {
        Position::new(map.id(), offset.into()).map(Place::At).ok_or_else(|| self.nonsense())
    }
}
