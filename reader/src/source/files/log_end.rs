//! The end of the log: found by a survey of all files, and then followed.

use super::sealed::SealedPage;
use super::standing_damage::StandingDamage;
use super::survey::{Bytes, survey, torn_seal};
use super::tip::TipPage;
use crate::error::ReadError;
use crate::pages::{self, Opened};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waldo_shm_protocol::limits::{PAGE_HEADER_LEN, RECORD_SIZE_LIMIT};
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::record::RecordFault;
use waldo_shm_protocol::recovery::judge::{self, StopVerdict};
use waldo_shm_protocol::recovery::{Damage, DamageKind, Sparse, look_beyond};
use waldo_shm_protocol::{PageSeed, Position, RingId, names};

/// Looks in a row whose pages may be gone when they are opened again, though the directory is as it was.
const GONE_TRIES: u32 = 8;
/// The same while a writer trims the ring: one page at a time, faster than a look is.
const TRIM_TRIES: u32 = 2000;
/// How far behind a bad record the next good one can start, should the log go on there.
const NEXT_RECORD_MAX: u64 = 2 * RECORD_SIZE_LIMIT as u64;

/// What the files show of the log.
pub(super) struct Extent {
    /// Oldest page; 0 if there is none.
    pub(super) oldest: u64,
    /// Where the good records end.
    pub(super) end: Position,
    /// Everything below is known to be durable; at most `end`.
    pub(super) durable: Position,
    /// Last good record; 0 if there is none.
    pub(super) tip_seq_no: u64,
}

#[derive(Debug, Default)]
pub(super) struct LogEnd {
    pub(super) looked: Option<Instant>,
    /// Consecutive looks that found nothing new.
    pub(super) quiet: u32,
    /// How long to pause after the last look.
    pub(super) pause: Duration,
    /// The page the log ends in.
    pub(super) tip: Option<TipPage>,
    /// Sealed pages looked at so far.
    known: HashMap<u64, Arc<SealedPage>>,
    /// The writer's start under which all this was found.
    epoch: u32,
    /// The oldest page that belongs to the log.
    first: u64,
    /// Last record before the page the log ends in.
    before_tip: u64,
    durable: Position,
    /// The damage that cuts off the log at its end, if any.
    pub(super) damage: Option<Damage>,
    /// What the files were like when that was found; `None` if they may have been changing.
    standing: Option<StandingDamage>,
    /// Where the good records ended when what stands behind them was last looked at, and why.
    searched: Option<(Position, RecordFault)>,
    /// The end of the good records at the last look.
    end: Position,
}

impl LogEnd {
    /// Where the log ends, according to the records and to what is known to have been durable.
    pub(super) fn extent(
        &mut self,
        meta: Option<&Meta>,
        home: &Path,
        ring_id: &RingId,
    ) -> Result<Extent, ReadError> {
        if let Some(meta) = meta.filter(|meta| meta.epoch != self.epoch) {
            // Another writer has come, and may have replaced files.
            let LogEnd { looked, quiet, pause, .. } = *self;
            *self = LogEnd { looked, quiet, pause, epoch: meta.epoch, ..LogEnd::default() };
        }
        let (mut listed, mut still, mut tries) = (Vec::new(), 0, 0);
        loop {
            let error = match self.advance(meta, home, ring_id)? {
                Opened::Page(extent) => return Ok(extent),
                Opened::Gone(error) => error,
            };
            (self.tip, self.standing) = (None, None);
            let ids = pages::list(home).map_err(|e| ReadError::io(home, e))?;
            still = if ids == listed { still + 1 } else { 0 };
            tries += 1;
            if still >= GONE_TRIES || tries >= TRIM_TRIES {
                return Err(error);
            }
            listed = ids;
        }
    }

