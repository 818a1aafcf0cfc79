//! A log whose end has been lost.

use super::{Forge, RING, size};
use std::fs::OpenOptions;
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;
use waldo_shm_protocol::page::{IndexEntry, PageHeader, PageSummary};

impl Forge {
    /// Makes the log end with its first `keep` records, at least one of which is in the ring, as recovery
    /// does after a crash of the machine: later pages are removed, and what follows in the page of the last
    /// record is zero. That page is another file afterwards. Publishes nothing.
    pub(crate) fn cut(&mut self, keep: usize) {
        self.log.truncate(keep);
        let last = self.log.last().unwrap().clone();
        assert!(last.page >= self.oldest);
        for id in last.page + 1..=self.page {
            std::fs::remove_file(self.page_path(id)).unwrap();
        }
        let path = self.page_path(last.page);
        let end = last.offset + size(last.data.len());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[end as usize..].fill(0);
        let scratch = self.home().join("scratch-cut");
        std::fs::write(&scratch, &bytes).unwrap();
        std::fs::rename(&scratch, &path).unwrap();
        self.file = Some(OpenOptions::new().read(true).write(true).open(&path).unwrap());
        let len = bytes.len() as u64;
        self.header = Some(PageHeader::check(&bytes[..PAGE_HEADER_LEN], len, &RING, last.page).unwrap());
        self.page = last.page;
        let first = self.log.partition_point(|e| e.page < last.page);
        let entries = &self.log[first..];
        self.summary = PageSummary {
            first_seq_no: entries[0].seq,
            prev_seq_no: entries[0].prev,
            first_time_ns: entries[0].time,
            records: entries.len() as u64,
            records_before: first as u64,
            records_end: end,
            last_seq_no: last.seq,
            last_time_ns: last.time,
            epoch: self.epoch,
        };
        self.index = entries
            .iter()
            .step_by(self.index_every as usize)
            .take(32)
            .map(|e| IndexEntry { seq_no: e.seq, time_ns: e.time, offset: e.offset })
            .collect();
        self.enter(last.page);
    }
}
