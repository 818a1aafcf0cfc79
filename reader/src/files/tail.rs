//! The end of the log, found by walking the newest pages.

use super::evidence;
use super::sealed::SealedPage;
use super::tip::TipPage;
use crate::error::ReadError;
use crate::pages::{self, Opened};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use waldo_shm_protocol::limits::{PAGE_ID_MAX, RECORD_SIZE_LIMIT};
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::record::RecordFault;
use waldo_shm_protocol::{PageSeed, Position, RingId, names};

/// Times that a page may turn out to be gone: it may be trimmed between listing and opening. A few outrun any writer.
const GONE_TRIES: u32 = 8;
/// Then the newest page is left out: it may have been about to be made when the power failed.
const GONE_NEWEST: u32 = 4;
/// How far behind a bad record the next good one can start, should the log go on there.
const NEXT_RECORD_MAX: u64 = 2 * RECORD_SIZE_LIMIT as u64;

/// What the files show of the log.
pub(super) struct Extent {
    /// Oldest page; 0 if there is none.
    pub(super) oldest: u64,
    /// Where the log ends.
    pub(super) end: Position,
    /// Last good record; 0 if there is none.
    pub(super) tip_seq_no: u64,
    /// What is known to be durable: by the ring's metadata, or because a good record says so.
    pub(super) durable: Position,
}

/// What a search behind the good records came to.
#[derive(Debug)]
struct Evidence {
    /// Where they ended, and why.
    end: (Position, Option<RecordFault>),
    durable: Position,
}

#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) looked: Option<Instant>,
    /// Looks in a row that found nothing new.
    pub(super) quiet: u32,
    pub(super) tip: Option<TipPage>,
    /// Sealed pages looked at so far.
    known: HashMap<u64, Arc<SealedPage>>,
    /// The writer's start under which all this was found.
    epoch: u32,
    /// The end of the good records at the last look.
    end: Position,
    /// Whether the page the log ends in has been searched to its end for records behind a bad one.
    searched: bool,
    evidence: Option<Evidence>,
}

impl Tail {
    /// Where the log ends, going by the records and by what is known to have been durable.
    pub(super) fn extent(
        &mut self,
        meta: Option<&Meta>,
        home: &Path,
        ring_id: &RingId,
    ) -> Result<Extent, ReadError> {
        if let Some(meta) = meta.filter(|meta| meta.epoch != self.epoch) {
            // Another writer has come, and may have replaced files.
            *self = Tail { looked: self.looked, quiet: self.quiet, epoch: meta.epoch, ..Tail::default() };
        }
        let mut extent = self.advance(home, ring_id)?;
        let clean_end = meta.map_or(Position::NONE, |meta| meta.clean_end);
        let mut proven = meta.map_or(Position::NONE, |meta| meta.durable.max(clean_end));
        if extent.end.is_none() || extent.end != clean_end {
            proven = proven.max(self.evidence(extent.end, home, ring_id)?);
        }
        if extent.end < proven {
            // It may have been written since: what is named as durable is there for a second walk, or damaged.
            extent = self.advance(home, ring_id)?;
        }
        extent.durable = extent.durable.max(proven);
        if extent.end < proven && proven > Position::start_of(1) {
            extent.end = proven;
            if extent.oldest == 0 {
                extent.oldest = proven.page();
            }
        }
        Ok(extent)
    }

    /// Walks on to the end of the good records.
    fn advance(&mut self, home: &Path, ring_id: &RingId) -> Result<Extent, ReadError> {
        let mut why = None;
        for tries in 0..GONE_TRIES {
            let ids = pages::list(home).map_err(|e| ReadError::io(home, e))?;
            let mut run = last_run(&ids);
            if tries >= GONE_NEWEST && run.len() > 1 {
                run = &run[..run.len() - 1];
            }
            let Some(oldest) = run.first().copied() else {
                self.tip = None;
                return Ok(Extent { oldest: 0, end: Position::NONE, tip_seq_no: 0, durable: Position::NONE });
            };
            self.known.retain(|id, _| *id >= oldest);
            if self.tip.as_ref().is_some_and(|tip| !run.contains(&tip.id)) {
                self.tip = None;
            }
            match self.follow(run, home, ring_id)? {
                Opened::Page(()) => {}
                Opened::Gone(error) => {
                    why = Some(error);
                    self.tip = None;
                    continue;
                }
            }
            let Some(tip) = &self.tip else { continue };
            let end = Position::new(tip.id, tip.scan.offset()).unwrap_or(Position::start_of(tip.id));
            let durable = tip.durable;
            let mut tip_seq_no = tip.scan.summary().last_seq_no;
            if tip_seq_no == 0
                && let Some(before) = self.sealed(end.page().wrapping_sub(1), home, ring_id)
            {
                tip_seq_no = before.summary.last_seq_no;
            }
            return Ok(Extent { oldest, end, tip_seq_no, durable });
        }
        Err(why.unwrap_or_else(|| ReadError::io(home, std::io::ErrorKind::NotFound.into())))
    }

