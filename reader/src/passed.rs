//! The result of a walk over records.

use crate::place::Skip;
use waldo_shm_protocol::record::{Record, RecordFault, Seal};

/// The records that were walked over; offsets are those in the page.
pub(crate) struct Passed {
    /// Where the records to hand out start.
    pub(crate) start: u32,
    /// Where the walk ended.
    pub(crate) end: u32,
    /// Number of records to hand out.
    pub(crate) len: usize,
    pub(crate) payload_bytes: usize,
    /// Number of the first of them.
    pub(crate) first_seq_no: u64,
    /// Offset of the last record passed, and its header.
    pub(crate) last: Option<(u32, Record)>,
    pub(crate) skip: Skip,
    /// The walk ended before this seal.
    pub(crate) sealed: Option<Seal>,
}

/// A record that is not good.
pub(crate) struct BadRecord {
    pub(crate) offset: u32,
    pub(crate) fault: RecordFault,
    /// Number of the record before, if known.
    pub(crate) before: Option<u64>,
}
