//! A page file: header, records, sparse index, footer.
//!
//! ```text
//!  0          4096                records_end            records_limit        len - 128     len
//!  | header   | records ... | seal | never read          | index entries ->   | footer      |
//! ```
//!
//! The header is written before the file has its name and never again while it has that name. Records
//! grow from 4096 up to at most `records_limit`. Index and footer are written when the page is sealed, and
//! for the last page when the ring is closed; they count only if the seal stands at `records_end`, or the ring's
//! metadata names that place as the clean end. The index ends where the footer starts.

use crate::RingId;
use crate::checksum::plain;
use crate::limits::*;
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First eight bytes of a page file.
pub const PAGE_MAGIC: [u8; 8] = *b"WALDOPG\n";
/// First eight bytes of a page that has been taken out of the ring and must not be read any more.
pub const PAGE_MAGIC_RETIRED: [u8; 8] = *b"WALDOXX\n";
/// First eight bytes of a footer.
pub const FOOTER_MAGIC: [u8; 8] = *b"WALDOFT\n";

/// A page header as it lies at the start of the file; nothing about it is checked.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RawPageHeader {
    /// [`PAGE_MAGIC`].
    pub magic: [u8; 8],
    /// [`crate::FORMAT_VERSION`].
    pub version: u32,
    /// Offset of the first record: 4096.
    pub header_len: u32,
    /// Features that a reader must know to read the page. None are defined.
    pub incompatible: u64,
    /// Features that a reader may ignore. None are defined.
    pub compatible: u64,
    /// The ring it belongs to.
    pub ring_id: RingId,
    /// Its place in the ring's history: 1, 2, 3, ...
    pub page_id: u64,
    /// Length of the file in bytes.
    pub page_len: u64,
    /// Where records must end at the latest, the seal included, in bytes.
    pub records_limit: u64,
    /// When the page was prepared: nanoseconds since 1970.
    pub created_ns: u64,
    /// The writer's start that prepared it.
    pub epoch: u32,
    /// Most entries its index can hold.
    pub index_capacity: u32,
    /// Zero.
    pub reserved: [u8; 36],
    /// CRC-32C of the 124 bytes before.
    pub checksum: u32,
}

crate::layout::describe! {
    RawPageHeader, "Page header", 128, {
        magic: 0, version: 8, header_len: 12, incompatible: 16, compatible: 24, ring_id: 32, page_id: 48,
        page_len: 56, records_limit: 64, created_ns: 72, epoch: 80, index_capacity: 84, reserved: 88,
        checksum: 124,
    }
}

/// A footer as it lies in the last 128 bytes of a sealed page; nothing about it is checked.
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

/// What is wrong with a page's header or footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PageFault {
    /// Fewer bytes than a header or footer.
    #[error("the file is too short to be a page ({len} bytes)")]
    TooShort {
        /// Bytes there are.
        len: u64,
    },
    /// Not a page at all.
    #[error("not a waldo page (wrong magic number)")]
    Magic,
    /// The page was taken out of the ring.
    #[error("the page has been trimmed from the ring")]
    Retired,
    /// Written by a newer version.
    #[error("page format version {found}, this program knows up to {known}: use a newer waldo")]
    Version {
        /// Stored version.
        found: u32,
        /// Highest version known.
        known: u32,
    },
    /// Uses features this version does not know.
    #[error("page uses unknown features {flags:#x}: use a newer waldo")]
    Incompatible {
        /// The unknown feature bits.
        flags: u64,
    },
    /// The checksum does not fit.
    #[error("checksum {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// Stored checksum.
        stored: u32,
        /// Computed checksum.
        computed: u32,
    },
    /// Belongs to another ring.
    #[error("the page belongs to another ring")]
    ForeignRing,
    /// Holds another page than its name says.
    #[error("the file holds page {found}, its name says {expected}")]
    WrongPage {
        /// Stored id.
        found: u64,
        /// Id that was looked for.
        expected: u64,
    },
    /// The file is not as long as its header says.
    #[error("the file is {actual} bytes long, its header says {stored}")]
    FileLen {
        /// Length in the header.
        stored: u64,
        /// Length of the file.
        actual: u64,
    },
    /// A length or offset that cannot be.
    #[error("{what} out of range")]
    Range {
        /// Which one.
        what: &'static str,
    },
}

/// Length of a page and of its parts. Made by [`PageGeometry::new`], so consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageGeometry {
    page_len: u64,
    index_capacity: u32,
}

