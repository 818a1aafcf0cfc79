//! Reading one page: by its footer where the footer can be trusted, else record by record.

use super::damage::SurveyError;
use super::source::PageBytes;
use crate::checksum::PageSeed;
use crate::limits::{PAGE_FOOTER_LEN, PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use crate::page::{IndexEntry, PageFooter, PageHeader, PageSummary};
use crate::record::{Frame, RecordFault};
use crate::scan::{PageScan, PayloadCheck, Step, WINDOW_MIN};
use crate::{Position, RawRecord};
use zerocopy::IntoBytes;

/// Bytes between two entries of an index that is made from a walk.
const INDEX_EVERY_BYTES: u64 = 16 << 10;

/// What a page holds.
#[derive(Clone, Debug)]
pub struct PageRead {
    /// The records, summed up.
    pub summary: PageSummary,
    /// The sparse index, from the footer or made during the walk.
    pub index: Vec<IndexEntry>,
    /// What the walk stopped at; `None` if that was the seal, or the footer was trusted.
    pub fault: Option<RecordFault>,
    /// The seal is there.
    pub sealed: bool,
    /// The records were walked; the footer is missing or could not be trusted.
    pub walked: bool,
    /// Highest durable position that a record on the walk names.
    pub durable: Position,
}

/// The seed of the checksums in the page with this header.
pub(super) fn seed_of(header: &PageHeader) -> PageSeed {
    PageSeed::new(&header.fields().ring_id, header.fields().page_id)
}

/// What the footer of a page says, if the footer can be trusted: the seal stands where the footer says, or
/// the last writer closed the ring there.
///
/// # Errors
/// What reading says.
pub fn read_footer<P: PageBytes>(
    page: &P,
    header: &PageHeader,
    clean_end: Position,
) -> Result<Option<PageRead>, P::Error> {
    let geometry = header.geometry();
    let mut bytes = [0; PAGE_FOOTER_LEN];
    page.read_up_to(&mut bytes, geometry.footer_offset())?;
    let Ok(footer) = PageFooter::check(&bytes, header) else { return Ok(None) };
    let summary = footer.summary();
    let mut bytes = [0; RECORD_HEADER_LEN];
    page.read_up_to(&mut bytes, summary.records_end)?;
    let at_clean_end = Position::new(header.fields().page_id, summary.records_end) == Some(clean_end);
    let sealed = RawRecord::read(&bytes).is_some_and(|raw| {
        matches!(raw.check(RECORD_HEADER_LEN as u64), Ok(Frame::Seal(seal))
            if seal.last_seq_no() == summary.last_seq_no && seal.records() == summary.records)
            && raw.verify(seed_of(header), summary.records_end as u32).is_ok()
    });
    if !sealed && !at_clean_end {
        return Ok(None);
    }
    let (index_at, _) = footer.index_range(&geometry);
    let mut index = vec![IndexEntry::default(); footer.index_len() as usize];
    page.read_up_to(index.as_mut_bytes(), index_at)?;
    if footer.check_entries(&index).is_err() {
        return Ok(None);
    }
    Ok(Some(PageRead { summary, index, fault: None, sealed, walked: false, durable: Position::NONE }))
}

/// Walks through a page with every check. `before` sums up the page before, if that is part of the same log.
/// With `payloads`, payloads are hashed too.
///
/// # Errors
/// What reading says.
pub fn read_page<P: PageBytes>(
    page: &P,
    header: &PageHeader,
    before: Option<&PageSummary>,
    payloads: PayloadCheck,
) -> Result<PageRead, P::Error> {
    let expected = before.map(|summary| summary.last_seq_no);
    let mut walk = PageScan::new(header, expected, before.map_or(0, |summary| summary.epoch), payloads);
    let limit = header.fields().records_limit;
    let room = usize::try_from(limit - PAGE_HEADER_LEN as u64).unwrap_or(usize::MAX);
    let mut window = vec![0; room.min(4 * WINDOW_MIN)];
    let (mut start, mut len) = (0, 0);
    let mut index: Vec<IndexEntry> = Vec::new();
    let mut durable = Position::NONE;
    let fault = loop {
        match walk.step(&window[..len], start) {
            Step::Record { offset, record } => {
                durable = durable.max(record.durable());
                let due = index.last().is_none_or(|last| offset - last.offset >= INDEX_EVERY_BYTES);
                if due && index.len() < header.geometry().index_capacity() as usize {
                    index.push(IndexEntry { seq_no: record.seq_no(), time_ns: record.time_ns(), offset });
                }
            }
            Step::Seal { seal, .. } => {
                durable = durable.max(seal.durable());
                break None;
            }
            Step::Fault { fault, .. } => break Some(fault),
            Step::More { offset } => {
                let want = window.len().min(usize::try_from(limit - offset).unwrap_or(usize::MAX));
                len = page.read_up_to(&mut window[..want], offset)?;
                if len < want {
                    break Some(RecordFault::NoRoom { room: len as u64 });
                }
                start = offset;
            }
        }
    };
    let sealed = fault.is_none();
    Ok(PageRead { summary: *walk.summary(), index, fault, sealed, walked: true, durable })
}

/// The predecessor that a page's first record names; `None` if there is no good record.
///
/// # Errors
/// What reading says.
pub fn first_predecessor<P: PageBytes>(page: &P, header: &PageHeader) -> Result<Option<u64>, P::Error> {
    let mut bytes = [0; RECORD_HEADER_LEN];
    let at = PAGE_HEADER_LEN as u64;
    page.read_up_to(&mut bytes, at)?;
    let room = header.fields().records_limit - at;
    let good = RawRecord::read(&bytes).filter(|raw| raw.verify(seed_of(header), at as u32).is_ok());
    Ok(good.and_then(|raw| match raw.check(room) {
        Ok(Frame::Record(record)) => Some(record.prev_seq_no()),
        _ => None,
    }))
}

impl PageRead {
    /// Adds the action and the page to an error of reading.
    pub(super) fn context<T, E>(outcome: Result<T, E>, page: u64) -> Result<T, SurveyError<E>> {
        outcome.map_err(SurveyError::io("read", page))
    }
}
