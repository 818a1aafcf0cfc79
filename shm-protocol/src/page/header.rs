//! The header: which page of which ring a file is, and its geometry.

use super::{PageFault, PageGeometry};
use crate::RingId;
use crate::checksum::plain;
use crate::limits::*;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First eight bytes of a page file.
pub const PAGE_MAGIC: [u8; 8] = *b"WALDOPG\n";
/// First eight bytes of a page that has been taken out of the ring and must not be read any more.
pub const PAGE_MAGIC_RETIRED: [u8; 8] = *b"WALDOXX\n";

/// A page header as read from the start of the file, unchecked.
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

/// A page header that has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHeader {
    pub(super) raw: RawPageHeader,
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
            page_len: geometry.page_len(),
            records_limit: geometry.records_limit(),
            created_ns,
            epoch,
            index_capacity: geometry.index_capacity(),
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

    /// The header of a file that is no longer a page.
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
