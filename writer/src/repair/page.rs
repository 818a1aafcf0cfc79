//! What one page file holds, damaged or not, and making a page of some of it.

use super::Span;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use waldo_shm_protocol::limits::{
    INDEX_ENTRY_LEN, PAGE_FOOTER_LEN, PAGE_HEADER_LEN, PAGE_LEN_MAX, RECORD_ALIGN, RECORD_HEADER_LEN,
};
use waldo_shm_protocol::page::{
    IndexEntry, PageFooter, PageGeometry, PageHeader, PageSummary, RECORDS_UNKNOWN,
};
use waldo_shm_protocol::record::{Frame, Record, RecordFault, RecordNumbers, Seal, Stamp};
use waldo_shm_protocol::recovery::{PageTail, WalkedPage};
use waldo_shm_protocol::scan::{PageScan, PayloadCheck, Step};
use waldo_shm_protocol::{PageSeed, Position, RawRecord, RingId};
use zerocopy::IntoBytes;

/// Records between two entries of an index that is made here.
const INDEX_EVERY_BYTES: u64 = 16 << 10;

/// Records that follow one another in a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordRun {
    pub(super) page: u64,
    pub(super) from: u64,
    /// Where the last one ends.
    pub(super) to: u64,
    pub(super) summary: PageSummary,
    pub(super) epoch_first: u32,
    /// The page's seal stands there.
    pub(super) sealed: bool,
}

impl RecordRun {
    pub(super) fn span(&self) -> Span {
        Span {
            first_seq_no: self.summary.first_seq_no,
            last_seq_no: self.summary.last_seq_no,
            records: self.summary.records,
            bytes: self.to - self.from,
            from: (self.page, self.from),
            to: (self.page, self.to),
        }
    }
}

/// A file that has a page's name.
pub(super) struct PageFile {
    pub(super) id: u64,
    /// Good, or made up for a page that has records and no header.
    pub(super) header: Option<PageHeader>,
    /// The header in the file is not the one above, or the file has another length.
    pub(super) header_damage: Option<String>,
    /// The header is good and names another page of this ring.
    pub(super) belongs_to: Option<u64>,
    pub(super) runs: Vec<RecordRun>,
    /// The records from the page's start on, as whoever reads the page meets them, and its footer; `None` for
    /// a page without a header.
    pub(super) walk: Option<WalkedPage>,
    /// The predecessor that the record at the page's start names, if its header is good.
    pub(super) names_before: Option<u64>,
    /// The lowest predecessor and the highest number that good headers name, also those of damaged payloads.
    pub(super) named: Option<(u64, u64)>,
    /// Behind this, up to the index, all is zero.
    pub(super) written_to: u64,
    pub(super) epoch_max: u32,
    pub(super) durable: Position,
}

impl PageFile {
    /// Puts a good record to `run` if it follows that, else to a new one. Returns the run that it is in.
    fn add(&mut self, run: Option<RecordRun>, at: usize, record: &Record) -> RecordRun {
        self.epoch_max = self.epoch_max.max(record.epoch());
        self.durable = self.durable.max(record.durable());
        self.name(record, at);
        let follows = run.filter(|run| {
            run.summary.last_seq_no == record.prev_seq_no() && run.summary.epoch <= record.epoch()
        });
        if follows.is_none() {
            self.runs.extend(run);
        }
        let mut run = follows.unwrap_or(RecordRun {
            page: self.id,
            from: at as u64,
            to: at as u64,
            summary: PageSummary {
                first_seq_no: record.seq_no(),
                prev_seq_no: record.prev_seq_no(),
                first_time_ns: record.time_ns(),
                records_before: RECORDS_UNKNOWN,
                ..PageSummary::default()
            },
            epoch_first: record.epoch(),
            sealed: false,
        });
        run.to = (at + record.size()) as u64;
        run.summary.records += 1;
        run.summary.records_end = run.to;
        run.summary.last_seq_no = record.seq_no();
        run.summary.last_time_ns = record.time_ns();
        run.summary.epoch = record.epoch();
        run
    }

    fn name(&mut self, record: &Record, at: usize) {
        if at == PAGE_HEADER_LEN {
            self.names_before = Some(record.prev_seq_no());
        }
        let (prev, last) = self.named.unwrap_or((u64::MAX, 0));
        self.named = Some((prev.min(record.prev_seq_no()), last.max(record.seq_no())));
    }
}

pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let stat = fs::symlink_metadata(path)?;
    if !stat.is_file() || stat.len() > PAGE_LEN_MAX {
        return Ok(Vec::new());
    }
    fs::read(path)
}

/// The first bytes of a file, as many as a header has, and its length.
pub(super) fn read_start(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let stat = fs::symlink_metadata(path)?;
    let mut bytes = Vec::new();
    if stat.is_file() {
        fs::File::open(path)?.take(PAGE_HEADER_LEN as u64).read_to_end(&mut bytes)?;
    }
    Ok((bytes, stat.len()))
}

/// Looks at the file of page `id` of this ring. `likely` is the shape of a page whose header says none.
pub(super) fn look(bytes: &[u8], ring_id: &RingId, id: u64, likely: PageGeometry) -> PageFile {
    let mut file = PageFile {
        id,
        header: None,
        header_damage: None,
        belongs_to: None,
        runs: Vec::new(),
        walk: None,
        names_before: None,
        named: None,
        written_to: 0,
        epoch_max: 0,
        durable: Position::NONE,
    };
    let header = match PageHeader::check(bytes, bytes.len() as u64, ring_id, id) {
        Ok(header) => header,
        Err(fault) => {
            file.header_damage = Some(fault.to_string());
            if let Ok(other) = PageHeader::check_any(bytes, bytes.len() as u64) {
                if other.fields().ring_id == *ring_id {
                    file.belongs_to = Some(other.fields().page_id);
                }
                return file;
            }
            PageHeader::new(*ring_id, id, likely, 1, 0)
        }
    };
    let Ok(mut tail) = PageTail::read(&bytes, &header);
    let (summary, fault) = scan(bytes, &header, &mut tail, &mut file);
    let first = file.runs.first().copied();
    if file.header_damage.is_some() {
        // Only records tell that this was a page.
        file.header = first
            .map(|run| PageHeader::new(*ring_id, id, likely, run.epoch_first, run.summary.first_time_ns));
        return file;
    }
    file.header = Some(header);
    file.epoch_max = file.epoch_max.max(header.fields().epoch);
    let epoch_first = first.map_or(0, |run| run.epoch_first);
    file.walk = Some(WalkedPage::new(&header, &tail, &summary, epoch_first, fault));
    file
}

/// The file of page `id` among `files`, which are in order.
pub(super) fn find(files: &[PageFile], id: u64) -> Option<&PageFile> {
    files.binary_search_by_key(&id, |file| file.id).ok().and_then(|at| files.get(at))
}

/// Finds every good record, payloads included: first as whoever reads the page meets them, and behind what
/// that stops at in every place where one could start. Returns what the walk has found, and what it stopped
/// at.
fn scan(
    bytes: &[u8],
    header: &PageHeader,
    tail: &mut PageTail,
    file: &mut PageFile,
) -> (PageSummary, Option<RecordFault>) {
    let limit = (header.fields().records_limit as usize).min(bytes.len());
    file.written_to = bytes[..limit].iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
    let mut scan = PageScan::new(header, None, 0, PayloadCheck::Verify);
    let mut run: Option<RecordRun> = None;
    let fault = loop {
        match scan.step(bytes, 0) {
            Step::Record { offset, record } => {
                run = Some(file.add(run, offset as usize, &record));
                tail.meet(offset, &record);
            }
            Step::Seal { .. } => {
                run = run.map(|run| RecordRun { sealed: true, ..run });
                break None;
            }
            Step::Fault { fault, .. } => break Some(fault),
            // All of the page is here.
            Step::More { .. } => break Some(RecordFault::NoRoom { room: 0 }),
        }
    };
    if fault.is_some() {
        run = search(&bytes[..limit], seed_of(header), scan.offset() as usize, run, file);
    }
    file.runs.extend(run);
    (*scan.summary(), fault)
}

