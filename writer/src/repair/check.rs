//! Whether all is good that the survey takes for the log. The survey reads of most pages only what sums them
//! up; here every record counts, its payload too, and every footer, as for verification.

use super::page::{PageFile, PageWalk};
use std::path::Path;
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;
use waldo_shm_protocol::page::RECORDS_UNKNOWN;
use waldo_shm_protocol::record::RecordFault;
use waldo_shm_protocol::recovery::{FoundPage, Survey};
use waldo_shm_protocol::{Position, names};

/// The first damage in the pages of the log, as text with file, offset and record; `None` if all is good.
pub(super) fn first_damage(home: &Path, files: &[PageFile], survey: &Survey) -> Option<String> {
    let mut check = Check { survey, prev: None, epoch: 0, records_before: None };
    survey.pages.iter().find_map(|page| {
        let file = files.iter().find(|file| file.id == page.id)?;
        let path = home.join(names::page(page.id));
        check.page(page, file).map(|what| format!("{}: {what}", path.display()))
    })
}

/// What is known from the pages before.
struct Check<'a> {
    survey: &'a Survey,
    prev: Option<u64>,
    epoch: u32,
    records_before: Option<u64>,
}

impl Check<'_> {
    fn page(&mut self, page: &FoundPage, file: &PageFile) -> Option<String> {
        let walk = file.walk.as_ref()?;
        if let Some((offset, fault)) = self.record_fault(page, walk) {
            let after =
                if offset > PAGE_HEADER_LEN as u64 { Some(walk.summary.last_seq_no) } else { self.prev };
            let after = after.map_or_else(|| "(none)".into(), |seq_no| seq_no.to_string());
            return Some(format!("offset {offset}, after record {after}: {fault}"));
        }
        if walk.summary.records > 0 {
            (self.prev, self.epoch) = (Some(walk.summary.last_seq_no), walk.summary.epoch);
        }
        self.footer(file, walk)
    }

    /// What is no good record of this log, and where.
    fn record_fault(&self, page: &FoundPage, walk: &PageWalk) -> Option<(u64, RecordFault)> {
        let (summary, start) = (&walk.summary, PAGE_HEADER_LEN as u64);
        if summary.records > 0 && walk.epoch_first < self.epoch {
            return Some((start, RecordFault::Epoch { found: walk.epoch_first, expected: self.epoch }));
        }
        if let Some(expected) = self.prev.filter(|prev| summary.records > 0 && summary.prev_seq_no != *prev) {
            let (seq_no, found) = (summary.first_seq_no, summary.prev_seq_no);
            return Some((start, RecordFault::Chain { seq_no, found, expected }));
        }
        let at = summary.records_end;
        let torn_seal = page.reseal && page.summary.records_end == at;
        let is_end = Position::new(page.id, at) == Some(self.survey.end());
        walk.fault.filter(|_| !torn_seal && !is_end).map(|fault| (at, fault))
    }

    fn footer(&mut self, file: &PageFile, walk: &PageWalk) -> Option<String> {
        let before = self.records_before.take();
        if file.footer_damage.is_some() {
            return file.footer_damage.clone();
        }
        let said = file.footer.as_ref()?.records_before;
        let known = if said == RECORDS_UNKNOWN { before } else { Some(said) };
        self.records_before = known.and_then(|known| known.checked_add(walk.summary.records));
        let found = before.filter(|before| said != RECORDS_UNKNOWN && said != *before)?;
        Some(format!("the footer says {said} for the number of records before the page, there are {found}"))
    }
}