impl PageGeometry {
    /// A page of `page_len` bytes (16 KiB to 2 GiB, a multiple of 4096) with room for `index_capacity`
    /// index entries (1 to 2^20). `None` if one is out of range or there is no room left for records.
    pub fn new(page_len: u64, index_capacity: u32) -> Option<PageGeometry> {
        let geometry = PageGeometry { page_len, index_capacity };
        let index_len = u64::from(index_capacity) * INDEX_ENTRY_LEN as u64;
        let fits = (PAGE_LEN_MIN..=PAGE_LEN_MAX).contains(&page_len)
            && page_len.is_multiple_of(4096)
            && (1..=INDEX_CAPACITY_MAX).contains(&index_capacity)
            && PAGE_HEADER_LEN as u64 + 2 * RECORD_HEADER_LEN as u64 + index_len + PAGE_FOOTER_LEN as u64
                <= page_len;
        fits.then_some(geometry)
    }

    /// Bytes of the file.
    pub fn page_len(&self) -> u64 {
        self.page_len
    }

    /// Most index entries.
    pub fn index_capacity(&self) -> u32 {
        self.index_capacity
    }

    /// Where records must end at the latest, the seal included.
    pub fn records_limit(&self) -> u64 {
        let tail = u64::from(self.index_capacity) * INDEX_ENTRY_LEN as u64 + PAGE_FOOTER_LEN as u64;
        (self.page_len - tail) & !(RECORD_ALIGN as u64 - 1)
    }

    /// Where the footer starts.
    pub fn footer_offset(&self) -> u64 {
        self.page_len - PAGE_FOOTER_LEN as u64
    }

    /// Serialized size of the largest record that fits into an empty page, leaving room for the seal.
    pub fn record_size_max(&self) -> u64 {
        self.records_limit() - PAGE_HEADER_LEN as u64 - RECORD_HEADER_LEN as u64
    }
}

/// A page header that has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHeader {
    raw: RawPageHeader,
    geometry: PageGeometry,
}

impl PageHeader {
    /// The header of a new page.
    pub fn new(
        ring_id: RingId,
        page_id: u64,
        geometry: PageGeometry,
        epoch: u32,
        created_ns: u64,
    ) -> PageHeader {
        let mut raw = RawPageHeader {
            magic: PAGE_MAGIC,
            version: crate::FORMAT_VERSION,
            header_len: PAGE_HEADER_LEN as u32,
            incompatible: 0,
            compatible: 0,
            ring_id,
            page_id,
            page_len: geometry.page_len,
            records_limit: geometry.records_limit(),
            created_ns,
            epoch,
            index_capacity: geometry.index_capacity,
            reserved: [0; 36],
            checksum: 0,
        };
        raw.checksum = plain(&raw.as_bytes()[..124]);
        PageHeader { raw, geometry }
    }

    /// The bytes to write at the start of the file.
    pub fn as_bytes(&self) -> &[u8] {
        self.raw.as_bytes()
    }

    /// The bytes that say "this is no page any more".
    pub fn retired_bytes() -> [u8; 128] {
        let mut bytes = [0; 128];
        bytes[..8].copy_from_slice(&PAGE_MAGIC_RETIRED);
        bytes
    }

    /// Checks the first bytes of a file of `file_len` bytes that should be page `page_id` of `ring_id`.
    ///
    /// # Errors
    /// The first thing that is wrong, from "not a page" to "one field out of range".
    pub fn check(
        bytes: &[u8],
        file_len: u64,
        ring_id: &RingId,
        page_id: u64,
    ) -> Result<PageHeader, PageFault> {
        let header = PageHeader::check_any(bytes, file_len)?;
        if header.raw.ring_id != *ring_id {
            return Err(PageFault::ForeignRing);
        }
        if header.raw.page_id != page_id {
            return Err(PageFault::WrongPage { found: header.raw.page_id, expected: page_id });
        }
        Ok(header)
    }

