//! The sparse index.

use crate::limits::INDEX_ENTRY_LEN;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One entry of the sparse index: a record and where it starts. Entries are in order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct IndexEntry {
    /// Sequence number of the record.
    pub seq_no: u64,
    /// Its append time in nanoseconds since 1970.
    pub time_ns: u64,
    /// Where it starts, in bytes from the start of the page.
    pub offset: u64,
}

crate::layout::describe! {
    IndexEntry, "Index entry", 24, { seq_no: 0, time_ns: 8, offset: 16, }
}
const _: () = assert!(size_of::<IndexEntry>() == INDEX_ENTRY_LEN);
