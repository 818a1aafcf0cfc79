//! One source of a ring, and since when it is used.

use crate::clock::{self, jittered};
use crate::error::ReadError;
use crate::options::Visibility;
use crate::source::control::ControlMap;
use crate::source::files::FilesTail;
use crate::source::home::Home;
use crate::source::standing::{runs, stall_limit};
use crate::watermark::Watermark;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use waldo_shm_protocol::RingId;
use waldo_shm_protocol::limits::RING_SIZE_MAX;
use waldo_shm_protocol::page::IndexEntry;
use waldo_shm_protocol::record::Seal;
use waldo_shm_protocol::segment::{IndexKey, PageInfo, WriterState};

/// Shortest time between two looks of one process at what a ring's source is, give or take half of it.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Where to look.
#[derive(Debug)]
pub(crate) enum Source {
    Control(ControlMap),
    Files(Box<FilesTail>),
}

/// One source and since when it is used: a ring that moves gets a new attachment with the next generation.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) generation: u64,
    pub(crate) source: Source,
    /// The directory that the source belongs to.
    pub(crate) home: Arc<Home>,
    /// When a segment was given up for the files because it was retired.
    pub(super) handover: Option<Instant>,
    /// Until when readers wait for the successor of a retired segment; set when it is first found missing.
    pub(super) successor_due: OnceLock<Instant>,
    pub(super) stalled_after: Duration,
    /// When to look next whether this is still the source to use, in milliseconds of the coarse clock.
    look_at: AtomicU64,
}

/// Everything a sleeper watches, to be compared with what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    generation: u64,
    committed: u64,
    durable: u64,
    state: Option<WriterState>,
    epoch: u32,
    /// No process stores this: a writer that dies while readers wait for its recovery changes nothing else.
    alive: bool,
    damaged: bool,
}

impl Source {
    /// The files of the ring in directory `path`, after a first look at them.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub(crate) fn files(path: &Path, ring_id: RingId) -> Result<Source, ReadError> {
        let files = FilesTail::new(path, ring_id);
        files.look()?;
        Ok(Source::Files(Box::new(files)))
    }
}

impl Observed {
    /// Whether the durable watermark alone differs.
    pub(crate) fn only_more_is_durable_than(&self, before: &Observed) -> bool {
        self.durable != before.durable && Observed { durable: before.durable, ..*self } == *before
    }
}

impl Attachment {
    pub(crate) fn new(
        generation: u64,
        source: Source,
        home: Arc<Home>,
        handover: Option<Instant>,
        stalled_after: Duration,
    ) -> Attachment {
        Attachment {
            generation,
            source,
            home,
            handover,
            successor_due: OnceLock::new(),
            stalled_after,
            look_at: AtomicU64::new(clock::coarse_ms().saturating_add(LOOK_PAUSE.as_millis() as u64)),
        }
    }

    /// Whether it is time to check that this is still the source to use. Costs a look at a clock.
    #[inline]
    pub(crate) fn look_due(&self) -> bool {
        clock::coarse_ms() >= self.look_at.load(Ordering::Relaxed)
    }

