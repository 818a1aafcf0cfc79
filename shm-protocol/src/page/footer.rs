//! The footer: the summary of a complete page.

use super::{IndexEntry, PageFault, PageGeometry, PageHeader};
use crate::RingId;
use crate::checksum::plain;
use crate::limits::*;
use crate::record::PageEnd;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First eight bytes of a footer.
pub const FOOTER_MAGIC: [u8; 8] = *b"WALDOFT\n";

/// A footer as read from the last 128 bytes of a sealed page, unchecked.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RawPageFooter {
    /// [`FOOTER_MAGIC`].
    pub magic: [u8; 8],
    /// The page it closes.
    pub page_id: u64,
    /// The ring it belongs to.
    pub ring_id: RingId,
    /// Sequence number of the first record.
    pub first_seq_no: u64,
    /// Predecessor that the first record names.
    pub prev_seq_no: u64,
    /// Sequence number of the last record.
    pub last_seq_no: u64,
    /// Records in the page.
    pub records: u64,
    /// Where the seal starts, in bytes.
    pub records_end: u64,
    /// Append time of the first record.
    pub first_time_ns: u64,
    /// Append time of the last record.
    pub last_time_ns: u64,
    /// Records that were appended to the ring before this page; `u64::MAX` if that is not known.
    pub records_before: u64,
    /// Entries in the index.
    pub index_len: u32,
    /// CRC-32C of the index entries.
    pub index_checksum: u32,
    /// Epoch of the last record.
    pub epoch: u32,
    /// Zero.
    pub reserved: [u8; 16],
    /// CRC-32C of the 124 bytes before.
    pub checksum: u32,
}

crate::layout::describe! {
    RawPageFooter, "Page footer", 128, {
        magic: 0, page_id: 8, ring_id: 16, first_seq_no: 32, prev_seq_no: 40, last_seq_no: 48, records: 56,
        records_end: 64, first_time_ns: 72, last_time_ns: 80, records_before: 88, index_len: 96, index_checksum: 100,
        epoch: 104, reserved: 108, checksum: 124,
    }
}
const _: () = assert!(size_of::<RawPageFooter>() == PAGE_FOOTER_LEN);

/// A footer that has been checked against its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFooter(pub(super) RawPageFooter);

/// A summary of a page's records: the content of its footer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageSummary {
    /// Sequence number of the first record; 0 if there is none.
    pub first_seq_no: u64,
    /// Predecessor that the first record names.
    pub prev_seq_no: u64,
    /// Sequence number of the last record; 0 if there is none.
    pub last_seq_no: u64,
    /// Records in the page.
    pub records: u64,
    /// Bytes from the start of the page to the end of its last record.
    pub records_end: u64,
    /// Append time of the first record, nanoseconds since 1970.
    pub first_time_ns: u64,
    /// Append time of the last record, nanoseconds since 1970.
    pub last_time_ns: u64,
    /// Records that were appended to the ring before this page; [`RECORDS_UNKNOWN`] if that is not known.
    pub records_before: u64,
    /// Epoch of the last record.
    pub epoch: u32,
}

impl PageSummary {
    /// Where the records end, for the seal.
    pub fn end(&self) -> PageEnd {
        PageEnd { offset: self.records_end, last_seq_no: self.last_seq_no, records: self.records }
    }
}

/// A count of records that is not known.
pub const RECORDS_UNKNOWN: u64 = u64::MAX;

impl PageFooter {
    /// The footer of a sealed page with at least one record.
    pub fn new(header: &PageHeader, summary: &PageSummary, index: &[IndexEntry]) -> PageFooter {
        let mut raw = RawPageFooter {
            magic: FOOTER_MAGIC,
            page_id: header.fields().page_id,
            ring_id: header.fields().ring_id,
            first_seq_no: summary.first_seq_no,
            prev_seq_no: summary.prev_seq_no,
            last_seq_no: summary.last_seq_no,
            records: summary.records,
            records_end: summary.records_end,
            first_time_ns: summary.first_time_ns,
            last_time_ns: summary.last_time_ns,
            records_before: summary.records_before,
            index_len: index.len() as u32,
            index_checksum: plain(index.as_bytes()),
            epoch: summary.epoch,
            reserved: [0; 16],
            checksum: 0,
        };
        raw.checksum = plain(&raw.as_bytes()[..124]);
        PageFooter(raw)
    }

