//! How a ring and its writer are.

use crate::attach::RingInner;
use crate::error::ReadError;
use crate::link::read_meta_in;
use crate::options::Visibility;
use crate::pulse::Seen;
use crate::source::{Attachment, Source};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::page::RECORDS_UNKNOWN;
use waldo_shm_protocol::segment::{Counter, PageInfo, SegmentFault};
use waldo_shm_protocol::{Position, RingId};

/// How the writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriterStatus {
    /// It runs.
    Live,
    /// It is reading the files before it goes on.
    Recovering,
    /// It closed the ring; everything is durable.
    Closed,
    /// It met an error it must not go on after, and stopped.
    Failed {
        /// The error number.
        errno: i32,
    },
    /// It says it runs but has not been seen alive for a while: killed, stopped, or the machine is
    /// overloaded.
    Stalled {
        /// How long ago it was last seen alive.
        age: Duration,
    },
    /// Another start of the writer is running.
    Restarted {
        /// Its number.
        epoch: u32,
    },
    /// No control segment of a start that goes on is to be seen from here, and nothing says that the ring was
    /// closed. A writer may run all the same, with another `/dev/shm`, say: then its records come in.
    Absent,
}

impl fmt::Display for WriterStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriterStatus::Live => write!(f, "live"),
            WriterStatus::Recovering => write!(f, "recovering"),
            WriterStatus::Closed => write!(f, "closed"),
            WriterStatus::Failed { errno } => {
                write!(f, "failed: {}", std::io::Error::from_raw_os_error(*errno))
            }
            WriterStatus::Stalled { age } => write!(f, "not seen alive for {:.1} s", age.as_secs_f64()),
            WriterStatus::Restarted { epoch } => write!(f, "restarted (epoch {epoch})"),
            WriterStatus::Absent => write!(f, "absent"),
        }
    }
}

/// Where the ring's state is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlKind {
    /// A POSIX shared memory object of this name.
    Posix(String),
    /// A file on a tmpfs.
    Path(PathBuf),
    /// The page files; there is no control segment.
    Files,
}

/// A ring at one moment. The values are read one after the other, so under a busy writer some are newer than
/// others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingStatus {
    /// Its directory.
    pub home: PathBuf,
    /// Its identity.
    pub ring_id: RingId,
    /// Pages it holds at most.
    pub ring_size: u32,
    /// Length of a new page file in bytes.
    pub page_len: u64,
    /// The writer's starts so far.
    pub epoch: u32,
    /// How the writer is.
    pub writer: WriterStatus,
    /// The writer's process id; 0 if unknown. For people only: numbers are reused.
    pub writer_pid: u32,
    /// Time since the writer was last seen alive; `None` without a control segment, and as long as it is not
    /// known: a writer in another time namespace has to be seen twice.
    pub heartbeat_age: Option<Duration>,
    /// Everything below is committed.
    pub committed: Position,
    /// Everything below is durable.
    pub durable: Position,
    /// Last committed record; `None` if there is none.
    pub tip_seq_no: Option<u64>,
    /// Id of the oldest page; 0 if there is none.
    pub oldest_page: u64,
    /// Id of the page the log ends in; 0 if there is none.
    pub tip_page: u64,
    /// Oldest record left; `None` if there is none or it is not known.
    pub oldest_seq_no: Option<u64>,
    /// The record before the oldest one left: reading after it, nothing is missed.
    pub after_seq_no: Option<u64>,
    /// Pages in the ring.
    pub pages: u64,
    /// Records in the ring, if that is known.
    pub records: Option<u64>,
    /// Entries in the sparse index.
    pub index_entries: u64,
    /// What the writer has counted since it started, by name; empty without a control segment.
    pub counters: Vec<(&'static str, u64)>,
    /// Where this was read from.
    pub control: ControlKind,
}

pub(crate) fn snapshot(ring: &RingInner, attachment: &Attachment) -> Result<RingStatus, ReadError> {
    let committed = attachment.watermark(Visibility::Committed).position();
    let durable = attachment.watermark(Visibility::Durable).position();
    // Read after the watermark, so it can only be newer; a page that has just been trimmed is not counted.
    let oldest_page = attachment.oldest_page().min(committed.page());
    let pages = if oldest_page == 0 { 0 } else { committed.page() - oldest_page + 1 };
    if pages > attachment.pages_max() {
        let path = attachment.path(&ring.home);
        return Err(ReadError::Control { path, fault: SegmentFault::Range });
    }
    let listed = attachment.page(oldest_page).filter(|info| info.first_seq_no > 0);
    // A page that was there before the ring was told to keep fewer may have no place in the directory.
    let oldest = listed.or_else(|| {
        let begun = committed > Position::start_of(oldest_page);
        let first = ring.pages.first_record(oldest_page, attachment.epoch()).filter(|_| begun)?;
        let (first_seq_no, prev_seq_no) = (first.seq_no(), first.prev_seq_no());
        Some(PageInfo { first_seq_no, prev_seq_no, records_before: RECORDS_UNKNOWN, ..PageInfo::default() })
    });
    // The ring may have been told to keep another number of pages since it was attached to.
    let meta = read_meta_in(&attachment.home).map_or(ring.meta, |found| found.meta);
    let index_entries = attachment
        .listed(oldest_page, committed.page())
        .take(usize::try_from(pages).unwrap_or(usize::MAX))
        .filter_map(|id| attachment.page(id))
        .fold(0u64, |sum, info| sum.saturating_add(info.index_len));
    let mut status = RingStatus {
        home: ring.home.clone(),
        ring_id: ring.meta.ring_id,
        ring_size: meta.ring_size,
        page_len: meta.geometry.page_len(),
        epoch: meta.epoch,
        writer: attachment.writer(&ring.options)?,
        writer_pid: 0,
        heartbeat_age: None,
        committed,
        durable,
        tip_seq_no: attachment.tip_seq_no(),
        oldest_page,
        tip_page: committed.page(),
        oldest_seq_no: oldest.map(|info| info.first_seq_no),
        after_seq_no: oldest.map(|info| info.prev_seq_no),
        pages,
        records: None,
        index_entries,
        counters: Vec::new(),
        control: ControlKind::Files,
    };
    if let Source::Files(files) = &attachment.source {
        status.records = files.records();
    }
    if let Source::Control(control) = &attachment.source {
        let segment = control.segment();
        status.records = segment.records().and_then(|all| {
            let before = oldest.map_or(0, |info| info.records_before);
            (before != RECORDS_UNKNOWN).then(|| all.saturating_sub(before))
        });
        status.epoch = segment.status().epoch();
        status.writer_pid = segment.status().writer_pid();
        status.heartbeat_age = match control.seen() {
            Seen::Ago(age) => Some(age),
            Seen::Never(_) => None,
        };
        status.counters =
            Counter::ALL.iter().map(|(counter, name)| (*name, segment.counters().get(*counter))).collect();
        status.control = match control.link() {
            Link::Posix(name) => ControlKind::Posix(name.clone()),
            Link::Path(path) => ControlKind::Path(path.into()),
        };
    }
    Ok(status)
}
