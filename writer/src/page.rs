//! A page file that the writer has open, and how a page is made.

use crate::clock;
use crate::disk::{Allocation, Disk, DiskFile, FileRights};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;
use waldo_shm_protocol::page::{IndexEntry, PageFooter, PageGeometry, PageHeader, PageSummary};
use waldo_shm_protocol::{PageSeed, RingId, names};
use zerocopy::IntoBytes;

/// An open page.
pub(crate) struct Page {
    pub(crate) id: u64,
    pub(crate) header: PageHeader,
    pub(crate) seed: PageSeed,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where the first byte stands that was never written: blocks are reserved there, and no more. Only the
    /// thread that appends moves it; others take it for a hint.
    unwritten: AtomicU64,
}

impl Page {
    fn new(header: PageHeader, file: Arc<dyn DiskFile>) -> Page {
        let fields = header.fields();
        let seed = PageSeed::new(&fields.ring_id, fields.page_id);
        Page { id: fields.page_id, header, seed, file, unwritten: AtomicU64::new(u64::MAX) }
    }

    /// Opens the page that has this header.
    pub(crate) fn open(disk: &dyn Disk, header: PageHeader) -> io::Result<Page> {
        Ok(Page::new(header, disk.open(&names::page(header.fields().page_id))?))
    }

    /// Takes over a page that an earlier writer has made, in which the log continues at `end`. A copy of a
    /// ring may have holes where the original had blocks.
    pub(crate) fn taken_up(self, end: u64) -> Page {
        if let Err(error) = self.file.allocate(self.header.geometry().page_len()) {
            tracing::warn!(
                "page {}: its blocks cannot be reserved, so appends may meet a full disk: {error}",
                self.id
            );
        }
        // If the file system does not say, appends get no zeros ahead of them.
        self.set_unwritten(self.file.next_unwritten(end).unwrap_or(u64::MAX));
        self
    }

    /// Offset from which nothing was ever written, except index and footer.
    #[inline]
    pub(crate) fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }

    pub(crate) fn set_unwritten(&self, offset: u64) {
        self.unwritten.store(offset, Ordering::Relaxed);
    }

    /// Writes index and footer after the records.
    pub(crate) fn write_footer(&self, summary: &PageSummary, index: &[IndexEntry]) -> io::Result<()> {
        let footer = PageFooter::new(&self.header, summary, index);
        let geometry = self.header.geometry();
        let (index_at, _) = footer.index_range(&geometry);
        let mut bytes = Vec::with_capacity(index.as_bytes().len() + footer.as_bytes().len());
        bytes.extend_from_slice(index.as_bytes());
        bytes.extend_from_slice(footer.as_bytes());
        self.file.write_all_at(&bytes, index_at)
    }
}

/// The properties that all new pages of a ring share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageTemplate {
    pub(crate) ring_id: RingId,
    pub(crate) geometry: PageGeometry,
    pub(crate) epoch: u32,
    pub(crate) rights: FileRights,
    /// Whether a page must be durable, name and all, before it is used.
    pub(crate) durable: bool,
}

/// Zeros are written in pieces of this size: it decides the size of the page cache's folios, and with it what
/// a flush and a mapping cost (64 to 256 KiB is best on ext4, see docs/PERFORMANCE.md).
const ZERO_PIECE: usize = 256 * 1024;

impl PageTemplate {
    fn header(&self, id: u64) -> PageHeader {
        PageHeader::new(self.ring_id, id, self.geometry, self.epoch, clock::realtime_ns())
    }

    /// Makes a fresh page `id`.
    pub(crate) fn fresh(&self, disk: &dyn Disk, id: u64) -> io::Result<Page> {
        self.name(disk, id, self.blank(disk, id)?)
    }

