//! The length of a page, and the offsets of its parts.

use crate::limits::*;

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
