//! Whether the pages that a survey takes for the log are good to the last byte. The survey reads of most
//! pages only what sums them up; here every record counts, its payload too, and every footer. Verification
//! and repair use this code, so they agree about what is damage.

use super::damage::{Damage, DamageKind};
use super::tail::{FooterCheck, PageTail};
use crate::limits::PAGE_HEADER_LEN;
use crate::page::{PageHeader, PageSummary, RECORDS_UNKNOWN};
use crate::record::RecordFault;

/// What a walk through a page, with every check, has found.
#[derive(Clone, Debug)]
pub struct WalkedPage {
    /// The page.
    pub id: u64,
    /// Its records, summed up.
    pub summary: PageSummary,
    /// Epoch of the first record; anything if there is none.
    pub epoch_first: u32,
    /// What the walk stopped at; `None` if that was the seal.
    pub fault: Option<RecordFault>,
    /// What its footer and index are, held against that. Without a seal no footer counts.
    pub footer: FooterCheck,
    /// Where the footer stands.
    pub footer_at: u64,
}

impl WalkedPage {
    /// A page with this header. `tail` has met its records.
    pub fn new(
        header: &PageHeader,
        tail: &PageTail,
        summary: &PageSummary,
        epoch_first: u32,
        fault: Option<RecordFault>,
    ) -> WalkedPage {
        WalkedPage {
            id: header.fields().page_id,
            summary: *summary,
            epoch_first,
            fault,
            footer: if fault.is_none() { tail.check(summary) } else { Ok(None) },
            footer_at: header.geometry().footer_offset(),
        }
    }
}

/// How many records there are before a page, from what the footers say, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordCount(Option<u64>);

impl RecordCount {
    /// What is wrong with the next page's footer, if it says another number than there are. `said` is `None`
    /// for a page without a footer that counts.
    pub fn mismatch(&self, said: Option<u64>) -> Option<DamageKind> {
        let (stored, found) = (said.filter(|said| *said != RECORDS_UNKNOWN)?, self.0?);
        let what = "the number of records before the page";
        (stored != found).then_some(DamageKind::FooterMismatch { what, stored, found })
    }

    /// Goes on behind a page of so many records.
    pub fn pass(&mut self, said: Option<u64>, records: u64) {
        let before = self.0.take();
        let known = said.and_then(|said| if said == RECORDS_UNKNOWN { before } else { Some(said) });
        self.0 = known.and_then(|known| known.checked_add(records));
    }
}

/// What a place is where no good record of the log stands, and no good seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Every record is there, only the seal is not; the log goes on in the next page.
    TornSeal,
    /// The log ends there.
    End,
    /// Something is gone.
    Damage,
}

/// What a page is that is not damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckedPage {
    /// Complete.
    Whole,
    /// Complete, but for a footer that counts.
    NoFooter,
    /// Complete, but for the seal.
    TornSeal,
    /// The log ends in it.
    End,
}

/// The check of a log, page by page, each held against those before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogCheck {
    prev: Option<u64>,
    epoch: u32,
    before: RecordCount,
}

impl LogCheck {
    /// The last record so far, and the lowest epoch that the next one may have.
    pub fn expected(&self) -> (Option<u64>, u32) {
        (self.prev, self.epoch)
    }

    /// Forgets what was before the next page, except its epoch: pages between are gone.
    pub fn skip(&mut self) {
        (self.prev, self.before) = (None, RecordCount::default());
    }

    /// Checks the next page. `stop` judges the offset at which the walk through it has stopped.
    ///
    /// # Errors
    /// The first damage in it.
    pub fn page(&mut self, page: &WalkedPage, stop: impl FnOnce(u64) -> Stop) -> Result<CheckedPage, Damage> {
        let summary = &page.summary;
        let damage = |offset, after: Option<u64>, kind| Damage {
            page: page.id,
            offset,
            after_seq_no: after.unwrap_or(0),
            kind,
        };
        let mut torn = false;
        if let Some((offset, fault)) = self.stopped_at(page) {
            match stop(offset) {
                Stop::End => return Ok(CheckedPage::End),
                Stop::TornSeal => torn = true,
                Stop::Damage => {
                    let in_page = offset > PAGE_HEADER_LEN as u64;
                    let after = if in_page { Some(summary.last_seq_no) } else { self.prev };
                    return Err(damage(offset, after, DamageKind::Record(fault)));
                }
            }
        }
        if summary.records > 0 {
            (self.prev, self.epoch) = (Some(summary.last_seq_no), summary.epoch);
        }
        if torn {
            self.before.pass(None, summary.records);
            return Ok(CheckedPage::TornSeal);
        }
        let said = page.footer.map_err(|(offset, kind)| damage(offset, self.prev, kind))?;
        let said = said.map(|footer| footer.records_before);
        let other = self.before.mismatch(said);
        self.before.pass(said, summary.records);
        match other {
            Some(kind) => Err(damage(page.footer_at, self.prev, kind)),
            None if said.is_none() => Ok(CheckedPage::NoFooter),
            None => Ok(CheckedPage::Whole),
        }
    }

    /// What is no good record behind those of the pages before, and where.
    fn stopped_at(&self, page: &WalkedPage) -> Option<(u64, RecordFault)> {
        let (summary, start) = (&page.summary, PAGE_HEADER_LEN as u64);
        if summary.records > 0 && page.epoch_first < self.epoch {
            return Some((start, RecordFault::Epoch { found: page.epoch_first, expected: self.epoch }));
        }
        if let Some(expected) = self.prev.filter(|prev| summary.records > 0 && summary.prev_seq_no != *prev) {
            let (seq_no, found) = (summary.first_seq_no, summary.prev_seq_no);
            return Some((start, RecordFault::Chain { seq_no, found, expected }));
        }
        page.fault.map(|fault| (summary.records_end, fault))
    }
}