    /// Makes a file that can become a page. Its blocks are reserved, so that a full disk shows now; they are
    /// filled as the log reaches them. `number` distinguishes the file from other blank files.
    pub(crate) fn blank(&self, disk: &dyn Disk, number: u64) -> io::Result<Blank> {
        let scratch = format!("{}fresh-{number:016x}", names::SCRATCH_PREFIX);
        let file = disk.create(&scratch, self.rights)?;
        let blank = Blank { scratch, file, recycled: false, unwritten: u64::MAX };
        let reserved = match blank.file.allocate(self.geometry.page_len()) {
            Ok(Allocation::Reserved) => Ok(PAGE_HEADER_LEN as u64),
            // Then the zeros take the room.
            Ok(Allocation::LengthOnly) => self.zero(&*blank.file).map(|()| u64::MAX),
            Err(error) => Err(error),
        };
        match reserved {
            Ok(unwritten) => Ok(Blank { unwritten, ..blank }),
            Err(error) => {
                blank.discard(disk);
                Err(error)
            }
        }
    }

    fn zero(&self, file: &dyn DiskFile) -> io::Result<()> {
        let len = self.geometry.page_len();
        let zeros = vec![0; ZERO_PIECE];
        let mut at = 0;
        while at < len {
            let piece = (len - at).min(ZERO_PIECE as u64) as usize;
            file.write_all_at(&zeros[..piece], at)?;
            at += piece as u64;
        }
        // Flush now, while no append waits: naming the page then has to flush only the header.
        if self.durable { file.sync_data() } else { Ok(()) }
    }

    /// Rewrites with zeros, in large folios, the parts of a retired page that were evicted from the page
    /// cache. Otherwise the first small append to each 4 KiB would wait until those have been read from the
    /// disk, and they would come back in folios of 4 KiB (docs/PERFORMANCE.md has the figures). Returns the
    /// offset of the first byte that was never written; the bytes from there on are left to the log. Only for
    /// a file that no other process has.
    pub(crate) fn rezero(&self, file: &dyn DiskFile) -> io::Result<u64> {
        file.allocate(self.geometry.page_len())?;
        let unwritten = file.next_unwritten(PAGE_HEADER_LEN as u64)?;
        let len = unwritten.min(self.geometry.page_len());
        if file.cached(0, len)? {
            return Ok(unwritten);
        }
        let mut piece = vec![0; ZERO_PIECE];
        // A process may still find this file under its old name.
        let retired = PageHeader::retired_bytes();
        piece[..retired.len()].copy_from_slice(&retired);
        for at in (0..len).step_by(ZERO_PIECE) {
            let piece_len = (len - at).min(ZERO_PIECE as u64);
            if !file.cached(at, piece_len)? {
                file.write_all_at(&piece[..piece_len as usize], at)?;
            }
            piece[..retired.len()].fill(0);
        }
        if self.durable {
            file.sync_data()?;
        }
        Ok(unwritten)
    }

    /// Makes page `id` out of `blank`. If that fails, the file is removed, because half a page is of no use.
    pub(crate) fn name(&self, disk: &dyn Disk, id: u64, blank: Blank) -> io::Result<Page> {
        let header = self.header(id);
        let name = || -> io::Result<()> {
            blank.file.write_all_at(header.as_bytes(), 0)?;
            if self.durable {
                blank.file.sync_data()?;
            }
            disk.rename(&blank.scratch, &names::page(id))?;
            if self.durable {
                disk.sync_dir()?;
            }
            Ok(())
        };
        match name() {
            Ok(()) => {
                let page = Page::new(header, blank.file);
                page.set_unwritten(blank.unwritten);
                Ok(page)
            }
            Err(error) => {
                blank.discard(disk);
                Err(error)
            }
        }
    }
}

/// A file with a page's length and a scratch name that no other process has open: not yet a page, but soon.
pub(crate) struct Blank {
    pub(crate) scratch: String,
    pub(crate) file: Arc<dyn DiskFile>,
    /// It was a page before.
    pub(crate) recycled: bool,
    /// Offset of the first byte that was never written.
    pub(crate) unwritten: u64,
}

impl Blank {
    pub(crate) fn discard(self, disk: &dyn Disk) {
        // The name is ours, and what is left of it is swept up at the next opening anyway.
        let _ = disk.remove(&self.scratch);
    }
}

#[cfg(test)]
mod tests;
