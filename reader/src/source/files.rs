//! How readers without a control segment find out which bytes they may read: from the files.
//!
//! The first look is the survey that a writer makes when it opens the ring, so both find the same end of the
//! log and the same damage. Pages that are not durable as a whole are walked with every check, through
//! `pread` into private memory. Later looks follow the log from there. The end of the good records is the
//! watermark. If the log is damaged there, readers that have read that far get the error. A look costs a few
//! system calls, so it is made at most every millisecond, at least every 100 ms while nothing changes, and
//! every second while the log is damaged.

mod log_end;
mod sealed;
mod standing_damage;
pub(crate) mod survey;
mod tip;

use crate::clock::jittered;
use crate::error::ReadError;
use crate::source::link::read_meta_at;
use crate::watermark::Watermark;
use log_end::{Extent, LogEnd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::page::{IndexEntry, PageSummary, RECORDS_UNKNOWN};
use waldo_shm_protocol::record::Seal;
use waldo_shm_protocol::segment::{IndexKey, PageInfo};
use waldo_shm_protocol::sync::load_acquire;
use waldo_shm_protocol::{Position, RingId};

const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// The same while the log is damaged: a person has to repair it, and thousands of followers wait for that.
const DAMAGED_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Looks in a row that a starting writer may make worthless.
const STARTS_MAX: u32 = 4;
/// The same where damage was found, which may be what that writer was mending. Each look more takes a start.
const STARTS_MAX_DAMAGED: u32 = 1000;

/// The end of a ring's log as its files show it.
#[derive(Debug)]
pub(crate) struct FilesTail {
    home: PathBuf,
    ring_id: RingId,
    watermark: AtomicU64,
    durable: AtomicU64,
    oldest: AtomicU64,
    tip_seq_no: AtomicU64,
    closed: AtomicBool,
    damaged: AtomicBool,
    epoch: AtomicU32,
    inner: Mutex<LogEnd>,
}

impl FilesTail {
    pub(crate) fn new(home: &Path, ring_id: RingId) -> FilesTail {
        FilesTail {
            home: home.to_path_buf(),
            ring_id,
            watermark: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
            tip_seq_no: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
            inner: Mutex::new(LogEnd::default()),
        }
    }

    /// The directory whose files these are.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The end of the good records as of the last look.
    pub(crate) fn watermark(&self) -> Watermark {
        // Pairs with the store in `look`: what was read from the files happened before.
        Watermark::vouched(Position::from_word(load_acquire(&self.watermark))) // SYNC(files-watermark)
    }

    /// The position up to which the log is known to be durable, as of the last look: never above
    /// [`FilesTail::watermark`].
    pub(crate) fn durable(&self) -> Watermark {
        // As for the watermark.
        Watermark::vouched(Position::from_word(load_acquire(&self.durable))) // SYNC(files-watermark)
    }

    /// Whether the log is damaged at its present end.
    #[inline]
    pub(crate) fn damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The damage at `end`, for a reader that has read up to there; `None` if the log ends there properly.
    pub(crate) fn damage_at(&self, end: Position) -> Option<ReadError> {
        let tail = self.lock();
        let damage = tail.damage.as_ref()?;
        (end == self.watermark().position()).then(|| survey::error(&self.home, damage))
    }

    /// The seal of page `id` that a crash has torn, if it belongs at `offset`.
    pub(crate) fn torn_seal(&self, id: u64, offset: u32) -> Option<Seal> {
        survey::torn_seal(&self.home, &self.ring_id, id, offset.into())
    }

    pub(crate) fn oldest_page(&self) -> u64 {
        self.oldest.load(Ordering::Relaxed)
    }

    pub(crate) fn tip_seq_no(&self) -> u64 {
        self.tip_seq_no.load(Ordering::Relaxed)
    }

    /// The epoch in the ring's metadata, as of the last look. Must be loaded after the watermark, and is then
    /// not older than it.
    #[inline]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
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

    /// How long to pause before the next look.
    pub(crate) fn pause(&self) -> Duration {
        self.lock().pause.max(PAUSE_MIN)
    }

    /// Whether enough time has passed since the last look.
    pub(crate) fn due(&self) -> bool {
        let tail = self.lock();
        tail.looked.is_none_or(|at| at.elapsed() >= tail.pause.max(PAUSE_MIN))
    }

    /// Looks at the files now. `true` if the watermark moved.
    ///
    /// # Errors
    /// [`ReadError::Io`] or [`ReadError::Page`] if the newest page cannot be read. A bad record is not an
    /// error here: the log ends before it, or continues after it.
    pub(crate) fn look(&self) -> Result<bool, ReadError> {
        let mut tail = self.lock();
        let mut tries = 0;
        let (extent, meta) = loop {
            tries += 1;
            let meta = read_meta(&self.home);
            let found = tail.extent(meta.as_ref(), &self.home, &self.ring_id);
            tail.looked = Some(Instant::now());
            let extent = found?;
            // A writer raises its epoch before it changes anything. Bytes read meanwhile may be a mixture of
            // old and new.
            let undisturbed = |meta: &Meta| read_meta(&self.home).is_none_or(|now| now.epoch == meta.epoch);
            let most = if tail.damage.is_some() { STARTS_MAX_DAMAGED } else { STARTS_MAX };
            if tries >= most || meta.as_ref().is_none_or(undisturbed) {
                break (extent, meta);
            }
        };
        let Extent { oldest, end, tip_seq_no, durable } = extent;
        let durable = durable.min(end).word();
        let moved = self.watermark.load(Ordering::Relaxed) != end.word()
            || self.durable.load(Ordering::Relaxed) != durable;
        tail.quiet = if moved { 0 } else { (tail.quiet + 1).min(16) };
        tail.pause = jittered(pause(tail.quiet, tail.damage.is_some()));
        if let Some(meta) = &meta {
            self.epoch.store(meta.epoch, Ordering::Relaxed);
            self.closed.store(!meta.clean_end.is_none(), Ordering::Relaxed);
        }
        self.damaged.store(tail.damage.is_some(), Ordering::Relaxed);
        self.oldest.store(oldest, Ordering::Relaxed);
        self.tip_seq_no.store(tip_seq_no, Ordering::Relaxed);
        self.durable.store(durable, Ordering::Release); // SYNC(files-watermark)
        self.watermark.store(end.word(), Ordering::Release); // SYNC(files-watermark)
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

    fn lock(&self) -> MutexGuard<'_, LogEnd> {
        // Every update leaves a state from which the next look can go on.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pause(quiet: u32, damaged: bool) -> Duration {
    PAUSE_MIN.saturating_mul(1 << quiet.min(16)).min(if damaged { DAMAGED_PAUSE_MAX } else { PAUSE_MAX })
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

/// The ring's metadata; `None` if it cannot be read just now. Its epoch is the writer's last start that is
/// written down. [`Meta::check`] adds one if it does not know a slot. A writer may be about to write that
/// slot, and then the number is one that this writer has before it has changed the files, and that it will
/// still have afterwards.
fn read_meta(home: &Path) -> Option<Meta> {
    read_meta_at(home).ok().map(|found| Meta { epoch: found.start, ..found.meta })
}
