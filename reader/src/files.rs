//! What may be read when there is no control segment: the files are asked themselves.
//!
//! The newest page is walked with every check there is, through `pread` into private memory; the end of the
//! good records counts as the watermark. Looking again costs a few system calls, so it is done at most every
//! millisecond, and down to every 100 ms while nothing changes.

use crate::error::ReadError;
use crate::pages::{self, Opened};
use crate::watermark::Watermark;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use waldo_shm_protocol::limits::{PAGE_FOOTER_LEN, PAGE_HEADER_LEN, PAGE_ID_MAX};
use waldo_shm_protocol::meta::{META_LEN, Meta};
use waldo_shm_protocol::page::{IndexEntry, PageFooter, PageHeader, PageSummary, RECORDS_UNKNOWN};
use waldo_shm_protocol::scan::{PageScan, Step, WINDOW_MIN};
use waldo_shm_protocol::segment::{IndexKey, PageInfo};
use waldo_shm_protocol::sync::load_acquire;
use waldo_shm_protocol::{Position, RingId, names};

const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);
const WINDOW: usize = 2 * WINDOW_MIN;

/// The end of a ring's log as its files show it.
#[derive(Debug)]
pub(crate) struct FilesTail {
    home: PathBuf,
    ring_id: RingId,
    watermark: AtomicU64,
    oldest: AtomicU64,
    tip_seq_no: AtomicU64,
    closed: AtomicBool,
    inner: Mutex<Tail>,
}

#[derive(Debug, Default)]
struct Tail {
    looked: Option<Instant>,
    /// Looks in a row that found nothing new.
    quiet: u32,
    tip: Option<TipPage>,
    /// Sealed pages looked at so far.
    known: HashMap<u64, Arc<SealedPage>>,
}

/// The page that the log ends in.
#[derive(Debug)]
struct TipPage {
    id: u64,
    file: File,
    header: PageHeader,
    scan: PageScan,
    sealed: bool,
}

/// A sealed page's footer and index.
#[derive(Debug)]
struct SealedPage {
    summary: PageSummary,
    page_len: u64,
    index: Vec<IndexEntry>,
}

impl FilesTail {
    pub(crate) fn new(home: &Path, ring_id: RingId) -> FilesTail {
        FilesTail {
            home: home.to_path_buf(),
            ring_id,
            watermark: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
            tip_seq_no: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            inner: Mutex::new(Tail::default()),
        }
    }

    /// The end of the good records as of the last look.
    pub(crate) fn watermark(&self) -> Watermark {
        // Pairs with the store in `look`: what was read from the files happened before.
        Watermark::vouched(Position::from_word(load_acquire(&self.watermark))) // SYNC(files-watermark)
    }

    pub(crate) fn oldest_page(&self) -> u64 {
        self.oldest.load(Ordering::Relaxed)
    }

    pub(crate) fn tip_seq_no(&self) -> u64 {
        self.tip_seq_no.load(Ordering::Relaxed)
    }

    /// Records in the ring; `None` if a page does not say.
    pub(crate) fn records(&self) -> Option<u64> {
        let mut tail = self.lock();
        let Some((id, mut sum)) = tail.tip.as_ref().map(|tip| (tip.id, tip.scan.summary().records)) else {
            return Some(0);
        };
        for id in self.oldest_page()..id {
            sum = sum.checked_add(tail.sealed(id, &self.home, &self.ring_id)?.summary.records)?;
        }
        Some(sum)
    }

    /// Whether the ring's metadata says that the writer closed it, as of the last look.
    pub(crate) fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// How long to pause before it is worth while to look again.
    pub(crate) fn pause(&self) -> Duration {
        pause(self.lock().quiet)
    }

    /// Whether enough time has passed since the last look.
    pub(crate) fn due(&self) -> bool {
        let tail = self.lock();
        tail.looked.is_none_or(|at| at.elapsed() >= pause(tail.quiet))
    }

