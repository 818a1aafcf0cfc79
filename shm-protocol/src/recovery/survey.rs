//! The survey: which pages are part of the log, where the log ends, and what is left over.

use super::damage::{Damage, DamageKind, SurveyError};
use super::evidence::{Beyond, look_beyond};
use super::judge::{self, HeaderState, HeaderVerdict, StopVerdict};
use super::page_walk::{PageRead, first_predecessor, read_footer, read_page, seed_of};
use super::source::{PageBytes, RingFiles};
use crate::Position;
use crate::checksum::PageSeed;
use crate::limits::{PAGE_HEADER_LEN, PAGE_LEN_MAX, RECORD_SIZE_LIMIT};
use crate::meta::Meta;
use crate::page::{PageFault, PageHeader, PageSummary, RECORDS_UNKNOWN, RawPageHeader};
use crate::record::RecordFault;
use crate::scan::PayloadCheck;
use core::cell::OnceCell;

pub use super::findings::{FoundPage, LeftOver, ReadyPage, Survey, Torn};

/// Reads the ring in `files`, whose metadata says `meta`. Changes nothing.
///
/// # Errors
/// [`SurveyError::Damage`] with the first place where durable bytes are missing or bad.
pub fn survey<R: RingFiles>(files: &R, meta: &Meta) -> Result<Survey, SurveyError<R::Error>> {
    let mut surveyor =
        Surveyor { files, meta, candidates: read_headers(files, meta)?, durable: meta.known_durable() };
    let mut epoch_max = meta.epoch;
    for header in surveyor.candidates.iter().filter_map(|candidate| candidate.header.as_ref().ok()) {
        epoch_max = epoch_max.max(header.fields().epoch);
    }
    let closed = surveyor.is_as_closed()?;
    if !closed {
        let evidence = surveyor.evidence()?;
        surveyor.durable = surveyor.durable.max(evidence.durable);
        epoch_max = epoch_max.max(evidence.epoch);
    }
    let run = surveyor.longest_run(closed)?;
    let mut survey = surveyor.finish(run, closed)?;
    for page in &survey.pages {
        epoch_max = epoch_max.max(page.summary.epoch);
    }
    survey.epoch_max = epoch_max;
    Ok(survey)
}

/// How far behind the end of a closed ring a survey looks for records, in bytes: far enough for two of the
/// longest. All of the page would take longer than everything else that an opening does.
const LOOK_BEHIND_END: u64 = 2 * RECORD_SIZE_LIMIT as u64;

/// A file that has a page's name.
struct Candidate {
    id: u64,
    header: Result<PageHeader, PageFault>,
    len: u64,
    /// What the page's records say, once they have been read.
    evidence: OnceCell<Beyond>,
}

fn read_headers<R: RingFiles>(files: &R, meta: &Meta) -> Result<Vec<Candidate>, SurveyError<R::Error>> {
    let listed = files.page_ids();
    let mut ids = listed.map_err(|source| SurveyError::Io { action: "list", page: None, source })?;
    ids.sort_unstable();
    let mut candidates = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(page) = files.open_page(id).map_err(SurveyError::io("open", id))? else { continue };
        let len = page.size().map_err(SurveyError::io("read the length of", id))?;
        let mut bytes = [0; size_of::<RawPageHeader>()];
        let read = PageRead::context(page.read_up_to(&mut bytes, 0), id)?;
        let header = PageHeader::check(&bytes[..read], len, &meta.ring_id, id);
        candidates.push(Candidate { id, header, len, evidence: OnceCell::new() });
    }
    Ok(candidates)
}

/// Consecutive pages that follow one another, and how they end.
#[derive(Default)]
struct Run {
    pages: Vec<FoundPage>,
    torn: Option<Torn>,
}

impl Run {
    fn records(&self) -> u64 {
        self.pages.iter().map(|page| page.summary.records).sum()
    }

    /// The id of the page that would follow.
    fn next_id(&self) -> Option<u64> {
        self.pages.last().map(|page| page.id + 1)
    }

    fn summary(&self) -> Option<PageSummary> {
        self.pages.last().map(|page| page.summary)
    }
}

