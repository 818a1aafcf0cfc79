//! One page file, open but not mapped.

use crate::error::ReadError;
use crate::pages::opening::read_at;
use crate::watermark::Watermark;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use waldo_shm_protocol::PageSeed;
use waldo_shm_protocol::limits::{PAGE_HEADER_LEN, RECORD_ALIGN};
use waldo_shm_protocol::page::PageHeader;

/// What is known of a page from its checked header and from its file.
#[derive(Clone, Debug)]
pub(crate) struct PageFacts {
    path: Arc<Path>,
    id: u64,
    /// Device and number of its inode.
    inode: (u64, u64),
    seed: PageSeed,
    page_len: usize,
    records_limit: u32,
}

impl PageFacts {
    /// Of `file`, whose header has been read and checked.
    ///
    /// # Errors
    /// What fstat says.
    pub(crate) fn new(file: &File, path: &Path, header: &PageHeader) -> io::Result<PageFacts> {
        let fields = header.fields();
        let stat = file.metadata()?;
        Ok(PageFacts {
            path: path.into(),
            id: fields.page_id,
            inode: (stat.dev(), stat.ino()),
            seed: PageSeed::new(&fields.ring_id, fields.page_id),
            page_len: usize::try_from(fields.page_len).map_err(io::Error::other)?,
            // A checked geometry keeps this below 2 GiB.
            records_limit: u32::try_from(fields.records_limit).map_err(io::Error::other)?,
        })
    }

    #[inline(always)]
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn inode(&self) -> (u64, u64) {
        self.inode
    }

    pub(crate) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    #[inline(always)]
    pub(crate) fn seed(&self) -> PageSeed {
        self.seed
    }

    /// Length of the file in bytes.
    pub(crate) fn page_len(&self) -> usize {
        self.page_len
    }

    /// The offset up to which this page's records are committed, according to `watermark`; `None` if the
    /// watermark is impossible for this page.
    #[inline]
    pub(crate) fn limit(&self, watermark: Watermark) -> Option<u32> {
        let position = watermark.position();
        let limit = if position.page() > self.id { self.records_limit } else { position.offset() };
        let fits = position.page() >= self.id
            && (PAGE_HEADER_LEN as u32..=self.records_limit).contains(&limit)
            && limit.is_multiple_of(RECORD_ALIGN as u32);
        fits.then_some(limit)
    }
}

/// An open page. While this exists, the kernel keeps the inode, and the writer does not recycle the file.
#[derive(Debug)]
pub(crate) struct PageFile {
    file: File,
    facts: PageFacts,
}

impl PageFile {
    pub(crate) fn new(file: File, facts: PageFacts) -> PageFile {
        PageFile { file, facts }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// [`ReadError::Io`], also if the file ends before.
    pub(crate) fn read(&self, bytes: &mut [u8], offset: u32) -> Result<(), ReadError> {
        let error = match read_at(&self.file, bytes, offset.into()) {
            Ok(got) if got == bytes.len() => return Ok(()),
            Ok(_) => io::ErrorKind::UnexpectedEof.into(),
            Err(error) => error,
        };
        Err(ReadError::io(self.facts.path(), error))
    }
}

impl AsRef<PageFacts> for PageFile {
    fn as_ref(&self) -> &PageFacts {
        &self.facts
    }
}