    /// Looks at the files now. `true` if the watermark moved.
    ///
    /// # Errors
    /// [`ReadError::Io`] or [`ReadError::Page`] if the newest page cannot be read. A bad record is no error here:
    /// the log ends before it, unless the metadata says that it had been durable.
    pub(crate) fn look(&self) -> Result<bool, ReadError> {
        let mut tail = self.lock();
        // Before the walk: what it names was in the files by then.
        let meta = read_meta(&self.home);
        let proven = meta.map_or(Position::NONE, |meta| meta.durable.max(meta.clean_end));
        let found = tail.advance(&self.home, &self.ring_id);
        tail.looked = Some(Instant::now());
        let (oldest, mut end, tip) = found?;
        if !end.is_none() && end < proven {
            // The walk met damage. Readers may go there, and are told.
            end = proven;
        }
        let moved = self.watermark.load(Ordering::Relaxed) != end.word();
        tail.quiet = if moved { 0 } else { (tail.quiet + 1).min(16) };
        self.oldest.store(oldest, Ordering::Relaxed);
        self.tip_seq_no.store(tip, Ordering::Relaxed);
        self.watermark.store(end.word(), Ordering::Release); // SYNC(files-watermark)
        let closed = meta.is_some_and(|meta| !meta.clean_end.is_none());
        self.closed.store(closed, Ordering::Relaxed);
        Ok(moved)
    }

    pub(crate) fn page(&self, id: u64) -> Option<PageInfo> {
        let mut tail = self.lock();
        if let Some(tip) = tail.tip.as_ref().filter(|tip| tip.id == id) {
            let (summary, page_len) = (*tip.scan.summary(), tip.header.fields().page_len);
            let before = tail.sealed(id.checked_sub(1)?, &self.home, &self.ring_id).map(|p| p.summary);
            let records_before = match before {
                Some(s) if s.records_before != RECORDS_UNKNOWN => s.records_before.saturating_add(s.records),
                _ if id == 1 => 0,
                _ => RECORDS_UNKNOWN,
            };
            // A directory entry of a page being written has no end yet.
            let summary = PageSummary { records_before, records_end: 0, last_seq_no: 0, ..summary };
            return (summary.records > 0).then(|| PageInfo { records: 0, ..info(id, &summary, page_len, 0) });
        }
        if id < self.oldest_page() || id > self.watermark().position().page() {
            return None;
        }
        let page = tail.sealed(id, &self.home, &self.ring_id)?;
        Some(info(id, &page.summary, page.page_len, page.index.len() as u64))
    }