    /// Goes on to the end of the good records, from where the last look ended if that is still there.
    fn advance(
        &mut self,
        meta: Option<&Meta>,
        home: &Path,
        ring_id: &RingId,
    ) -> Result<Opened<Extent>, ReadError> {
        let mut ids = pages::list(home).map_err(|e| ReadError::io(home, e))?;
        if self.tip.as_ref().is_some_and(|tip| ids.contains(&tip.id) && !tip.bears_its_name(home)) {
            // Another file has come in its place, and so perhaps in that of other pages.
            self.known.clear();
            (self.tip, self.standing) = (None, None);
        }
        let stands = self.damage.is_some()
            && self.standing.as_mut().is_some_and(|standing| standing.stands(home, &ids));
        let lost = self.tip.as_ref().is_none_or(|tip| !ids.contains(&tip.id));
        if !stands && (lost || self.damage.is_some()) {
            // Without metadata for a moment, nothing can be judged.
            let Some(meta) = meta else { return Ok(Opened::Page(self.nothing())) };
            let before = StandingDamage::now(home, &ids);
            self.standing = None;
            if let Opened::Gone(error) = self.survey(meta, home, ring_id)? {
                return Ok(Opened::Gone(error));
            }
            self.standing = before.filter(|_| self.damage.is_some());
            ids = pages::list(home).map_err(|e| ReadError::io(home, e))?;
        }
        self.follow(&ids, home, ring_id)?;
        let Some(tip) = &self.tip else { return Ok(Opened::Page(self.nothing())) };
        if !ids.contains(&tip.id) {
            // The writer has gone round the ring meanwhile: what is listed, and what was read, do not go
            // together.
            return Ok(Opened::Gone(ReadError::io(
                home.join(names::page(tip.id)),
                ErrorKind::NotFound.into(),
            )));
        }
        let end = Position::new(tip.id, tip.scan.offset()).unwrap_or(Position::start_of(tip.id));
        let records = tip.scan.summary().records;
        let tip_seq_no = if records > 0 { tip.scan.summary().last_seq_no } else { self.before_tip };
        self.durable = self.durable.max(tip.durable);
        let still = std::mem::replace(&mut self.end, end) == end;
        if still && self.damage.is_none() {
            self.look_behind(end, tip_seq_no, ring_id, home)?;
        }
        let oldest = ids.iter().copied().find(|id| *id >= self.first).unwrap_or(self.first);
        self.known.retain(|id, _| *id >= oldest);
        let durable = self.durable.min(end);
        Ok(Opened::Page(Extent { oldest, end, durable, tip_seq_no }))
    }

    fn nothing(&self) -> Extent {
        let (end, oldest) = match &self.damage {
            // The very first page is damaged.
            Some(damage) => (Position::start_of(damage.page), damage.page),
            None => (Position::NONE, 0),
        };
        Extent { oldest, end, durable: Position::NONE, tip_seq_no: 0 }
    }

    /// Looks at everything there is.
    fn survey(&mut self, meta: &Meta, home: &Path, ring_id: &RingId) -> Result<Opened<()>, ReadError> {
        self.searched = None;
        self.tip = None;
        let mut believed;
        let (last, before) = match survey(home, meta)? {
            Ok(survey) => {
                believed = survey.end();
                self.damage = None;
                self.first = survey.pages.first().map_or(0, |page| page.id);
                self.durable = survey.durable;
                let before = survey.pages.len().checked_sub(2).map(|n| survey.pages[n].summary);
                let Some(last) = survey.pages.last() else { return Ok(Opened::Page(())) };
                (last.id, before.map(|summary| (summary.last_seq_no, summary.epoch)))
            }
            Err(damage) => {
                // What lies before it is good, as the survey has seen.
                self.damage = Some(damage);
                self.durable = Position::new(damage.page, damage.offset).unwrap_or_default();
                let ids = pages::list(home).map_err(|e| ReadError::io(home, e))?;
                let in_page = damage.offset >= PAGE_HEADER_LEN as u64;
                let mut last = if in_page { damage.page } else { damage.page.saturating_sub(1) };
                // What is left over in between is no page.
                while !in_page && ids.contains(&last) && !is_page(last, home, ring_id) {
                    last -= 1;
                }
                self.first = first_of_run(&ids, last, home, ring_id);
                // Where the page before has no footer to believe, the survey has read it.
                let footer = self.sealed(last, home, ring_id);
                believed =
                    footer.and_then(|page| Position::new(last, page.summary.records_end)).unwrap_or_default();
                if !ids.contains(&last) {
                    return Ok(Opened::Page(()));
                }
                (last, None)
            }
        };
        let (prev, epoch) = before.unwrap_or_default();
        // Where the damage begins a page, the newest record is in the page before.
        self.before_tip = self.damage.as_ref().map_or(prev, |damage| damage.after_seq_no);
        let opened = TipPage::open(last, before.map(|_| prev), epoch, home, ring_id)?;
        let mut tip = match opened {
            Opened::Page(tip) => tip,
            // Nothing good lies before the damage.
            Opened::Gone(_) if self.damage.is_some() => return Ok(Opened::Page(())),
            Opened::Gone(error) => return Ok(Opened::Gone(error)),
        };
        // Pages that were made ready may lie between the end of the log and the damage.
        while self.damage.is_some() && tip.scan.summary().records == 0 && tip.id > self.first {
            match TipPage::open(tip.id - 1, None, 0, home, ring_id)? {
                Opened::Page(before) if !before.sealed => tip = before,
                _ => break,
            }
            let footer = self.sealed(tip.id, home, ring_id);
            believed =
                footer.and_then(|page| Position::new(tip.id, page.summary.records_end)).unwrap_or_default();
        }
        // The survey believes footers of what is durable as a whole, and does not read what they speak for.
        let (page, offset) = (tip.id, tip.scan.offset());
        if let Some(fault) = tip.fault
            && Position::new(page, offset).is_some_and(|end| end < believed)
            && torn_seal(home, ring_id, page, offset).is_none()
        {
            let last = tip.scan.summary();
            let after_seq_no = if last.records > 0 { last.last_seq_no } else { prev };
            self.damage = Some(Damage { page, offset, after_seq_no, kind: DamageKind::Record(fault) });
        }
        self.tip = Some(tip);
        Ok(Opened::Page(()))
    }

