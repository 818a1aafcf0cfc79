//! One page, walked from its first record to its end.

use super::VerifyError;
use crate::source::files::survey::Bytes;
use std::fs::File;
use std::io;
use std::path::Path;
use waldo_shm_protocol::page::{PageHeader, PageSummary};
use waldo_shm_protocol::record::RecordFault;
use waldo_shm_protocol::recovery::{PageBytes, PageTail, Sparse, WalkedPage};
use waldo_shm_protocol::scan::{PageScan, PayloadCheck, Step, WINDOW_MIN};

const WINDOW: usize = 4 * WINDOW_MIN;

/// How a page ends.
pub(super) enum End {
    Seal,
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
    /// Epoch of the first record.
    epoch_first: u32,
    tail: PageTail,
    pub(super) payload_bytes: u64,
}

impl<'a> PageWalk<'a> {
    pub(super) fn new(
        file: &'a File,
        path: &'a Path,
        header: &'a PageHeader,
        (prev, epoch): (Option<u64>, u32),
        end: Option<u64>,
    ) -> Result<PageWalk<'a>, VerifyError> {
        let file = Sparse::new(Bytes(file));
        let tail = PageTail::read(&file, header).map_err(|source| unreadable(path, source))?;
        let scan = PageScan::new(header, prev, epoch, PayloadCheck::Verify);
        Ok(PageWalk { file, path, header, scan, end, epoch_first: 0, tail, payload_bytes: 0 })
    }

    pub(super) fn summary(&self) -> &PageSummary {
        self.scan.summary()
    }

    pub(super) fn offset(&self) -> u64 {
        self.scan.offset()
    }

    /// Where the footer says that the records end.
    pub(super) fn said_end(&self) -> Option<u64> {
        self.tail.records_end()
    }

    /// What has been found, for the check.
    pub(super) fn walked(&self, fault: Option<RecordFault>) -> WalkedPage {
        WalkedPage::new(self.header, &self.tail, self.summary(), self.epoch_first, fault)
    }

    /// Where reading ends at the latest.
    fn limit(&self) -> u64 {
        let limit = self.header.fields().records_limit;
        self.end.map_or(limit, |end| end.min(limit))
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<usize, VerifyError> {
        self.file.read_up_to(bytes, offset).map_err(|source| unreadable(self.path, source))
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
                        if self.scan.summary().records == 1 {
                            self.epoch_first = record.epoch();
                        }
                        self.tail.meet(offset, &record);
                    }
                    Step::Seal { .. } => return Ok(End::Seal),
                    Step::Fault { fault, .. } => return Ok(End::Fault(fault)),
                    Step::More { offset } if offset > start => break,
                    // A whole window, and not one record in it: the file got shorter while it was read.
                    Step::More { .. } => return Ok(End::Fault(RecordFault::NoRoom { room: got as u64 })),
                }
            }
        }
    }
}

fn unreadable(path: &Path, source: io::Error) -> VerifyError {
    VerifyError::Io { path: path.to_path_buf(), source }
}