    pub(crate) fn index_floor(&self, id: u64, key: IndexKey) -> Option<IndexEntry> {
        let page = {
            let mut tail = self.lock();
            if tail.tip.as_ref().is_some_and(|tip| tip.id == id) {
                return None;
            }
            tail.sealed(id, &self.home, &self.ring_id)?
        };
        let after = page.index.partition_point(|entry| match key {
            IndexKey::SeqNo(seq_no) => entry.seq_no <= seq_no,
            IndexKey::TimeBefore(time_ns) => entry.time_ns < time_ns,
        });
        page.index.get(after.checked_sub(1)?).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Tail> {
        // Every update leaves a state from which the next look can go on.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pause(quiet: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << quiet.min(7)).min(PAUSE_MAX)
}

fn info(id: u64, summary: &PageSummary, page_len: u64, index_len: u64) -> PageInfo {
    PageInfo {
        page_id: id,
        first_seq_no: summary.first_seq_no,
        prev_seq_no: summary.prev_seq_no,
        first_time_ns: summary.first_time_ns,
        records_before: summary.records_before,
        page_len,
        index_len,
        records_end: summary.records_end,
        last_seq_no: summary.last_seq_no,
        records: summary.records,
    }
}

/// The ring's metadata; `None` if it cannot be read just now.
pub(crate) fn read_meta(home: &Path) -> Option<Meta> {
    let file = File::open(home.join(names::META)).ok()?;
    let mut bytes = vec![0; META_LEN + 1];
    let got = pages::read_at(&file, &mut bytes, 0).ok()?;
    Meta::check(&bytes[..got]).ok()
}

impl Tail {
    /// Oldest page, end of the log, last sequence number.
    fn advance(&mut self, home: &Path, ring_id: &RingId) -> Result<(u64, Position, u64), ReadError> {
        let mut why = None;
        // A page may be trimmed between listing and opening; a few tries outrun any writer.
        for _ in 0..8 {
            let ids = pages::list(home).map_err(|e| ReadError::io(home, e))?;
            let run = last_run(&ids);
            let Some(oldest) = run.first().copied() else {
                self.tip = None;
                return Ok((0, Position::NONE, 0));
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
            let mut last = tip.scan.summary().last_seq_no;
            if last == 0
                && let Some(before) = self.sealed(end.page().wrapping_sub(1), home, ring_id)
            {
                last = before.summary.last_seq_no;
            }
            return Ok((oldest, end, last));
        }
        Err(why.unwrap_or_else(|| ReadError::io(home, std::io::ErrorKind::NotFound.into())))
    }

    /// Moves `tip` to the page the log ends in, and walks it to the end.
    fn follow(&mut self, run: &[u64], home: &Path, ring_id: &RingId) -> Result<Opened<()>, ReadError> {
        let mut tip = match self.tip.take() {
            Some(mut tip) => {
                tip.walk(home)?;
                tip
            }
            None => match locate(run, home, ring_id)? {
                Opened::Page(tip) => tip,
                Opened::Gone(error) => return Ok(Opened::Gone(error)),
            },
        };
        // At most one turn per page there is.
        while tip.sealed && run.contains(&(tip.id + 1)) {
            let summary = *tip.scan.summary();
            let last = (summary.records > 0).then_some(summary.last_seq_no);
            tip = match TipPage::open(tip.id + 1, last, summary.epoch, home, ring_id)? {
                Opened::Page(next) => next,
                Opened::Gone(error) => return Ok(Opened::Gone(error)),
            };
        }
        self.tip = Some(tip);
        Ok(Opened::Page(()))
    }

    /// Footer and index of page `id`, if it has good ones.
    fn sealed(&mut self, id: u64, home: &Path, ring_id: &RingId) -> Option<Arc<SealedPage>> {
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

impl SealedPage {
    fn read(file: &File, header: &PageHeader) -> Option<SealedPage> {
        let geometry = header.geometry();
        let mut bytes = [0; PAGE_FOOTER_LEN];
        let got = pages::read_at(file, &mut bytes, geometry.footer_offset()).ok()?;
        let footer = PageFooter::check(&bytes[..got], header).ok()?;
        let (start, len) = footer.index_range(&geometry);
        let mut index = vec![0; len];
        let got = pages::read_at(file, &mut index, start).ok()?;
        // A damaged index costs time, not correctness.
        let index = footer.check_index(&index[..got]).unwrap_or_default();
        Some(SealedPage { summary: footer.summary(), page_len: geometry.page_len(), index })
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
        Opened::Page(_) => Opened::Page(newest),
        gone @ Opened::Gone(_) => gone,
    })
}

impl TipPage {
    fn open(
        id: u64,
        prev: Option<u64>,
        epoch: u32,
        home: &Path,
        ring_id: &RingId,
    ) -> Result<Opened<TipPage>, ReadError> {
        let (file, header) = match pages::open(&home.join(names::page(id)), ring_id, id)? {
            Opened::Page(page) => page,
            Opened::Gone(error) => return Ok(Opened::Gone(error)),
        };
        let scan = PageScan::new(&header, prev, epoch, true);
        let mut page = TipPage { id, file, header, scan, sealed: false };
        page.walk(home)?;
        Ok(Opened::Page(page))
    }

    /// Walks on to the seal or to the first bytes that are no good record.
    fn walk(&mut self, home: &Path) -> Result<(), ReadError> {
        if self.sealed {
            return Ok(());
        }
        let limit = self.header.fields().records_limit;
        let mut window = Vec::new();
        let mut start = self.scan.offset();
        loop {
            // While nothing comes, one small read per look is enough.
            let want = if window.is_empty() { PAGE_HEADER_LEN } else { WINDOW };
            let want = want.min(usize::try_from(limit.saturating_sub(start)).unwrap_or(0));
            window.resize(want.max(1), 0);
            let got = pages::read_at(&self.file, &mut window[..want], start)
                .map_err(|e| ReadError::io(home.join(names::page(self.id)), e))?;
            let before = self.scan.offset();
            loop {
                match self.scan.step(&window[..got], start) {
                    Step::Record { .. } => {}
                    Step::Seal { .. } => {
                        self.sealed = true;
                        return Ok(());
                    }
                    Step::Fault { .. } => return Ok(()),
                    Step::More { offset } => {
                        // No progress with a whole window can only mean that the file is shorter than it was.
                        if offset == before && want >= WINDOW.min((limit - start) as usize) {
                            return Ok(());
                        }
                        start = offset;
                        break;
                    }
                }
            }
        }
    }
}
