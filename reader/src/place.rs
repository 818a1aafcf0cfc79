//! Where a reader stands.

use crate::options::Cursor;
use crate::{Checkpoint, clock};
use waldo_shm_protocol::Position;
use waldo_shm_protocol::record::Record;

/// The start that the caller has asked for, in the form that the search uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeekTarget {
    Tip,
    Oldest,
    /// The first record with a greater number.
    After(u64),
    /// The first record not older than this, in nanoseconds since 1970.
    Since(u64),
    /// The same, in a ring that had no record when this was asked for: whatever is trimmed from then on is
    /// missed.
    FromNowSince(u64),
    /// Behind the very record that the checkpoint was made of.
    Resume(Checkpoint),
}

impl From<Cursor> for SeekTarget {
    fn from(cursor: Cursor) -> SeekTarget {
        match cursor {
            Cursor::Tip => SeekTarget::Tip,
            Cursor::Oldest => SeekTarget::Oldest,
            Cursor::After(seq_no) => SeekTarget::After(seq_no),
            // Numbers start at 1, so "0 or greater" and "1 or greater" are both everything.
            Cursor::From(seq_no) => SeekTarget::After(seq_no.saturating_sub(1)),
            Cursor::Since(time) => SeekTarget::Since(clock::unix_ns(time)),
        }
    }
}

/// A reader's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not known yet: the ring has no records, or its writer is still opening it.
    Pending(SeekTarget),
    /// The next record starts here, or will.
    At(Position),
}

/// Records to skip before the first one is handed out, because the cursor was beyond the tip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skip {
    Nothing,
    /// Those with numbers up to this.
    Through(u64),
    /// Those appended before this.
    Before(u64),
}

impl Skip {
    #[inline(always)]
    pub(crate) fn skips(self, record: &Record) -> bool {
        match self {
            Skip::Nothing => false,
            Skip::Through(seq_no) => record.seq_no() <= seq_no,
            Skip::Before(time_ns) => record.time_ns() < time_ns,
        }
    }
}

/// The record before a reader's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) seq_no: u64,
    /// What identifies the record, if the reader has seen it.
    pub(crate) mark: Option<Mark>,
}

/// What identifies a record, and where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) epoch: u32,
    pub(crate) checksum: u32,
    /// Page and offset, if known.
    pub(crate) at: Option<(u64, u32)>,
}

impl Last {
    /// Known by number alone.
    pub(crate) fn number(seq_no: u64) -> Last {
        Last { seq_no, mark: None }
    }

    /// `record`, seen at `offset` of page `page`.
    #[inline]
    pub(crate) fn seen(record: &Record, page: u64, offset: u32) -> Last {
        let mark = Mark { epoch: record.epoch(), checksum: record.checksum(), at: Some((page, offset)) };
        Last { seq_no: record.seq_no(), mark: Some(mark) }
    }
}
