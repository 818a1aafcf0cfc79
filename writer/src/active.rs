//! The page that is being written: where the next record goes and what stands in it so far.

use crate::options::WriterOptions;
use crate::page::Page;
use std::sync::Arc;
use waldo_shm_protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo_shm_protocol::page::{IndexEntry, PageSummary};
use waldo_shm_protocol::segment::PageInfo;

pub(crate) struct ActivePage {
    pub(crate) page: Arc<Page>,
    /// Where the next record goes.
    pub(crate) offset: u64,
    pub(crate) summary: PageSummary,
    pub(crate) index: Vec<IndexEntry>,
    bytes_since_entry: usize,
    records_since_entry: usize,
}

impl ActivePage {
    /// An empty page; `records_before` counts the records appended to the ring before it.
    pub(crate) fn empty(page: Arc<Page>, records_before: u64, epoch: u32) -> ActivePage {
        let offset = PAGE_HEADER_LEN as u64;
        let summary = PageSummary { records_before, epoch, records_end: offset, ..PageSummary::default() };
        ActivePage { page, offset, summary, index: Vec::new(), bytes_since_entry: 0, records_since_entry: 0 }
    }

    /// A page that holds records already.
    pub(crate) fn resumed(page: Arc<Page>, summary: PageSummary, index: Vec<IndexEntry>) -> ActivePage {
        ActivePage {
            page,
            offset: summary.records_end,
            summary,
            index,
            bytes_since_entry: 0,
            records_since_entry: 0,
        }
    }

    /// Whether a record of `size` bytes fits and still leaves room for the seal.
    #[inline]
    pub(crate) fn has_room(&self, size: usize, records_max: u64) -> bool {
        self.offset + size as u64 + RECORD_HEADER_LEN as u64 <= self.page.header.fields().records_limit
            && self.summary.records < records_max
    }

    /// Counts a record of `size` bytes that was put at `offset`. Returns the index entry it begins, if it does.
    #[inline]
    pub(crate) fn count(
        &mut self,
        seq: (u64, u64),
        time_ns: u64,
        size: usize,
        options: &WriterOptions,
    ) -> Option<IndexEntry> {
        let first = self.summary.records == 0;
        let due = first
            || self.bytes_since_entry >= options.index_sparse_bytes
            || self.records_since_entry >= options.index_sparse_count;
        let room = self.index.len() < self.page.header.geometry().index_capacity() as usize;
        let entry = (due && room).then_some(IndexEntry { seq_no: seq.0, time_ns, offset: self.offset });
        if first {
            self.summary.first_seq_no = seq.0;
            self.summary.prev_seq_no = seq.1;
            self.summary.first_time_ns = time_ns;
        }
        if let Some(entry) = entry {
            self.index.push(entry);
            self.bytes_since_entry = 0;
            self.records_since_entry = 0;
        }
        self.bytes_since_entry += size;
        self.records_since_entry += 1;
        self.summary.records += 1;
        self.summary.last_seq_no = seq.0;
        self.summary.last_time_ns = time_ns;
        self.offset += size as u64;
        self.summary.records_end = self.offset;
        entry
    }

    /// The page's entry in the directory, while it is being written.
    pub(crate) fn info(&self) -> PageInfo {
        PageInfo {
            page_id: self.page.id,
            first_seq_no: self.summary.first_seq_no,
            prev_seq_no: self.summary.prev_seq_no,
            first_time_ns: self.summary.first_time_ns,
            records_before: self.summary.records_before,
            page_len: self.page.header.geometry().page_len(),
            ..PageInfo::default()
        }
    }
}