/// Looks for records from `at` on, up to the end or a seal. `run` ends at `at`. Returns the last run.
fn search(
    bytes: &[u8],
    seed: PageSeed,
    mut at: usize,
    mut run: Option<RecordRun>,
    file: &mut PageFile,
) -> Option<RecordRun> {
    while at + RECORD_HEADER_LEN <= bytes.len() {
        match good_header(bytes, seed, at, bytes.len()) {
            Some((_, Frame::Record(record))) if payload_is_good(bytes, at, &record) => {
                run = Some(file.add(run, at, &record));
                at += record.size();
            }
            Some((_, Frame::Seal(seal))) => {
                if let Some(run) = run.as_mut().filter(|run| run.summary.last_seq_no == seal.last_seq_no()) {
                    run.sealed = true;
                }
                break;
            }
            other => {
                file.runs.extend(run.take());
                if let Some((_, Frame::Record(record))) = other {
                    file.name(&record, at);
                }
                at += RECORD_ALIGN;
            }
        }
    }
    run
}

fn seed_of(header: &PageHeader) -> PageSeed {
    PageSeed::new(&header.fields().ring_id, header.fields().page_id)
}

fn good_header(bytes: &[u8], seed: PageSeed, at: usize, limit: usize) -> Option<(RawRecord, Frame)> {
    let raw = RawRecord::read(&bytes[at..limit])?;
    let frame = raw.check((limit - at) as u64).ok()?;
    raw.verify(seed, u32::try_from(at).ok()?).ok()?;
    Some((raw, frame))
}

fn payload_is_good(bytes: &[u8], at: usize, record: &Record) -> bool {
    let payload = bytes.get(at + RECORD_HEADER_LEN..at + RECORD_HEADER_LEN + record.payload_len());
    payload.is_some_and(|payload| record.verify_payload(payload).is_ok())
}

/// The bytes of a page with the records of `run`, at the page's start. With `seal`, the page is complete.
pub(super) fn rebuild(bytes: &[u8], header: &PageHeader, run: &RecordRun, seal: bool) -> Vec<u8> {
    let seed = seed_of(header);
    let geometry = header.geometry();
    let mut page = vec![0; geometry.page_len() as usize];
    page[..header.as_bytes().len()].copy_from_slice(header.as_bytes());
    let (mut at, mut to) = (run.from as usize, PAGE_HEADER_LEN);
    let mut index: Vec<IndexEntry> = Vec::new();
    let mut durable = Position::NONE;
    while at < run.to as usize {
        let Some((raw, Frame::Record(record))) = good_header(bytes, seed, at, run.to as usize) else { break };
        if !payload_is_good(bytes, at, &record) {
            break;
        }
        let size = record.size();
        page[to..to + size].copy_from_slice(&bytes[at..at + size]);
        // What it says was durable lies before it, wherever it stands now.
        let here = Position::new(header.fields().page_id, to as u64).unwrap_or_default();
        durable = record.durable().min(here);
        let stamp = Stamp { time_ns: record.time_ns(), durable, epoch: record.epoch() };
        let numbers = RecordNumbers { seq_no: record.seq_no(), prev_seq_no: record.prev_seq_no() };
        let moved = Record::encode(seed, to as u32, numbers, record.payload_len(), raw.payload_hash, stamp);
        page[to..to + RECORD_HEADER_LEN].copy_from_slice(moved.as_bytes());
        let due = index.last().is_none_or(|last| to as u64 - last.offset >= INDEX_EVERY_BYTES);
        if due && index.len() < geometry.index_capacity() as usize {
            index.push(IndexEntry { seq_no: record.seq_no(), time_ns: record.time_ns(), offset: to as u64 });
        }
        at += size;
        to += size;
    }
    if seal {
        let summary = PageSummary { records_end: to as u64, ..run.summary };
        let stamp = Stamp { time_ns: summary.last_time_ns, durable, epoch: summary.epoch };
        let raw = Seal::encode(seed, summary.end(), stamp);
        page[to..to + RECORD_HEADER_LEN].copy_from_slice(raw.as_bytes());
        let footer = PageFooter::new(header, &summary, &index);
        let footer_at = geometry.footer_offset() as usize;
        let index_at = footer_at - index.len() * INDEX_ENTRY_LEN;
        page[index_at..footer_at].copy_from_slice(index.as_bytes());
        page[footer_at..footer_at + PAGE_FOOTER_LEN].copy_from_slice(footer.as_bytes());
    }
    page
}
