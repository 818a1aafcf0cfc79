//! The bytes that a batch keeps: a mapped page, or a copy of a few records.

use crate::error::ReadError;
use crate::pages::page_file::{PageFacts, PageFile};
use crate::pages::page_map::PageMap;
use std::path::Path;
use std::sync::Arc;

/// Smallest copy there is room for, in bytes.
const ROOM_MIN: usize = 512;

/// The memory that holds the records of a batch.
#[derive(Clone)]
pub(crate) enum BatchStorage {
    Mapped(Arc<PageMap>),
    Copied(Arc<Copied>),
}

impl BatchStorage {
    /// The bytes from `start` to `end`, as offsets in the page.
    #[inline]
    pub(crate) fn bytes(&self, start: u32, end: u32) -> Option<&[u8]> {
        match self {
            BatchStorage::Mapped(map) => map.bytes(start, end),
            BatchStorage::Copied(copied) => copied.bytes(start, end),
        }
    }

    pub(crate) fn page_id(&self) -> u64 {
        match self {
            BatchStorage::Mapped(map) => map.id(),
            BatchStorage::Copied(copied) => copied.page,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            BatchStorage::Mapped(map) => map.path(),
            BatchStorage::Copied(copied) => &copied.path,
        }
    }
}

/// Committed bytes of a page, copied into memory of this process. Does not keep the page open or mapped.
pub(crate) struct Copied {
    page: u64,
    path: Arc<Path>,
    /// Where in the page the copy begins.
    base: u32,
    len: u32,
    /// As long as any copy in it has been.
    room: Vec<u8>,
}

impl Copied {
    fn new(page: &PageFacts) -> Copied {
        Copied { page: page.id(), path: page.path().clone(), base: 0, len: 0, room: Vec::new() }
    }

    /// A copy of the bytes from `start` to `end` of `page`, which must be committed. `used` is an earlier
    /// copy of the same page, whose memory is reused unless a batch still needs it.
    ///
    /// # Errors
    /// As [`PageFile::read`].
    pub(crate) fn take(
        used: Option<Arc<Copied>>,
        page: &PageFile,
        (start, end): (u32, u32),
    ) -> Result<Arc<Copied>, ReadError> {
        let mut used = used.unwrap_or_else(|| Arc::new(Copied::new(page.as_ref())));
        if Arc::get_mut(&mut used).is_none() {
            used = Arc::new(Copied::new(page.as_ref()));
        }
        if let Some(copied) = Arc::get_mut(&mut used) {
            let len = end.saturating_sub(start);
            if copied.room.len() < len as usize {
                copied.room.resize((len as usize).next_power_of_two().max(ROOM_MIN), 0);
            }
            page.read(&mut copied.room[..len as usize], start)?;
            (copied.base, copied.len) = (start, len);
        }
        Ok(used)
    }

    /// Where in the page the copy ends.
    pub(crate) fn end(&self) -> u32 {
        self.base + self.len
    }

    /// Whether the byte at `offset` of the page is in the copy.
    pub(crate) fn covers(&self, offset: u32) -> bool {
        (self.base..self.end()).contains(&offset)
    }

    /// The bytes from `start` to `end`, as offsets in the page; `None` if they are not all in the copy.
    #[inline]
    pub(crate) fn bytes(&self, start: u32, end: u32) -> Option<&[u8]> {
        if end > self.end() {
            return None;
        }
        self.room.get(start.checked_sub(self.base)? as usize..end.checked_sub(self.base)? as usize)
    }
}
