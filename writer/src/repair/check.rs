//! Whether all is good that the survey takes for the log. The survey reads of most pages only what sums them
//! up; here every record counts, its payload too, and every footer, as for verification.

use super::page::{self, PageFile, PageWalk};
use std::path::Path;
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;
use waldo_shm_protocol::page::RECORDS_UNKNOWN;
use waldo_shm_protocol::record::RecordFault;
use waldo_shm_protocol::recovery::judge::{self, StopVerdict};
use waldo_shm_protocol::recovery::{FoundPage, Survey};
use waldo_shm_protocol::{Position, names};

/// The first damage in the pages of the log, as text with file, offset and record; `None` if all is good.
pub(super) fn first_damage(home: &Path, files: &[PageFile], survey: &Survey) -> Option<String> {
    let mut check = Check { files, survey, prev: None, epoch: 0, count: Count::default() };
    survey.pages.iter().find_map(|page| {
        let file = page::find(files, page.id)?;
        let path = home.join(names::page(page.id));
        check.page(page, file).map(|what| format!("{}: {what}", path.display()))
    })
}

/// How many records there are before a page, from what the footers say, one after the other.
#[derive(Default)]
pub(super) struct Count(Option<u64>);

impl Count {
    /// How many there are, if that is not what the next page's footer says.
    pub(super) fn unlike(&self, said: Option<u64>) -> Option<u64> {
        self.0.filter(|before| said.is_some_and(|said| said != RECORDS_UNKNOWN && said != *before))
    }

    /// Goes on behind a page of `records`. `said` is `None` for a page without a footer that counts.
    pub(super) fn pass(&mut self, said: Option<u64>, records: u64) {
        let before = self.0.take();
        let known = said.and_then(|said| if said == RECORDS_UNKNOWN { before } else { Some(said) });
        self.0 = known.and_then(|known| known.checked_add(records));
    }
}

/// What is known from the pages before.
struct Check<'a> {
    files: &'a [PageFile],
    survey: &'a Survey,
    prev: Option<u64>,
    epoch: u32,
    count: Count,
}

impl Check<'_> {
    fn page(&mut self, page: &FoundPage, file: &PageFile) -> Option<String> {
        let walk = file.walk.as_ref()?;
        if let Some((offset, fault)) = self.stop(walk) {
            let at = Position::new(page.id, offset)?;
            if at == self.survey.end() {
                return None;
            }
            if !self.is_torn_seal(at, walk) {
                let after =
                    if offset > PAGE_HEADER_LEN as u64 { Some(walk.summary.last_seq_no) } else { self.prev };
                let after = after.map_or_else(|| "(none)".into(), |seq_no| seq_no.to_string());
                return Some(format!("offset {offset}, after record {after}: {fault}"));
            }
        }
        if walk.summary.records > 0 {
            (self.prev, self.epoch) = (Some(walk.summary.last_seq_no), walk.summary.epoch);
        }
        self.footer(file, walk)
    }

    /// What is no good record behind those of the pages before, and where.
    fn stop(&self, walk: &PageWalk) -> Option<(u64, RecordFault)> {
        let (summary, start) = (&walk.summary, PAGE_HEADER_LEN as u64);
        if summary.records > 0 && walk.epoch_first < self.epoch {
            return Some((start, RecordFault::Epoch { found: walk.epoch_first, expected: self.epoch }));
        }
        if let Some(expected) = self.prev.filter(|prev| summary.records > 0 && summary.prev_seq_no != *prev) {
            let (seq_no, found) = (summary.first_seq_no, summary.prev_seq_no);
            return Some((start, RecordFault::Chain { seq_no, found, expected }));
        }
        walk.fault.map(|fault| (summary.records_end, fault))
    }

    /// A survey that goes by the footer does not look at all of the seal.
    fn is_torn_seal(&self, at: Position, walk: &PageWalk) -> bool {
        let next = page::find(self.files, at.page() + 1);
        let named = next.filter(|next| next.header_damage.is_none()).and_then(|next| next.names_before);
        let behind_records = walk.summary.records > 0 && u64::from(at.offset()) == walk.summary.records_end;
        let goes_on = behind_records && named == Some(walk.summary.last_seq_no);
        judge::stop(at, self.survey.durable, goes_on) == StopVerdict::TornSeal
    }

    fn footer(&mut self, file: &PageFile, walk: &PageWalk) -> Option<String> {
        let said = file.footer.as_ref().map(|footer| footer.records_before);
        let found = self.count.unlike(said);
        self.count.pass(said, walk.summary.records);
        if file.footer_damage.is_some() {
            return file.footer_damage.clone();
        }
        found.zip(said).map(|(found, said)| records_before(said, found))
    }
}

/// What is wrong with a footer that counts otherwise.
pub(super) fn records_before(said: u64, found: u64) -> String {
    format!("the footer says {said} for the number of records before the page, there are {found}")
}
