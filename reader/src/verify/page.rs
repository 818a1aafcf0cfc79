//! One page, walked from its first record to its end.

use super::{Damage, VerifyError};
use crate::source::files::survey::Bytes;
use std::fs::File;
use std::path::Path;
use waldo_shm_protocol::limits::{INDEX_ENTRY_LEN, PAGE_FOOTER_LEN};
use waldo_shm_protocol::page::{IndexEntry, PageFault, PageFooter, PageHeader, PageSummary};
use waldo_shm_protocol::record::{RecordFault, Seal};
use waldo_shm_protocol::recovery::{PageBytes, Sparse};
use waldo_shm_protocol::scan::{PageScan, PayloadCheck, Step, WINDOW_MIN};

const WINDOW: usize = 4 * WINDOW_MIN;

/// How a page ends.
pub(super) enum End {
    Seal(Seal),
    /// Where the running writer had got to.
    Live,
    Fault(RecordFault),
}

/// A walk through a page file.
pub(super) struct PageWalk<'a> {
    file: Sparse<Bytes<&'a File>>,
    path: &'a Path,
    header: &'a PageHeader,
    scan: PageScan,
    /// Where to end, if not at the seal.
    end: Option<u64>,
    /// The index, as far as it can be read without trusting it; records are struck off as they are met.
    index: Vec<IndexEntry>,
    /// Entries met so far.
    met: usize,
    pub(super) payload_bytes: u64,
}

impl<'a> PageWalk<'a> {
    pub(super) fn new(
        file: &'a File,
        path: &'a Path,
        header: &'a PageHeader,
        (prev, epoch): (Option<u64>, u32),
        end: Option<u64>,
    ) -> PageWalk<'a> {
        let scan = PageScan::new(header, prev, epoch, PayloadCheck::Verify);
        let mut walk = PageWalk {
            file: Sparse::new(Bytes(file)),
            path,
            header,
            scan,
            end,
            index: Vec::new(),
            met: 0,
            payload_bytes: 0,
        };
        if let Ok(footer) = walk.footer() {
            walk.index = walk.read_index(&footer).unwrap_or_default();
        }
        walk
    }

    pub(super) fn summary(&self) -> &PageSummary {
        self.scan.summary()
    }

    pub(super) fn offset(&self) -> u64 {
        self.scan.offset()
    }

    pub(super) fn footer_offset(&self) -> u64 {
        self.header.geometry().footer_offset()
    }

    /// Where reading ends at the latest.
    fn limit(&self) -> u64 {
        let limit = self.header.fields().records_limit;
        self.end.map_or(limit, |end| end.min(limit))
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<usize, VerifyError> {
        self.file
            .read_up_to(bytes, offset)
            .map_err(|source| VerifyError::Io { path: self.path.to_path_buf(), source })
    }

    /// Walks to the end, and calls `on_window` with the offset now and then.
    pub(super) fn run(&mut self, mut on_window: impl FnMut(u64)) -> Result<End, VerifyError> {
        let mut window = vec![0; usize::try_from(self.limit()).unwrap_or(WINDOW).min(WINDOW)];
        loop {
            let start = self.scan.offset();
            on_window(start);
            let want =
                usize::try_from(self.limit().saturating_sub(start)).unwrap_or(WINDOW).min(window.len());
            let got = self.read(&mut window[..want], start)?;
            loop {
                if self.end.is_some_and(|end| self.scan.offset() >= end) {
                    return Ok(End::Live);
                }
                match self.scan.step(&window[..got], start) {
                    Step::Record { offset, record } => {
                        self.payload_bytes += record.payload_len() as u64;
                        let next = self.index.get(self.met);
                        let entry = IndexEntry { seq_no: record.seq_no(), time_ns: record.time_ns(), offset };
                        self.met += usize::from(next == Some(&entry));
                    }
                    Step::Seal { seal, .. } => return Ok(End::Seal(seal)),
                    Step::Fault { fault, .. } => return Ok(End::Fault(fault)),
                    Step::More { offset } if offset > start => break,
                    // A whole window, and not one record in it: the file got shorter while it was read.
                    Step::More { .. } => return Ok(End::Fault(RecordFault::NoRoom { room: got as u64 })),
                }
            }
        }
    }

    pub(super) fn footer(&self) -> Result<PageFooter, PageFault> {
        let mut bytes = [0; PAGE_FOOTER_LEN];
        let got = self.read(&mut bytes, self.footer_offset()).unwrap_or(0);
        PageFooter::check(&bytes[..got], self.header)
    }

    fn read_index(&self, footer: &PageFooter) -> Result<Vec<IndexEntry>, PageFault> {
        let (start, len) = footer.index_range(&self.header.geometry());
        let mut bytes = vec![0; len];
        let got = self.read(&mut bytes, start).unwrap_or(0);
        footer.check_index(&bytes[..got])
    }

    /// Has every index entry been met?
    pub(super) fn check_index(&self, footer: &PageFooter) -> Result<(), (u64, Damage)> {
        let (start, _) = footer.index_range(&self.header.geometry());
        let index = self.read_index(footer).map_err(|fault| (start, Damage::Index(fault)))?;
        match index.get(self.met) {
            None => Ok(()),
            Some(entry) => Err((
                start + (self.met * INDEX_ENTRY_LEN) as u64,
                Damage::IndexEntry { seq_no: entry.seq_no, offset: entry.offset },
            )),
        }
    }
}