    /// Walks on, from page to page, to the end of the good records.
    fn follow(&mut self, ids: &[u64], home: &Path, ring_id: &RingId) -> Result<(), ReadError> {
        let Some(mut tip) = self.tip.take() else { return Ok(()) };
        tip.walk(home)?;
        // At most one turn per page there is. Behind damage nothing is handed out.
        while tip.sealed && self.damage.is_none() && ids.contains(&(tip.id + 1)) {
            let summary = *tip.scan.summary();
            let last = (summary.records > 0).then_some(summary.last_seq_no);
            let next = match TipPage::open(tip.id + 1, last, summary.epoch, home, ring_id)? {
                Opened::Page(next) => next,
                // Left over from a crash, or about to be made; the next look tells.
                Opened::Gone(_) => break,
            };
            self.durable = self.durable.max(tip.durable);
            self.before_tip = last.unwrap_or(self.before_tip);
            tip = next;
        }
        self.tip = Some(tip);
        Ok(())
    }

    /// Nothing has come at the end since the last look. If good records stand behind a bad one and say that
    /// the bad one had been durable, that is damage, which a writer has appended behind.
    fn look_behind(
        &mut self,
        end: Position,
        tip_seq_no: u64,
        ring_id: &RingId,
        home: &Path,
    ) -> Result<(), ReadError> {
        let Some(tip) = &mut self.tip else { return Ok(()) };
        let Some(fault) = tip.fault.filter(|_| !tip.sealed) else { return Ok(()) };
        if self.searched == Some((end, fault)) {
            return Ok(());
        }
        #[cfg(test)]
        crate::meanwhile::happens(crate::meanwhile::Moment::Walked);
        let from = tip.scan.offset();
        let to = tip.header.fields().records_limit.min(from + NEXT_RECORD_MAX);
        let beyond = look_beyond(&Sparse::new(Bytes(&tip.file)), PageSeed::new(ring_id, tip.id), from, to)
            .map_err(|e| ReadError::io(home.join(names::page(tip.id)), e))?;
        // A writer may have come so far since the walk: then the record is there by now.
        tip.walk(home)?;
        if tip.sealed || tip.scan.offset() != from || tip.fault != Some(fault) {
            return Ok(());
        }
        self.searched = Some((end, fault));
        self.durable = self.durable.max(beyond.durable);
        if judge::stop(end, self.durable, false) == StopVerdict::Damage {
            self.damage = Some(Damage {
                page: tip.id,
                offset: from,
                after_seq_no: tip_seq_no,
                kind: DamageKind::Record(fault),
            });
        }
        Ok(())
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

/// The first of the pages without a gap that end in `last`. A file that the survey has passed over as left
/// over, since its header is none, is no page.
fn first_of_run(ids: &[u64], last: u64, home: &Path, ring_id: &RingId) -> u64 {
    let mut first = last;
    while first > 1 && ids.contains(&(first - 1)) && is_page(first - 1, home, ring_id) {
        first -= 1;
    }
    first
}

fn is_page(id: u64, home: &Path, ring_id: &RingId) -> bool {
    matches!(pages::open(&home.join(names::page(id)), ring_id, id), Ok(Opened::Page(_)))
}