    /// Like [`PageHeader::check`], for whichever page of whichever ring it is.
    ///
    /// # Errors
    /// As [`PageHeader::check`].
    pub fn check_any(bytes: &[u8], file_len: u64) -> Result<PageHeader, PageFault> {
        let (raw, _) =
            RawPageHeader::read_from_prefix(bytes).map_err(|_| PageFault::TooShort { len: file_len })?;
        match raw.magic {
            PAGE_MAGIC => {}
            PAGE_MAGIC_RETIRED => return Err(PageFault::Retired),
            _ => return Err(PageFault::Magic),
        }
        // The version comes before the checksum: a later version may move it.
        if raw.version != crate::FORMAT_VERSION {
            return Err(PageFault::Version { found: raw.version, known: crate::FORMAT_VERSION });
        }
        let computed = plain(&raw.as_bytes()[..124]);
        if computed != raw.checksum {
            return Err(PageFault::Checksum { stored: raw.checksum, computed });
        }
        if raw.incompatible != 0 {
            return Err(PageFault::Incompatible { flags: raw.incompatible });
        }
        let geometry = PageGeometry::new(raw.page_len, raw.index_capacity)
            .ok_or(PageFault::Range { what: "page length or index capacity" })?;
        if raw.header_len as usize != PAGE_HEADER_LEN || raw.records_limit != geometry.records_limit() {
            return Err(PageFault::Range { what: "header length or records limit" });
        }
        if raw.page_id == 0 || raw.page_id > PAGE_ID_MAX {
            return Err(PageFault::Range { what: "page id" });
        }
        if raw.page_len != file_len {
            return Err(PageFault::FileLen { stored: raw.page_len, actual: file_len });
        }
        Ok(PageHeader { raw, geometry })
    }

    /// Lengths.
    pub fn geometry(&self) -> PageGeometry {
        self.geometry
    }

    /// The fields, all of them checked.
    pub fn fields(&self) -> &RawPageHeader {
        &self.raw
    }
}

/// A footer that has been checked against its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFooter(RawPageFooter);

/// What a page was found or written to hold; the substance of its footer.
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

/// A count of records that is not known.
pub const RECORDS_UNKNOWN: u64 = u64::MAX;

impl PageFooter {
    /// The footer of a sealed page with at least one record.
    pub fn new(header: &PageHeader, summary: &PageSummary, index: &[IndexEntry]) -> PageFooter {
        let mut raw = RawPageFooter {
            magic: FOOTER_MAGIC,
            page_id: header.raw.page_id,
            ring_id: header.raw.ring_id,
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
    /// [`PageFault::Magic`] if there is no footer (the page was never sealed), otherwise what is wrong with it.
    pub fn check(bytes: &[u8], header: &PageHeader) -> Result<PageFooter, PageFault> {
        let (raw, _) = RawPageFooter::read_from_prefix(bytes)
            .map_err(|_| PageFault::TooShort { len: bytes.len() as u64 })?;
        // The footer of an earlier page in the same file counts as none.
        if raw.magic != FOOTER_MAGIC || raw.page_id != header.raw.page_id || raw.ring_id != header.raw.ring_id
        {
            return Err(PageFault::Magic);
        }
        let computed = plain(&raw.as_bytes()[..124]);
        if computed != raw.checksum {
            return Err(PageFault::Checksum { stored: raw.checksum, computed });
        }
        let first = PAGE_HEADER_LEN as u64 + RECORD_HEADER_LEN as u64;
        let last = header.raw.records_limit - RECORD_HEADER_LEN as u64;
        if !(first..=last).contains(&raw.records_end) || !raw.records_end.is_multiple_of(RECORD_ALIGN as u64)
        {
            return Err(PageFault::Range { what: "end of records" });
        }
        if raw.index_len > header.raw.index_capacity || raw.index_len == 0 {
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
    /// [`PageFault::Checksum`] if they are not what the footer says, [`PageFault::Range`] if an entry points
    /// outside the records or the entries are out of order.
    pub fn check_index(&self, bytes: &[u8]) -> Result<Vec<IndexEntry>, PageFault> {
        let computed = plain(bytes);
        if computed != self.0.index_checksum {
            return Err(PageFault::Checksum { stored: self.0.index_checksum, computed });
        }
        let entries: Vec<IndexEntry> = bytes
            .chunks_exact(INDEX_ENTRY_LEN)
            .filter_map(|chunk| IndexEntry::read_from_bytes(chunk).ok())
            .collect();
        let ordered = entries.windows(2).all(|w| w[0].seq_no < w[1].seq_no && w[0].offset < w[1].offset);
        let inside = entries.iter().all(|e| {
            e.offset >= PAGE_HEADER_LEN as u64
                && e.offset < self.0.records_end
                && e.offset.is_multiple_of(RECORD_ALIGN as u64)
        });
        if entries.len() != self.0.index_len as usize || !ordered || !inside {
            return Err(PageFault::Range { what: "index entries" });
        }
        Ok(entries)
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

    /// Entries in the index.
    pub fn index_len(&self) -> u32 {
        self.0.index_len
    }
}

#[cfg(test)]
mod tests;