    /// The same, and claims the check: no other thread of this process makes it meanwhile.
    pub(crate) fn take_look(&self) -> bool {
        let (now, due) = (clock::coarse_ms(), self.look_at.load(Ordering::Relaxed));
        let next = now.saturating_add(jittered(LOOK_PAUSE).as_millis() as u64);
        now >= due && self.look_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Makes the next caller check again: a fault counts until a check finds that it is gone.
    pub(crate) fn look_again(&self) {
        self.look_at.store(0, Ordering::Relaxed);
    }

    /// The position up to which a reader with this visibility may read now.
    #[inline(always)]
    pub(crate) fn watermark(&self, visibility: Visibility) -> Watermark {
        match &self.source {
            Source::Control(control) => {
                let committed = control.segment().committed();
                Watermark::vouched(match visibility {
                    Visibility::Committed => committed,
                    // A durable watermark beyond the committed one would vouch for bytes that are not there.
                    Visibility::Durable => control.segment().durable().min(committed),
                })
            }
            Source::Files(files) => match visibility {
                Visibility::Committed => files.watermark(),
                Visibility::Durable => files.durable(),
            },
        }
    }

    /// The seal that belongs at `offset` of page `id`, if a crash has torn it and no writer has started
    /// since.
    #[cold]
    pub(crate) fn torn_seal(&self, id: u64, offset: u32) -> Option<Seal> {
        match &self.source {
            Source::Control(_) => None,
            Source::Files(files) => files.torn_seal(id, offset),
        }
    }

    /// Whether readers at the end must be told of damage.
    pub(crate) fn damaged(&self) -> bool {
        matches!(&self.source, Source::Files(files) if files.damaged())
    }

    /// The damage after `watermark` for a reader that has read up to there; `None` if there is none.
    pub(crate) fn damage_at(&self, watermark: Watermark) -> Option<ReadError> {
        match &self.source {
            Source::Control(_) => None,
            Source::Files(files) => files.damage_at(watermark.position()),
        }
    }

    pub(crate) fn observe(&self) -> Observed {
        let (durable, state, epoch) = match &self.source {
            Source::Control(control) => {
                let segment = control.segment();
                (segment.durable().word(), segment.status().state(), segment.status().epoch())
            }
            Source::Files(files) => {
                (files.durable().word(), files.closed().then_some(WriterState::Closed), files.epoch())
            }
        };
        let committed = self.watermark(Visibility::Committed).word();
        let alive = matches!(&self.source, Source::Control(control) if self.sees_alive(control));
        Observed {
            generation: self.generation,
            committed,
            durable,
            state,
            epoch,
            alive,
            damaged: self.damaged(),
        }
    }

    /// Oldest page in the ring; 0 while there is none. Untrusted.
    pub(crate) fn oldest_page(&self) -> u64 {
        match &self.source {
            Source::Control(control) => control.segment().oldest_page(),
            Source::Files(files) => files.oldest_page(),
        }
    }

    /// What is known about a page. A hint.
    pub(crate) fn page(&self, id: u64) -> Option<PageInfo> {
        match &self.source {
            // A slot that is being replaced is so for nanoseconds: look twice.
            Source::Control(control) => control.segment().page(id).or_else(|| control.segment().page(id)),
            Source::Files(files) => files.page(id),
        }
    }

    /// Number and append time of the first record of a page. A hint.
    #[inline]
    pub(crate) fn page_begin(&self, id: u64) -> Option<(u64, u64)> {
        match &self.source {
            Source::Control(control) => {
                control.segment().page_begin(id).or_else(|| control.segment().page_begin(id))
            }
            Source::Files(files) => files.page(id).map(|info| (info.first_seq_no, info.first_time_ns)),
        }
    }

    /// A record at or before `key` in page `id`. A hint.
    pub(crate) fn index_floor(&self, id: u64, key: IndexKey) -> Option<IndexEntry> {
        match &self.source {
            Source::Control(control) => control.segment().index_floor(id, key),
            Source::Files(files) => files.index_floor(id, key),
        }
    }

    /// Most pages that can be between the oldest one and the newest; more is invalid. This limit is not this
    /// writer's option, because a previous writer may have kept more pages, which stay until they are
    /// trimmed; nor the size of the directory, which is a hint. It is four times what the format allows a
    /// ring, since pages that cannot be removed stay as well.
    pub(crate) fn pages_max(&self) -> u64 {
        4 * u64::from(RING_SIZE_MAX)
    }

    /// The range of newest pages up to `tip` that the directory can hold: others are never in it.
    pub(crate) fn listed(&self, oldest: u64, tip: u64) -> std::ops::RangeInclusive<u64> {
        let slots = match &self.source {
            Source::Control(control) => u64::from(control.segment().geometry().page_slots()),
            Source::Files(_) => self.pages_max(),
        };
        oldest.max(tip.saturating_sub(slots - 1)).max(1)..=tip
    }

    /// The writer's epoch; 0 if unknown. Must be loaded after the watermark that it belongs to.
    #[inline(always)]
    pub(crate) fn epoch(&self) -> u32 {
        match &self.source {
            Source::Control(control) => control.segment().status().epoch(),
            Source::Files(files) => files.epoch(),
        }
    }

    /// Last committed sequence number, for messages.
    pub(crate) fn tip_seq_no(&self) -> Option<u64> {
        let tip = match &self.source {
            Source::Control(control) => control.segment().tip_seq_no(),
            Source::Files(files) => files.tip_seq_no(),
        };
        (tip > 0).then_some(tip)
    }

    /// Whether the source is the files at `path`.
    pub(crate) fn files_at(&self, path: &Path) -> bool {
        matches!(&self.source, Source::Files(files) if files.home() == path)
    }

    /// The control segment's path, or the home directory's in files mode: for messages.
    pub(crate) fn path(&self, home: &Path) -> PathBuf {
        match &self.source {
            Source::Control(control) => control.path(),
            Source::Files(_) => home.to_path_buf(),
        }
    }

    /// Whether the source may have to be replaced or checked. Cheap enough for each poll.
    #[inline(always)]
    pub(crate) fn needs_attention(&self, epoch: u32) -> bool {
        match &self.source {
            Source::Control(control) => {
                let status = control.segment().status();
                status.epoch() != epoch
                    || !matches!(
                        status.state(),
                        Some(WriterState::Live | WriterState::Recovering | WriterState::Init)
                    )
                    || control.segment().committed().is_none()
                    || self.look_due()
            }
            Source::Files(files) => files.epoch() != epoch || files.due() || files.damaged(),
        }
    }

    /// Whether the source is the files, without a control segment.
    #[inline]
    pub(crate) fn goes_by_files(&self) -> bool {
        matches!(self.source, Source::Files(_))
    }

    /// Looks at the files if they are the source. `None` if they are not; otherwise whether the log has
    /// moved.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub(crate) fn look_at_files(&self) -> Result<Option<bool>, ReadError> {
        let Source::Files(files) = &self.source else { return Ok(None) };
        let oldest = files.oldest_page();
        Ok(Some(files.look()? || files.oldest_page() != oldest))
    }

    /// Whether it is time to look at the files again.
    pub(crate) fn due(&self) -> bool {
        matches!(&self.source, Source::Files(files) if files.due())
    }

    fn sees_alive(&self, control: &ControlMap) -> bool {
        runs(control) && control.seen().within(stall_limit(control, self.stalled_after))
    }
}
