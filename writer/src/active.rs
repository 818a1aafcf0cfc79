//! The page that is being written: where the next record goes, and what the page holds so far.

use crate::options::WriterOptions;
use crate::page::Page;
use std::sync::Arc;
use waldo_shm_protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo_shm_protocol::page::{IndexEntry, PageSummary};
use waldo_shm_protocol::record::{RecordNumbers, Stamp};
use waldo_shm_protocol::segment::PageInfo;

pub(crate) struct ActivePage {
    pub(crate) page: Arc<Page>,
    /// Where the next record goes.
    pub(crate) offset: u64,
    pub(crate) summary: PageSummary,
    pub(crate) index: Vec<IndexEntry>,
    /// Up to where records may reach, in bytes; the seal then still fits.
    limit: u64,
    index_capacity: usize,
    bytes_since_entry: usize,
    records_since_entry: usize,
}

/// How much can be copied into the page before anything else has to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Bytes up to the end of the page.
    pub(crate) bytes: usize,
    /// The record that starts this many bytes on, or further, gets an index entry.
    pub(crate) index_bytes: usize,
    /// Records until the next one gets an index entry, or does not fit the page.
    pub(crate) records: usize,
}

impl ActivePage {
    /// An empty page; `records_before` counts the records appended to the ring before it.
    pub(crate) fn empty(page: Arc<Page>, records_before: u64, epoch: u32) -> ActivePage {
        let offset = PAGE_HEADER_LEN as u64;
        let summary = PageSummary { records_before, epoch, records_end: offset, ..PageSummary::default() };
        ActivePage::resumed(page, summary, Vec::new())
    }

    /// A page that holds records already.
    pub(crate) fn resumed(page: Arc<Page>, summary: PageSummary, index: Vec<IndexEntry>) -> ActivePage {
        ActivePage {
            limit: page.header.fields().records_limit - RECORD_HEADER_LEN as u64,
            index_capacity: page.header.geometry().index_capacity() as usize,
            offset: summary.records_end,
            page,
            summary,
            index,
            bytes_since_entry: 0,
            records_since_entry: 0,
        }
    }

    /// Whether a record of `size` bytes fits and still leaves room for the seal.
    #[inline]
    pub(crate) fn has_room(&self, size: usize, records_max: u64) -> bool {
        self.offset + size as u64 <= self.limit && self.summary.records < records_max
    }

    /// How much can be put one after the other without checking the page in between.
    #[inline]
    pub(crate) fn room(&self, options: &WriterOptions) -> Room {
        if self.summary.records == 0 {
            // The first record is entered into the directory.
            return Room { bytes: 0, index_bytes: 0, records: 0 };
        }
        let (index_bytes, index_records) = match self.index.len() < self.index_capacity {
            true => (
                options.index_sparse_bytes.saturating_sub(self.bytes_since_entry),
                options.index_sparse_count.saturating_sub(self.records_since_entry),
            ),
            false => (usize::MAX, usize::MAX),
        };
        let records = options.page_records_max.saturating_sub(self.summary.records);
        Room {
            bytes: usize::try_from(self.limit.saturating_sub(self.offset)).unwrap_or(usize::MAX),
            index_bytes,
            records: index_records.min(usize::try_from(records).unwrap_or(usize::MAX)),
        }
    }

    /// Counts `records` records of `bytes` bytes altogether, put within [`ActivePage::room`].
    #[inline]
    pub(crate) fn count_run(&mut self, records: usize, bytes: usize, last_seq_no: u64, stamp: Stamp) {
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(bytes);
        self.records_since_entry += records;
        self.summary.records += records as u64;
        self.summary.last_seq_no = last_seq_no;
        self.summary.last_time_ns = stamp.time_ns;
        // A page taken over from the writer before carries that one's.
        self.summary.epoch = stamp.epoch;
        self.offset += bytes as u64;
        self.summary.records_end = self.offset;
    }

    /// Counts a record of `size` bytes that was put at `offset`. Returns an index entry for the record, if it
    /// gets one.
    #[inline]
    pub(crate) fn count(
        &mut self,
        numbers: RecordNumbers,
        stamp: Stamp,
        size: usize,
        options: &WriterOptions,
    ) -> Option<IndexEntry> {
        let first = self.summary.records == 0;
        let due = first
            || self.bytes_since_entry >= options.index_sparse_bytes
            || self.records_since_entry >= options.index_sparse_count;
        let entry = (due && self.index.len() < self.index_capacity).then_some(IndexEntry {
            seq_no: numbers.seq_no,
            time_ns: stamp.time_ns,
            offset: self.offset,
        });
        if first {
            self.summary.first_seq_no = numbers.seq_no;
            self.summary.prev_seq_no = numbers.prev_seq_no;
            self.summary.first_time_ns = stamp.time_ns;
        }
        if let Some(entry) = entry {
            self.index.push(entry);
            self.bytes_since_entry = 0;
            self.records_since_entry = 0;
        }
        self.count_run(1, size, numbers.seq_no, stamp);
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

#[cfg(test)]
mod tests;