    /// The highest durable position that a good record behind `end`, the end of the good records, names.
    ///
    /// All of the page is searched once. Later, while a writer may be at work, only a place where nothing has come
    /// since the last look, and only as far as the next record can be.
    fn evidence(&mut self, end: Position, home: &Path, ring_id: &RingId) -> Result<Position, ReadError> {
        let still = std::mem::replace(&mut self.end, end) == end;
        let Some(tip) = &self.tip else { return Ok(Position::NONE) };
        let here = (end, tip.fault);
        match &self.evidence {
            // Searched before, and nothing else has been written there since.
            Some(known) if known.end == here => return Ok(known.durable),
            _ if self.searched && !still => return Ok(Position::NONE),
            _ => {}
        }
        let io = |id| move |e| ReadError::io(home.join(names::page(id)), e);
        let mut durable = Position::NONE;
        if !tip.sealed {
            let (limit, from) = (tip.header.fields().records_limit, tip.scan.offset());
            let to = if self.searched { limit.min(from + NEXT_RECORD_MAX) } else { limit };
            durable = evidence::behind(&tip.file, PageSeed::new(ring_id, tip.id), (from, to), limit)
                .map_err(io(tip.id))?;
        }
        if !self.searched {
            let next = tip.id + 1;
            durable = durable.max(evidence::in_page(home, ring_id, next).map_err(io(next))?);
        }
        self.searched = true;
        self.evidence = Some(Evidence { end: here, durable });
        Ok(durable)
    }

    /// Moves `tip` to the page the log ends in, and walks it to the end.
    fn follow(&mut self, run: &[u64], home: &Path, ring_id: &RingId) -> Result<Opened<()>, ReadError> {
        let mut tip = match self.tip.take() {
            Some(mut tip) => {
                tip.walk(home)?;
                tip
            }
            None => match locate(run, home, ring_id)? {
                Opened::Page(tip) => {
                    self.searched = false;
                    tip
                }
                Opened::Gone(error) => return Ok(Opened::Gone(error)),
            },
        };
        // At most one turn per page there is.
        while tip.sealed && run.contains(&(tip.id + 1)) {
            let summary = *tip.scan.summary();
            let last = (summary.records > 0).then_some(summary.last_seq_no);
            let durable = tip.durable;
            tip = match TipPage::open(tip.id + 1, last, summary.epoch, home, ring_id)? {
                Opened::Page(next) => TipPage { durable: next.durable.max(durable), ..next },
                Opened::Gone(error) => return Ok(Opened::Gone(error)),
            };
        }
        self.tip = Some(tip);
        Ok(Opened::Page(()))
    }

    /// Footer and index of page `id`, if it has good ones.
    pub(super) fn sealed(&mut self, id: u64, home: &Path, ring_id: &RingId) -> Option<Arc<SealedPage>> {
        if let Some(page) = self.known.get(&id) {
            return Some(page.clone());
        }
        if id == 0 {
            return None;
        }
        let path = home.join(names::page(id));
        let Ok(Opened::Page((file, header))) = pages::open(&path, ring_id, id) else { return None };
        let page = Arc::new(SealedPage::read(&file, &header)?);
        self.known.insert(id, page.clone());
        Some(page)
    }
}

/// The last stretch of ids without a gap.
fn last_run(ids: &[u64]) -> &[u64] {
    let ids = &ids[..ids.partition_point(|id| *id <= PAGE_ID_MAX)];
    let mut start = ids.len().saturating_sub(1);
    while start > 0 && ids[start - 1] + 1 == ids[start] {
        start -= 1;
    }
    &ids[start..]
}

/// The page the log ends in: the newest, unless that is one made ready whose predecessor goes on.
fn locate(run: &[u64], home: &Path, ring_id: &RingId) -> Result<Opened<TipPage>, ReadError> {
    let Some(newest) = run.last().copied() else {
        return Ok(Opened::Gone(ReadError::io(home, std::io::ErrorKind::NotFound.into())));
    };
    let newest = match TipPage::open(newest, None, 0, home, ring_id)? {
        Opened::Page(page) => page,
        gone @ Opened::Gone(_) => return Ok(gone),
    };
    if newest.sealed || newest.scan.summary().records > 0 || run.len() < 2 {
        return Ok(Opened::Page(newest));
    }
    Ok(match TipPage::open(newest.id - 1, None, 0, home, ring_id)? {
        Opened::Page(before) if !before.sealed => Opened::Page(before),
        Opened::Page(before) => Opened::Page(TipPage { durable: before.durable, ..newest }),
        gone @ Opened::Gone(_) => gone,
    })
}
