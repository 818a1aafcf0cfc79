//! Reading a ring: which pages there are, what they hold, where the log ends. Changes nothing.

use super::evidence::{Beyond, look_beyond};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::page::Page;
use std::io;
use std::sync::Arc;
use waldo_shm_protocol::limits::{PAGE_FOOTER_LEN, PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::page::{IndexEntry, PageFault, PageFooter, PageHeader, PageSummary, RECORDS_UNKNOWN};
use waldo_shm_protocol::record::{Frame, RecordFault};
use waldo_shm_protocol::scan::{PageScan, Step, WINDOW_MIN};
use waldo_shm_protocol::{Position, RawRecord, names};
use zerocopy::IntoBytes;

/// Records between two entries of an index that is made from a scan.
const INDEX_EVERY_BYTES: u64 = 16 << 10;

/// A page and what is in it.
pub(crate) struct Found {
    pub(crate) page: Arc<Page>,
    pub(crate) summary: PageSummary,
    pub(crate) index: Vec<IndexEntry>,
    /// Complete: the seal is there.
    pub(crate) sealed: bool,
    /// Found by reading the records: if it is complete, its footer is missing or could not be believed.
    pub(crate) scanned: bool,
    /// Complete, but the seal has to be written again.
    pub(crate) reseal: bool,
}

/// What a ring holds.
pub(crate) struct Survey {
    /// The pages of the log, the oldest first; the last one goes on being written. Empty for a new ring.
    pub(crate) pages: Vec<Found>,
    /// The page behind the last one, if it can be used as it is.
    pub(crate) ready: Option<Page>,
    /// Files to be removed.
    pub(crate) leftovers: Vec<String>,
    /// Everything below this is known to have been durable.
    pub(crate) durable: Position,
    /// What was found behind the end of the log: the fault there, and how far to clear.
    pub(crate) torn: Option<(RecordFault, Beyond)>,
    /// Pages behind the end that held records.
    pub(crate) pages_removed: u64,
    /// The writer before had closed the ring, and the ring is as it left it.
    pub(crate) clean: bool,
}

impl Survey {
    /// Where the log ends; [`Position::NONE`] for a ring without pages.
    pub(crate) fn end(&self) -> Position {
        self.pages.last().and_then(|f| Position::new(f.page.id, f.summary.records_end)).unwrap_or_default()
    }

    /// The last record; `None` if there is none.
    pub(crate) fn tip(&self) -> Option<u64> {
        self.pages.iter().rev().map(|found| found.summary.last_seq_no).find(|seq_no| *seq_no > 0)
    }
}

/// Reads the ring in `disk`.
pub(crate) fn survey(disk: &dyn Disk, meta: &Meta) -> Result<Survey, OpenError> {
    let survey = walk(disk, meta, u64::MAX)?;
    // A footer may have reached the disk before the records it speaks for. Where that is possible, in pages that
    // are not durable as a whole, only the records count. How far the log was durable, the first walk has told.
    let trusted = survey.durable.page();
    let doubtful = |found: &Found| found.sealed && found.page.id >= trusted;
    if !survey.clean && survey.pages.iter().any(doubtful) {
        return walk(disk, meta, trusted);
    }
    Ok(survey)
}

/// Goes through the pages in order, believing the footers of those below page `trusted`.
fn walk(disk: &dyn Disk, meta: &Meta, trusted: u64) -> Result<Survey, OpenError> {
    let mut survey = Survey {
        pages: Vec::new(),
        ready: None,
        leftovers: Vec::new(),
        durable: meta.durable.max(meta.clean_end),
        torn: None,
        pages_removed: 0,
        clean: !meta.clean_end.is_none(),
    };
    let mut pages = open_pages(disk, meta, &mut survey)?.into_iter().peekable();
    while let Some(page) = pages.next() {
        let before = survey.pages.last().map(|found| found.summary);
        let footer = if page.id < trusted { read_footer(disk, &page, meta)? } else { None };
        let found = match footer {
            Some(found) => found,
            None => {
                let (mut found, fault) = scan(disk, page, before.as_ref(), &mut survey)?;
                let last = found.summary.last_seq_no;
                if fault.is_some()
                    && let Some(next) = pages.peek()
                    && found.summary.records > 0
                    && first_predecessor(disk, next)? == Some(last)
                {
                    found.reseal = true;
                } else if let Some(fault) = fault {
                    survey.end_here(disk, found, fault, pages.collect())?;
                    return Ok(survey);
                }
                found
            }
        };
        if let Some(before) = before
            && found.summary.prev_seq_no != before.last_seq_no
        {
            let fault = RecordFault::Chain {
                seq_no: found.summary.first_seq_no,
                found: found.summary.prev_seq_no,
                expected: before.last_seq_no,
            };
            return Err(corrupt(disk, &found.page, PAGE_HEADER_LEN as u64, before.last_seq_no, fault));
        }
        let mut found = found;
        found.summary.records_before = records_before(&found, before.as_ref());
        let open_end = !found.sealed && !found.reseal;
        survey.pages.push(found);
        if open_end {
            survey.keep_ready(disk, pages.collect());
            return Ok(survey);
        }
    }
    // Every page there is is complete. The one that goes on behind them must never have held anything durable.
    let next = survey.pages.last().map_or(1, |found| found.page.id + 1);
    if survey.durable > Position::start_of(next) {
        return Err(OpenError::MissingPage { path: disk.path(&names::page(next)) });
    }
    Ok(survey)
}

fn records_before(found: &Found, before: Option<&PageSummary>) -> u64 {
    match before {
        _ if found.page.id == 1 => 0,
        _ if found.summary.records_before != RECORDS_UNKNOWN => found.summary.records_before,
        Some(before) if before.records_before != RECORDS_UNKNOWN => before.records_before + before.records,
        _ => RECORDS_UNKNOWN,
    }
}

/// Opens the page files and checks their headers. What is no page and need not be one goes to the left-overs.
fn open_pages(disk: &dyn Disk, meta: &Meta, survey: &mut Survey) -> Result<Vec<Page>, OpenError> {
    let list = disk.list().map_err(OpenError::io("list", disk.path("")))?;
    let mut ids = Vec::new();
    for name in list {
        if name.starts_with(names::SCRATCH_PREFIX) {
            survey.leftovers.push(name);
        } else if let Some(id) = names::parse_page(&name) {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    let mut pages: Vec<Page> = Vec::with_capacity(ids.len());
    for id in ids {
        let path = disk.path(&names::page(id));
        let file = disk.open(&names::page(id)).map_err(OpenError::io("open", &path))?;
        let len = file.size().map_err(OpenError::io("read the length of", &path))?;
        let mut bytes = [0; 128];
        let read = file.read_up_to(&mut bytes, 0).map_err(OpenError::io("read", &path))?;
        match PageHeader::check(&bytes[..read], len, &meta.ring_id, id) {
            Ok(header) => {
                if let Some(last) = pages.last()
                    && last.id + 1 != id
                {
                    return Err(OpenError::MissingPage { path: disk.path(&names::page(last.id + 1)) });
                }
                pages.push(Page::new(header, file));
            }
            // Trimmed, but the change of its name was lost: can only be older than every page.
            Err(PageFault::Retired | PageFault::WrongPage { .. }) if pages.is_empty() => {
                survey.leftovers.push(names::page(id));
            }
            // Prepared, but its header was lost: can only be newer than everything durable.
            Err(_) if bytes.iter().all(|byte| *byte == 0) && survey.durable < Position::start_of(id) => {
                survey.leftovers.push(names::page(id));
            }
            Err(PageFault::Retired | PageFault::WrongPage { .. })
                if survey.durable < Position::start_of(id) =>
            {
                survey.leftovers.push(names::page(id));
            }
            Err(fault) => return Err(OpenError::Page { path, fault }),
        }
    }
    Ok(pages)
}

/// What the footer of a page says, if it has one that can be believed: the seal stands where it says, or the
/// writer before closed the ring there.
fn read_footer(disk: &dyn Disk, page: &Page, meta: &Meta) -> Result<Option<Found>, OpenError> {
    let read = |bytes: &mut [u8], at: u64| {
        page.file.read_up_to(bytes, at).map_err(OpenError::io("read", disk.path(&names::page(page.id))))
    };
    let geometry = page.header.geometry();
    let mut bytes = [0; PAGE_FOOTER_LEN];
    read(&mut bytes, geometry.footer_offset())?;
    let Ok(footer) = PageFooter::check(&bytes, &page.header) else { return Ok(None) };
    let summary = footer.summary();
    let mut bytes = [0; RECORD_HEADER_LEN];
    read(&mut bytes, summary.records_end)?;
    let at_clean_end = Position::new(page.id, summary.records_end) == Some(meta.clean_end);
    let sealed = RawRecord::read(&bytes).is_some_and(|raw| {
        matches!(raw.check(RECORD_HEADER_LEN as u64), Ok(Frame::Seal(seal))
            if seal.last_seq_no() == summary.last_seq_no && seal.records() == summary.records)
            && raw.verify(page.seed, summary.records_end as u32).is_ok()
    });
    if !sealed && !at_clean_end {
        return Ok(None);
    }
    let (index_at, _) = footer.index_range(&geometry);
    let mut index = vec![IndexEntry::default(); footer.index_len() as usize];
    read(index.as_mut_bytes(), index_at)?;
    if footer.check_entries(&index).is_err() {
        return Ok(None);
    }
    let page = Arc::new(Page::new(page.header, Arc::clone(&page.file)));
    Ok(Some(Found { page, summary, index, sealed, scanned: false, reseal: false }))
}

/// Walks through a page with every check; returns what stopped the walk, unless it was the seal.
fn scan(
    disk: &dyn Disk,
    page: Page,
    before: Option<&PageSummary>,
    survey: &mut Survey,
) -> Result<(Found, Option<RecordFault>), OpenError> {
    let expected = before.map(|summary| summary.last_seq_no);
    let mut walk = PageScan::new(&page.header, expected, before.map_or(0, |summary| summary.epoch), true);
    let limit = page.header.fields().records_limit;
    let mut window = vec![0; 4 * WINDOW_MIN];
    let (mut start, mut len) = (0, 0);
    let mut index: Vec<IndexEntry> = Vec::new();
    let fault = loop {
        match walk.step(&window[..len], start) {
            Step::Record { offset, record } => {
                survey.durable = survey.durable.max(record.durable());
                let due = index.last().is_none_or(|last| offset - last.offset >= INDEX_EVERY_BYTES);
                if due && index.len() < page.header.geometry().index_capacity() as usize {
                    index.push(IndexEntry { seq_no: record.seq_no(), time_ns: record.time_ns(), offset });
                }
            }
            Step::Seal { seal, .. } => {
                survey.durable = survey.durable.max(seal.durable());
                break None;
            }
            Step::Fault { fault, .. } => break Some(fault),
            Step::More { offset } => {
                let want = window.len().min((limit - offset) as usize);
                len = page
                    .file
                    .read_up_to(&mut window[..want], offset)
                    .map_err(OpenError::io("read", disk.path(&names::page(page.id))))?;
                if len < want {
                    break Some(RecordFault::NoRoom { room: len as u64 });
                }
                start = offset;
            }
        }
    };
    let summary = *walk.summary();
    let sealed = fault.is_none();
    Ok((Found { page: Arc::new(page), summary, index, sealed, scanned: true, reseal: false }, fault))
}

/// The predecessor that a page's first record names; `None` if there is no good record.
fn first_predecessor(disk: &dyn Disk, page: &Page) -> Result<Option<u64>, OpenError> {
    let mut bytes = [0; RECORD_HEADER_LEN];
    let at = PAGE_HEADER_LEN as u64;
    page.file.read_up_to(&mut bytes, at).map_err(OpenError::io("read", disk.path(&names::page(page.id))))?;
    let room = page.header.fields().records_limit - at;
    let good = RawRecord::read(&bytes).filter(|raw| raw.verify(page.seed, at as u32).is_ok());
    Ok(good.and_then(|raw| match raw.check(room) {
        Ok(Frame::Record(record)) => Some(record.prev_seq_no()),
        _ => None,
    }))
}

fn corrupt(disk: &dyn Disk, page: &Page, offset: u64, after_seq_no: u64, fault: RecordFault) -> OpenError {
    OpenError::Corrupt { path: disk.path(&names::page(page.id)), offset, after_seq_no, fault }
}

impl Survey {
    /// The walk ended in `found`, at its `records_end`, because of `fault`: the end of the log, or damage.
    fn end_here(
        &mut self,
        disk: &dyn Disk,
        mut found: Found,
        fault: RecordFault,
        later: Vec<Page>,
    ) -> Result<(), OpenError> {
        let read = |page: &Page, from: u64| -> Result<Beyond, OpenError> {
            look_beyond(page, from).map_err(|error: io::Error| OpenError::Io {
                action: "read",
                path: disk.path(&names::page(page.id)),
                source: error,
            })
        };
        let offset = found.summary.records_end;
        let beyond = read(&found.page, offset)?;
        self.durable = self.durable.max(beyond.durable);
        for page in &later {
            let held = read(page, PAGE_HEADER_LEN as u64)?;
            self.durable = self.durable.max(held.durable);
            self.pages_removed += u64::from(held.end > 0);
        }
        let end = Position::new(found.page.id, offset).unwrap_or_default();
        if end < self.durable {
            let after =
                if found.summary.records > 0 { found.summary.last_seq_no } else { self.tip().unwrap_or(0) };
            return Err(corrupt(disk, &found.page, offset, after, fault));
        }
        found.summary.records_before = records_before(&found, self.pages.last().map(|f| &f.summary));
        self.clean &= end == self.durable && beyond.end == 0;
        self.torn = Some((fault, beyond));
        self.pages.push(found);
        self.leftovers.extend(later.into_iter().map(|page| names::page(page.id)));
        Ok(())
    }

    /// The last page of the log is known; behind it there can only be pages that were prepared.
    fn keep_ready(&mut self, disk: &dyn Disk, mut later: Vec<Page>) {
        if later.len() == 1 && self.clean {
            let untouched =
                later.first().is_some_and(|page| matches!(first_predecessor(disk, page), Ok(None)));
            if untouched {
                self.ready = later.pop();
            }
        }
        self.leftovers.extend(later.into_iter().map(|page| names::page(page.id)));
    }
}