    /// The bytes to write at [`PageGeometry::footer_offset`].
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Checks the last 128 bytes of a page.
    ///
    /// # Errors
    /// [`PageFault::Magic`] if there is no footer (the page was never sealed), otherwise what is wrong with
    /// it.
    pub fn check(bytes: &[u8], header: &PageHeader) -> Result<PageFooter, PageFault> {
        let (raw, _) = RawPageFooter::read_from_prefix(bytes)
            .map_err(|_| PageFault::TooShort { len: bytes.len() as u64 })?;
        // The footer of an earlier page in the same file counts as none.
        if raw.magic != FOOTER_MAGIC
            || raw.page_id != header.fields().page_id
            || raw.ring_id != header.fields().ring_id
        {
            return Err(PageFault::Magic);
        }
        let computed = plain(&raw.as_bytes()[..124]);
        if computed != raw.checksum {
            return Err(PageFault::Checksum { stored: raw.checksum, computed });
        }
        let first = PAGE_HEADER_LEN as u64 + RECORD_HEADER_LEN as u64;
        let last = header.fields().records_limit - RECORD_HEADER_LEN as u64;
        if !(first..=last).contains(&raw.records_end) || !raw.records_end.is_multiple_of(RECORD_ALIGN as u64)
        {
            return Err(PageFault::Range { what: "end of records" });
        }
        if raw.index_len > header.fields().index_capacity || raw.index_len == 0 {
            return Err(PageFault::Range { what: "number of index entries" });
        }
        if raw.records == 0 || raw.first_seq_no <= raw.prev_seq_no || raw.last_seq_no < raw.first_seq_no {
            return Err(PageFault::Range { what: "sequence numbers" });
        }
        Ok(PageFooter(raw))
    }

    /// Where the index starts, and its length in bytes.
    pub fn index_range(&self, geometry: &PageGeometry) -> (u64, usize) {
        let len = self.0.index_len as usize * INDEX_ENTRY_LEN;
        (geometry.footer_offset() - len as u64, len)
    }

    /// Checks the bytes of the index area.
    ///
    /// # Errors
    /// [`PageFault::Checksum`] if the bytes do not match the footer, [`PageFault::Range`] if an entry points
    /// outside the records or the entries are out of order.
    pub fn check_index(&self, bytes: &[u8]) -> Result<Vec<IndexEntry>, PageFault> {
        let entries: Vec<IndexEntry> = bytes
            .chunks_exact(INDEX_ENTRY_LEN)
            .filter_map(|chunk| IndexEntry::read_from_bytes(chunk).ok())
            .collect();
        self.check_entries(&entries)?;
        Ok(entries)
    }

    /// The same for index entries that are already in memory.
    ///
    /// # Errors
    /// As [`PageFooter::check_index`].
    pub fn check_entries(&self, entries: &[IndexEntry]) -> Result<(), PageFault> {
        let computed = plain(entries.as_bytes());
        if computed != self.0.index_checksum {
            return Err(PageFault::Checksum { stored: self.0.index_checksum, computed });
        }
        let ordered = entries.windows(2).all(|w| w[0].seq_no < w[1].seq_no && w[0].offset < w[1].offset);
        let inside = entries.iter().all(|e| {
            e.offset >= PAGE_HEADER_LEN as u64
                && e.offset < self.0.records_end
                && e.offset.is_multiple_of(RECORD_ALIGN as u64)
        });
        if entries.len() != self.0.index_len as usize || !ordered || !inside {
            return Err(PageFault::Range { what: "index entries" });
        }
        Ok(())
    }

    /// What the page holds.
    pub fn summary(&self) -> PageSummary {
        PageSummary {
            first_seq_no: self.0.first_seq_no,
            prev_seq_no: self.0.prev_seq_no,
            last_seq_no: self.0.last_seq_no,
            records: self.0.records,
            records_end: self.0.records_end,
            first_time_ns: self.0.first_time_ns,
            last_time_ns: self.0.last_time_ns,
            records_before: self.0.records_before,
            epoch: self.0.epoch,
        }
    }

    /// The first thing that the footer says otherwise than the page was found to hold: what, the footer's
    /// number, and the page's.
    pub fn mismatch(&self, found: &PageSummary) -> Option<(&'static str, u64, u64)> {
        let said = self.summary();
        [
            ("the first record", said.first_seq_no, found.first_seq_no),
            ("the record before the first", said.prev_seq_no, found.prev_seq_no),
            ("the last record", said.last_seq_no, found.last_seq_no),
            ("the number of records", said.records, found.records),
            ("the end of records", said.records_end, found.records_end),
            ("the first append time", said.first_time_ns, found.first_time_ns),
            ("the last append time", said.last_time_ns, found.last_time_ns),
            ("the epoch", said.epoch.into(), found.epoch.into()),
        ]
        .into_iter()
        .find(|(_, said, found)| said != found)
    }

    /// Entries in the index.
    pub fn index_len(&self) -> u32 {
        self.0.index_len
    }
}
