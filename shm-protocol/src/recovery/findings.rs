//! What a survey of a ring has found.

use super::evidence::Beyond;
use crate::Position;
use crate::page::{IndexEntry, PageHeader, PageSummary};
use crate::record::RecordFault;

/// A page of the log and what it holds.
#[derive(Clone, Debug)]
pub struct FoundPage {
    /// Its id.
    pub id: u64,
    /// Its header, checked.
    pub header: PageHeader,
    /// Its records, summed up.
    pub summary: PageSummary,
    /// Its sparse index.
    pub index: Vec<IndexEntry>,
    /// Complete: the seal is there.
    pub sealed: bool,
    /// Complete, but the seal has to be written again.
    pub reseal: bool,
    /// The records were walked. If the page is complete, its footer is missing or could not be trusted.
    pub walked: bool,
}

/// The page after the last one, prepared by the last writer and unused.
#[derive(Clone, Copy, Debug)]
pub struct ReadyPage {
    /// Its id.
    pub id: u64,
    /// Its header, checked.
    pub header: PageHeader,
}

/// A page file that is not part of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOver {
    /// The id in its name.
    pub id: u64,
    /// It holds good record headers: part of the log is lost with it, though none that was acknowledged as
    /// durable.
    pub holds_records: bool,
}

/// What follows the end of the log.
#[derive(Clone, Copy, Debug)]
pub struct Torn {
    /// What the walk stopped at.
    pub fault: RecordFault,
    /// Good record headers after that place.
    pub beyond: Beyond,
}

/// What a ring holds.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The pages of the log, the oldest first. Empty for a new ring.
    pub pages: Vec<FoundPage>,
    /// The page after the last one, if it can be used as it is.
    pub ready: Option<ReadyPage>,
    /// Page files to be removed, by rising id.
    pub left_overs: Vec<LeftOver>,
    /// Everything below this position is known to have been durable. If all of the log is lost, this is the
    /// start of the oldest left-over page, below which nothing is required.
    pub durable: Position,
    /// The id of the page after the last one, also where all of the log is lost.
    pub next_id: u64,
    /// What follows the end of the log; `None` if the last page is complete or was closed.
    pub torn: Option<Torn>,
    /// The last writer closed the ring, and the ring is as that writer left it.
    pub clean: bool,
    /// The highest epoch that is named anywhere.
    pub epoch_max: u32,
}

impl Survey {
    /// Where the log ends; [`Position::NONE`] for a ring without pages.
    pub fn end(&self) -> Position {
        self.pages
            .last()
            .and_then(|page| Position::new(page.id, page.summary.records_end))
            .unwrap_or_default()
    }

    /// The last record; `None` if there is none.
    pub fn tip(&self) -> Option<u64> {
        self.pages.iter().rev().map(|page| page.summary.last_seq_no).find(|seq_no| *seq_no > 0)
    }

    /// What is left over, in the order in which it has to be removed.
    ///
    /// A crash may come in between, and a power cut may take back the last removals. What is left must be the
    /// same log with fewer left-overs, not one with a gap: so pages behind the log go the newest first, and
    /// pages before the log the oldest first.
    pub fn removals(&self) -> impl Iterator<Item = &LeftOver> {
        let first = self.pages.first().map_or(0, |page| page.id);
        let older = self.left_overs.iter().filter(move |page| page.id < first);
        older.chain(self.left_overs.iter().rev().filter(move |page| page.id >= first))
    }

    /// Page files that are left over and hold records.
    pub fn pages_lost(&self) -> u64 {
        self.left_overs.iter().filter(|page| page.holds_records).count() as u64
    }
}
