//! Reading one page for a copy: from beginning to end, checked, and with zeros for the parts that are not
//! final yet.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use waldo::protocol::limits::{PAGE_FOOTER_LEN, PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo::protocol::page::{PageFooter, PageHeader, PageSummary};
use waldo::protocol::scan::{PageScan, PayloadCheck, Step, WINDOW_MIN};

/// Bytes of records that are read at a time.
const WINDOW: usize = 2 * WINDOW_MIN;

/// Gives the bytes of the page's copy.
///
/// Records are checked before they are given. The footer and the index are written some time after the page
/// is complete: they are given if they are there and describe the page, and are blank otherwise, which
/// every program takes for a page whose footer a crash has kept from the disk.
pub struct PageReader {
    path: PathBuf,
    file: File,
    header: PageHeader,
    scan: PageScan,
    /// Where the copy of this page ends; `None` if that is its seal.
    end: Option<u64>,
    /// Bytes of the page from `start` on.
    window: Vec<u8>,
    start: u64,
    /// Of them, those up to here in the page may be given: they are checked.
    good: u64,
    /// The next byte to be given.
    at: u64,
    /// The end of the records has been reached.
    complete: bool,
    /// The bytes at the end of the page, the index first.
    tail: Vec<u8>,
}

impl PageReader {
    /// The page in `file`. `before` names the last record of the page before, and its epoch.
    pub fn new(
        path: PathBuf,
        file: File,
        header: PageHeader,
        before: Option<(u64, u32)>,
        end: Option<u64>,
    ) -> PageReader {
        let (seq_no, epoch) = before.unzip();
        let scan = PageScan::new(&header, seq_no, epoch.unwrap_or(0), PayloadCheck::Verify);
        PageReader {
            path,
            file,
            header,
            scan,
            end,
            window: Vec::new(),
            start: 0,
            good: 0,
            at: 0,
            complete: false,
            tail: Vec::new(),
        }
    }

    /// The page's id.
    pub fn id(&self) -> u64 {
        self.header.fields().page_id
    }

    /// Bytes that it gives altogether.
    pub fn len(&self) -> u64 {
        self.header.fields().page_len
    }

    /// What it holds, once it has been read to its end.
    pub fn summary(&self) -> &PageSummary {
        self.scan.summary()
    }

    /// Checks more records, and has them ready to be given.
    fn advance(&mut self) -> io::Result<()> {
        let from = if self.good == 0 { 0 } else { self.scan.offset() };
        let end = self.end.unwrap_or(self.header.fields().records_limit);
        let room = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX).min(WINDOW);
        self.window.resize(room, 0);
        self.file.read_exact_at(&mut self.window, from)?;
        self.start = from;
        loop {
            if self.end == Some(self.scan.offset()) {
                self.good = self.scan.offset();
                self.complete = true;
                return Ok(());
            }
            match self.scan.step(&self.window, self.start) {
                Step::Record { .. } => {}
                Step::Seal { offset, .. } => {
                    self.good = offset + RECORD_HEADER_LEN as u64;
                    self.complete = true;
                    return self.read_tail();
                }
                Step::More { offset } if offset > from.max(PAGE_HEADER_LEN as u64) || self.good == 0 => {
                    self.good = offset;
                    return Ok(());
                }
                Step::More { offset } => return Err(self.damage(offset, "a record that does not end")),
                Step::Fault { offset, fault } => return Err(self.damage(offset, fault)),
            }
        }
    }

    fn damage(&self, offset: u64, what: impl std::fmt::Display) -> io::Error {
        let after = self.scan.summary().last_seq_no;
        io::Error::other(format!(
            "{}: page {}, offset {offset}, after record {after}: {what}; `waldo verify` tells the extent",
            self.path.display(),
            self.id()
        ))
    }

    /// Index and footer, if they are complete.
    fn read_tail(&mut self) -> io::Result<()> {
        let geometry = self.header.geometry();
        let mut bytes = vec![0; PAGE_FOOTER_LEN];
        self.file.read_exact_at(&mut bytes, geometry.footer_offset())?;
        let Ok(footer) = PageFooter::check(&bytes, &self.header) else { return Ok(()) };
        let (at, len) = footer.index_range(&geometry);
        let mut index = vec![0; len];
        self.file.read_exact_at(&mut index, at)?;
        let (said, found) = (footer.summary(), self.scan.summary());
        let agrees = PageSummary { records_before: found.records_before, ..said } == *found;
        if agrees && footer.check_index(&index).is_ok() {
            index.append(&mut bytes);
            self.tail = index;
        }
        Ok(())
    }
}

impl Read for PageReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.good && !self.complete {
            self.advance()?;
        }
        let tail_at = self.len() - self.tail.len() as u64;
        let (bytes, limit) = if self.at < self.good {
            let skip = usize::try_from(self.at - self.start).unwrap_or(usize::MAX);
            (self.window.get(skip..).unwrap_or_default(), self.good)
        } else if self.at < tail_at {
            (&[][..], tail_at)
        } else {
            let skip = usize::try_from(self.at - tail_at).unwrap_or(usize::MAX);
            (self.tail.get(skip..).unwrap_or_default(), self.len())
        };
        let left = usize::try_from(limit - self.at).unwrap_or(usize::MAX);
        let len = left.min(out.len());
        if self.at >= self.good && self.at < tail_at {
            out[..len].fill(0);
        } else {
            out[..len].copy_from_slice(bytes.get(..len).ok_or(io::ErrorKind::UnexpectedEof)?);
        }
        self.at += len as u64;
        Ok(len)
    }
}
