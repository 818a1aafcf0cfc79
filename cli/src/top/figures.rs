//! The figures of a ring at one moment. Nothing in here depends on a terminal.

use super::growth::Growth;
use super::readers::RankedReaders;
use std::sync::Arc;
use waldo::reader::RingStatus;

/// What one look at a ring has found.
#[derive(Clone, Debug)]
pub struct Figures {
    /// A word: those of `waldo ls`, and "removed".
    pub state: &'static str,
    /// What is the matter, if anything is. Other people's text, not escaped.
    pub note: Option<String>,
    /// What `waldo stat` tells; `None` while the ring cannot be read.
    pub status: Option<RingStatus>,
    /// How fast it grows.
    pub growth: Growth,
    /// What it takes on the disk, in bytes.
    pub disk_bytes: u64,
    /// When the oldest record was appended, in nanoseconds since 1970.
    pub oldest_ns: Option<u64>,
    /// When the newest one was.
    pub newest_ns: Option<u64>,
    /// Readers that make themselves seen; `None` while the ring cannot be read.
    pub readers: Option<Arc<RankedReaders>>,
}

impl Figures {
    /// Those of a ring of which there is nothing but a state, and perhaps a reason for that.
    pub fn without_status(state: &'static str, note: Option<String>) -> Figures {
        Figures {
            state,
            note,
            status: None,
            growth: Growth::default(),
            disk_bytes: 0,
            oldest_ns: None,
            newest_ns: None,
            readers: None,
        }
    }

    /// Whether a person should look at this ring.
    pub fn is_alarming(&self) -> bool {
        self.note.is_some() || matches!(self.state, "failed" | "stalled" | "unreadable" | "removed")
    }
}
