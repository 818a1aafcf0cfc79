//! A page file in the writer's hands, and how one is made.

use crate::clock;
use crate::disk::{Disk, DiskFile};
use std::io;
use std::sync::Arc;
use waldo_shm_protocol::page::{IndexEntry, PageFooter, PageGeometry, PageHeader, PageSummary};
use waldo_shm_protocol::{PageSeed, RingId, names};
use zerocopy::IntoBytes;

/// An open page.
pub(crate) struct Page {
    pub(crate) id: u64,
    pub(crate) header: PageHeader,
    pub(crate) seed: PageSeed,
    pub(crate) file: Arc<dyn DiskFile>,
}

impl Page {
    pub(crate) fn new(header: PageHeader, file: Arc<dyn DiskFile>) -> Page {
        let fields = header.fields();
        let seed = PageSeed::new(&fields.ring_id, fields.page_id);
        Page { id: fields.page_id, header, seed, file }
    }

    /// Writes index and footer behind the records.
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

/// What every new page of a ring has in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageMold {
    pub(crate) ring_id: RingId,
    pub(crate) geometry: PageGeometry,
    pub(crate) epoch: u32,
    pub(crate) mode: u32,
    /// Whether a page must be durable, name and all, before it is used.
    pub(crate) durable: bool,
}

/// Zeros are written in pieces of this size: it decides the size of the page cache's folios, and with it what a
/// flush and a mapping cost (design measurements: 64 to 256 KiB is the sweet spot on ext4).
const ZERO_PIECE: usize = 256 * 1024;

impl PageMold {
    fn header(&self, id: u64) -> PageHeader {
        PageHeader::new(self.ring_id, id, self.geometry, self.epoch, clock::realtime_ns())
    }

    /// Makes page `id` from nothing: allocated, zeroed, named.
    pub(crate) fn fresh(&self, disk: &dyn Disk, id: u64) -> io::Result<Page> {
        let scratch = format!("{}fresh-{id:016x}", names::SCRATCH_PREFIX);
        let file = disk.create(&scratch, self.mode)?;
        let made = self.fill_fresh(disk, id, &scratch, file);
        if made.is_err() {
            // The name is ours, and what is left of it is swept up at the next opening anyway.
            let _ = disk.remove(&scratch);
        }
        made
    }

    fn fill_fresh(
        &self,
        disk: &dyn Disk,
        id: u64,
        scratch: &str,
        file: Arc<dyn DiskFile>,
    ) -> io::Result<Page> {
        let len = self.geometry.page_len();
        file.allocate(len)?;
        let zeros = vec![0; ZERO_PIECE];
        let mut at = 0;
        while at < len {
            let piece = (len - at).min(ZERO_PIECE as u64) as usize;
            file.write_all_at(&zeros[..piece], at)?;
            at += piece as u64;
        }
        self.christen(disk, id, scratch, file)
    }

    /// Makes page `id` from a file that was a page of the same length and is proven unshared: its header has been
    /// overwritten and its name is `scratch`.
    pub(crate) fn recycled(
        &self,
        disk: &dyn Disk,
        id: u64,
        scratch: &str,
        file: Arc<dyn DiskFile>,
    ) -> io::Result<Page> {
        self.christen(disk, id, scratch, file)
    }

    fn christen(&self, disk: &dyn Disk, id: u64, scratch: &str, file: Arc<dyn DiskFile>) -> io::Result<Page> {
        let header = self.header(id);
        file.write_all_at(header.as_bytes(), 0)?;
        if self.durable {
            file.sync_data()?;
        }
        disk.rename(scratch, &names::page(id))?;
        if self.durable {
            disk.sync_dir()?;
        }
        Ok(Page::new(header, file))
    }
}