struct Surveyor<'a, R> {
    files: &'a R,
    meta: &'a Meta,
    candidates: Vec<Candidate>,
    durable: Position,
}

impl<R: RingFiles> Surveyor<'_, R> {
    /// Whether the ring is as its last writer left it when it closed the ring: nothing follows the end, no
    /// page behind it has records, and no page is of a later start. Metadata that was put back from a backup
    /// says otherwise.
    fn is_as_closed(&self) -> Result<bool, SurveyError<R::Error>> {
        let end = self.meta.clean_end;
        if end.is_none() {
            return Ok(false);
        }
        for candidate in &self.candidates {
            let Ok(header) = &candidate.header else { continue };
            if header.fields().epoch > self.meta.epoch {
                return Ok(false);
            }
            if candidate.id < end.page() {
                continue;
            }
            let from =
                if candidate.id == end.page() { u64::from(end.offset()) } else { PAGE_HEADER_LEN as u64 };
            let limit = header.fields().records_limit.min(from + LOOK_BEHIND_END);
            let Some(page) = self.open(candidate.id)? else { continue };
            let behind = PageRead::context(look_beyond(&page, seed_of(header), from, limit), candidate.id)?;
            if behind.records > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn open(&self, id: u64) -> Result<Option<R::Page>, SurveyError<R::Error>> {
        self.files.open_page(id).map_err(SurveyError::io("open", id))
    }

    /// What the newest page that holds any record says. Records were written one after the other, each with
    /// the durable position of its time, so older pages name no higher one.
    fn evidence(&self) -> Result<Beyond, SurveyError<R::Error>> {
        let mut evidence = Beyond::default();
        for candidate in self.candidates.iter().rev() {
            evidence.add(&self.page_evidence(candidate)?);
            if evidence.records > 0 {
                break;
            }
        }
        Ok(evidence)
    }

    fn page_evidence(&self, candidate: &Candidate) -> Result<Beyond, SurveyError<R::Error>> {
        if let Some(known) = candidate.evidence.get() {
            return Ok(*known);
        }
        let evidence = self.read_evidence(candidate)?;
        Ok(*candidate.evidence.get_or_init(|| evidence))
    }

    fn read_evidence(&self, candidate: &Candidate) -> Result<Beyond, SurveyError<R::Error>> {
        let Some(page) = self.open(candidate.id)? else { return Ok(Beyond::default()) };
        let Ok(header) = &candidate.header else {
            let seed = PageSeed::new(&self.meta.ring_id, candidate.id);
            let found = look_beyond(&page, seed, PAGE_HEADER_LEN as u64, candidate.len.min(PAGE_LEN_MAX));
            return PageRead::context(found, candidate.id);
        };
        // Headers only: a record whose payload is torn was written after what its header says was durable.
        let read = PageRead::context(read_page(&page, header, None, PayloadCheck::Skip), candidate.id)?;
        let summary = read.summary;
        let mut evidence = Beyond {
            durable: read.durable,
            epoch: summary.epoch,
            records: summary.records,
            end: summary.records_end,
        };
        if !read.sealed {
            let limit = header.fields().records_limit;
            let found = look_beyond(&page, seed_of(header), summary.records_end, limit);
            evidence.add(&PageRead::context(found, candidate.id)?);
        }
        Ok(evidence)
    }

    /// Whether the log goes on in the pages from `first` on from something that is known to have been
    /// durable, or from its very beginning. If so, the log is what stands there up to the first fault. Only a
    /// writer that trims early leaves anything else.
    fn is_anchored(&self, first: u64) -> bool {
        !self.meta.trims_early || first <= self.durable.page().max(1)
    }

    /// The pages that are the log: of the runs that there are, the one with the most records, and of equally
    /// long ones the newest. A survey after any part of the removals comes to the same run then
    /// ([`Survey::removals`]).
    fn longest_run(&self, closed: bool) -> Result<Run, SurveyError<R::Error>> {
        let mut best = Run::default();
        let mut run = Run::default();
        let mut ended = false;
        for (n, candidate) in self.candidates.iter().enumerate() {
            let before = n.checked_sub(1).and_then(|n| self.candidates.get(n)).map(|before| before.id + 1);
            if let Some(missing) = before.filter(|next| *next != candidate.id) {
                return Err(damage(missing, 0, &run, DamageKind::Missing));
            }
            let header = match &candidate.header {
                Ok(header) => header,
                Err(fault) => {
                    self.judge_header(candidate, fault, &run)?;
                    ended |= !run.pages.is_empty();
                    continue;
                }
            };
            if ended {
                if run.pages.first().is_some_and(|page| self.is_anchored(page.id)) {
                    // Damage further on is still damage, say a page that belongs to another ring.
                    continue;
                }
                let done = std::mem::take(&mut run);
                if done.records() >= best.records() {
                    best = done;
                }
            }
            ended = self.add_page(&mut run, n, candidate, header, closed)?;
        }
        if !ended
            && let Some(next) = run.next_id()
            && judge::end_is_damage(next, self.durable)
        {
            let complete = run.pages.last().is_some_and(|page| page.sealed || page.reseal);
            if complete {
                return Err(damage(next, 0, &run, DamageKind::Missing));
            }
        }
        let first = self.durable.page();
        if run.pages.is_empty() && best.pages.is_empty() && judge::end_is_damage(first, self.durable) {
            // The durable pages may have been trimmed for newer ones, of which nothing has survived.
            let trimmed = self.meta.trims_early && self.candidates.last().is_some_and(|last| last.id > first);
            if !trimmed {
                return Err(damage(first, 0, &run, DamageKind::Missing));
            }
        }
        Ok(if best.records() > run.records() { best } else { run })
    }

    fn judge_header(
        &self,
        candidate: &Candidate,
        fault: &PageFault,
        run: &Run,
    ) -> Result<(), SurveyError<R::Error>> {
        let state = HeaderState::of(fault, self.meta.trims_early);
        let oldest = self.candidates.first().is_some_and(|first| first.id == candidate.id);
        let proven = oldest && !self.meta.trims_early
            || self.meta.durable_names && self.page_evidence(candidate)?.records > 0;
        match judge::header(candidate.id, state, self.durable, proven) {
            HeaderVerdict::LeftOver => Ok(()),
            HeaderVerdict::Damage => Err(damage(candidate.id, 0, run, DamageKind::Header(*fault))),
        }
    }

    /// Reads the page and adds it to the run. Returns whether the run ends in it or before it.
    fn add_page(
        &self,
        run: &mut Run,
        n: usize,
        candidate: &Candidate,
        header: &PageHeader,
        closed: bool,
    ) -> Result<bool, SurveyError<R::Error>> {
        let id = candidate.id;
        let Some(page) = self.open(id)? else { return Ok(!run.pages.is_empty()) };
        let before = run.summary();
        // A footer may have reached the disk before the records it speaks for, unless the page is durable as
        // a whole.
        let believed = closed || id < self.durable.page();
        // The footer of an earlier close speaks of an end that the log has left behind.
        let clean_end = if closed { self.meta.clean_end } else { Position::NONE };
        let footer = match believed {
            true => PageRead::context(read_footer(&page, header, clean_end), id)?,
            false => None,
        };
        let read = match footer {
            Some(read) => read,
            None => PageRead::context(read_page(&page, header, before.as_ref(), PayloadCheck::Verify), id)?,
        };
        if let Some(before) = before
            && read.summary.records > 0
            && read.summary.prev_seq_no != before.last_seq_no
        {
            // Only a footer gets here; a walk stops at such a record.
            let (seq_no, found) = (read.summary.first_seq_no, read.summary.prev_seq_no);
            let fault = RecordFault::Chain { seq_no, found, expected: before.last_seq_no };
            return Err(damage(id, PAGE_HEADER_LEN as u64, run, DamageKind::Record(fault)));
        }
        let mut found = FoundPage {
            id,
            header: *header,
            summary: read.summary,
            index: read.index,
            sealed: read.sealed,
            reseal: false,
            walked: read.walked,
        };
        found.summary.records_before = records_before(&found, before.as_ref());
        let Some(fault) = read.fault else {
            let ends = !found.sealed;
            run.pages.push(found);
            return Ok(ends);
        };
        let at = Position::new(id, found.summary.records_end).unwrap_or_default();
        let goes_on = found.summary.records > 0 && self.next_names(n, id, found.summary.last_seq_no)?;
        match judge::stop(at, self.durable, goes_on) {
            StopVerdict::TornSeal => {
                found.reseal = true;
                run.pages.push(found);
                Ok(false)
            }
            StopVerdict::Damage => {
                let offset = found.summary.records_end;
                if found.summary.records > 0 {
                    run.pages.push(found);
                }
                Err(damage(id, offset, run, DamageKind::Record(fault)))
            }
            StopVerdict::End => {
                let limit = header.fields().records_limit;
                let beyond = look_beyond(&page, seed_of(header), found.summary.records_end, limit);
                run.torn = Some(Torn { fault, beyond: PageRead::context(beyond, id)? });
                run.pages.push(found);
                Ok(true)
            }
        }
    }

    /// Whether the first record of the page after candidate `n`, which is page `id`, names `last` as its
    /// predecessor.
    fn next_names(&self, n: usize, id: u64, last: u64) -> Result<bool, SurveyError<R::Error>> {
        let Some(next) = self.candidates.get(n + 1).filter(|next| next.id == id + 1) else {
            return Ok(false);
        };
        let Ok(header) = &next.header else { return Ok(false) };
        let Some(page) = self.open(next.id)? else { return Ok(false) };
        Ok(PageRead::context(first_predecessor(&page, header), next.id)? == Some(last))
    }

    /// The id of the page that follows. No id that is named anywhere is used again, as far as that is known.
    fn next_id(&self, run: &Run) -> u64 {
        run.next_id().unwrap_or_else(|| {
            let begun = u64::from(self.durable > Position::start_of(self.durable.page()));
            let seen = self.candidates.last().map_or(0, |last| last.id + 1);
            seen.max(self.durable.page() + begun).max(1)
        })
    }

    /// Sorts the files that are not in `run`.
    fn finish(&self, run: Run, closed: bool) -> Result<Survey, SurveyError<R::Error>> {
        let mut survey = Survey {
            next_id: self.next_id(&run),
            pages: run.pages,
            ready: None,
            left_overs: Vec::new(),
            durable: self.durable,
            torn: run.torn,
            clean: false,
            epoch_max: 0,
        };
        survey.clean = closed && survey.end() == self.meta.clean_end;
        // The pages of a run follow one another.
        let first = survey.pages.first().map_or(u64::MAX, |page| page.id);
        let next = survey.pages.last().map_or(0, |page| page.id + 1);
        for candidate in self.candidates.iter().filter(|candidate| !(first..next).contains(&candidate.id)) {
            let follows = candidate.id == next;
            if let Ok(header) = candidate.header
                && follows
                && survey.clean
            {
                survey.ready = Some(ReadyPage { id: candidate.id, header });
                continue;
            }
            let holds_records = self.page_evidence(candidate)?.records > 0;
            survey.left_overs.push(LeftOver { id: candidate.id, holds_records });
        }
        if let (true, Some(oldest)) = (survey.pages.is_empty(), survey.left_overs.first()) {
            survey.durable = Position::start_of(oldest.id);
        }
        Ok(survey)
    }
}

fn records_before(found: &FoundPage, before: Option<&PageSummary>) -> u64 {
    match before {
        _ if found.id == 1 => 0,
        _ if found.summary.records_before != RECORDS_UNKNOWN => found.summary.records_before,
        Some(before) if before.records_before != RECORDS_UNKNOWN => {
            before.records_before.saturating_add(before.records)
        }
        _ => RECORDS_UNKNOWN,
    }
}

fn damage<E>(page: u64, offset: u64, run: &Run, kind: DamageKind) -> SurveyError<E> {
    let last = run.pages.iter().rev().map(|page| page.summary.last_seq_no).find(|seq_no| *seq_no > 0);
    Damage { page, offset, after_seq_no: last.unwrap_or(0), kind }.into()
}
