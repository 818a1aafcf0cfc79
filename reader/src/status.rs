//! The state of a ring and its writer.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use waldo_shm_protocol::{Position, RingId};

/// The writer's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriterStatus {
    /// The writer runs.
    Live,
    /// The writer is starting: it reads, and if necessary recovers, the files.
    Recovering,
    /// The writer closed the ring; everything is durable.
    Closed,
    /// The writer stopped after a final error.
    Failed {
        /// The error number.
        errno: i32,
    },
    /// The writer says that it runs, but has not been seen alive for a while: it was killed or stopped, or
    /// the machine is overloaded.
    Stalled {
        /// How long ago it was last seen alive.
        age: Duration,
    },
    /// Another writer has started.
    Restarted {
        /// Its epoch.
        epoch: u32,
    },
    /// No control segment of a running writer is visible from here, and nothing says that the ring was
    /// closed. A writer may run nevertheless, with another `/dev/shm`, say: then its records still arrive.
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

/// A ring at one moment. The values are read one after the other, so while a writer is busy some are newer
/// than others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingStatus {
    /// Its directory.
    pub home: PathBuf,
    /// Its identity.
    pub ring_id: RingId,
    /// Most pages that the ring holds.
    pub ring_size: u32,
    /// Length of a new page file in bytes.
    pub page_len: u64,
    /// The writer's epoch.
    pub epoch: u32,
    /// The writer's state.
    pub writer: WriterStatus,
    /// The writer's process id; 0 if unknown. For people only: numbers are reused.
    pub writer_pid: u32,
    /// Time since the writer was last seen alive; `None` without a control segment, and while it is unknown:
    /// a writer in another time namespace has to be seen twice.
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
    /// The record before the oldest one left: a reader that starts after it misses nothing.
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

impl RingStatus {
    /// Bytes of page files between the durable and the committed position; pages between the two count in
    /// full.
    pub fn durable_lag_bytes(&self) -> u64 {
        let (durable, committed) = (self.durable, self.committed);
        let pages = committed.page().saturating_sub(durable.page());
        let to = pages.saturating_mul(self.page_len).saturating_add(u64::from(committed.offset()));
        to.saturating_sub(u64::from(durable.offset()))
    }
}
