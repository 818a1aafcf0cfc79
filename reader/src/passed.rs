//! What a walk over records has come to.

use crate::place::Skip;
use waldo_shm_protocol::record::{Record, RecordFault, Seal};

/// Records passed over; offsets are those in the page.
pub(crate) struct Passed {
    /// Where those to be handed out start.
    pub(crate) start: u32,
    /// Where the walk ended.
    pub(crate) end: u32,
    /// Records to be handed out.
    pub(crate) len: usize,
    pub(crate) payload_bytes: usize,
    /// Number of the first of them.
    pub(crate) first_seq_no: u64,
    /// Offset of the last record passed, and its header.
    pub(crate) last: Option<(u32, Record)>,
    pub(crate) skip: Skip,
    /// The walk ended in front of this.
    pub(crate) sealed: Option<Seal>,
}

/// A record that is not good.
pub(crate) struct BadRecord {
    pub(crate) offset: u32,
    pub(crate) fault: RecordFault,
    /// Number of the record before, if known.
    pub(crate) before: Option<u64>,
}
