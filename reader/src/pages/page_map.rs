//! One page file, mapped read-only. The only place where bytes of a page become a slice.
#![allow(unsafe_code, reason = "forms slices over mapped files")]

use crate::pages::page_file::PageFacts;
use crate::watermark::Watermark;
use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use waldo_shm_protocol::PageSeed;

/// What one page table of the lowest level maps, with pages of 4 KiB. Where they are larger, more has to be
/// read before something can be given back.
const TABLE: usize = 2 << 20;

/// A mapped page. While this exists, the kernel keeps the inode, whatever happens to the file's name.
pub(crate) struct PageMap {
    raw: MmapRaw,
    facts: PageFacts,
    /// Bytes from the start of the page that are known to be committed; only grows.
    admitted: AtomicU32,
    /// Where a mapping alone does not keep the writer from using the file again.
    _file: Option<File>,
}

impl PageMap {
    /// Maps all of `file`, to which `facts` belong. With `hold` the file stays open as well.
    ///
    /// # Errors
    /// What mmap says, or that there are too many open files.
    pub(crate) fn new(file: &File, facts: PageFacts, hold: bool) -> io::Result<PageMap> {
        let raw = MmapOptions::new().len(facts.page_len()).map_raw_read_only(file)?;
        let file = if hold { Some(file.try_clone()?) } else { None };
        Ok(PageMap { raw, facts, admitted: AtomicU32::new(0), _file: file })
    }

    #[inline(always)]
    pub(crate) fn id(&self) -> u64 {
        self.facts.id()
    }

    pub(crate) fn inode(&self) -> (u64, u64) {
        self.facts.inode()
    }

    pub(crate) fn path(&self) -> &Path {
        self.facts.path()
    }

    #[inline(always)]
    pub(crate) fn seed(&self) -> PageSeed {
        self.facts.seed()
    }

    /// As [`PageFacts::limit`]. Lets [`PageMap::bytes`] go up to there.
    #[inline]
    pub(crate) fn admit(&self, watermark: Watermark) -> Option<u32> {
        let limit = self.facts.limit(watermark)?;
        // Relaxed: the thread that loaded the watermark has ordered the bytes, and any other thread that sees
        // this number was handed a batch by a thread that had loaded a watermark.
        if self.admitted.load(Ordering::Relaxed) < limit {
            self.admitted.fetch_max(limit, Ordering::Relaxed);
        }
        Some(limit)
    }

    /// The greatest offset not above `offset` at which a page table ends; 0 if there is none.
    #[inline]
    pub(crate) fn whole_tables(&self, offset: u32) -> u32 {
        let base = self.raw.as_ptr().addr();
        let end = (base + offset as usize) & !(TABLE - 1);
        // Less than `offset`, so it fits.
        end.saturating_sub(base) as u32
    }

    /// Drops the page table entries of the mapping before `end`; the kernel fills them again when they are
    /// needed. This also frees the page tables (on x86-64 from Linux 6.14 on; earlier kernels free them with
    /// the mapping).
    pub(crate) fn let_go(&self, end: u32) {
        let len = (end as usize).min(self.raw.len());
        // SAFETY: this is a shared, read-only mapping of a file, so no byte was written through it: a later
        // read, through an existing or a future slice, finds the same bytes of the same file again. The
        // kernel refuses if the program has locked its memory: then the entries stay.
        let _ = unsafe { self.raw.unchecked_advise_range(UncheckedAdvice::DontNeed, 0, len) };
    }

    /// Prefetches the header at `offset`, if there is one; does nothing beyond `limit`.
    #[inline(always)]
    pub(crate) fn prefetch(&self, offset: u32, limit: u32) {
        #[cfg(target_arch = "x86_64")]
        if offset < limit {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            const HEADER_END: usize = waldo_shm_protocol::limits::RECORD_HEADER_LEN - 1;
            let at = self.raw.as_ptr().wrapping_add(offset as usize);
            // SAFETY: a prefetch is a hint; it accesses no memory as the program sees it and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
            // SAFETY: as above. A header may reach into the next cache line.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(HEADER_END).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (offset, limit);
    }

    /// The offset up to which the bytes are known to be committed.
    pub(crate) fn admitted(&self) -> u32 {
        self.admitted.load(Ordering::Relaxed)
    }

    /// The bytes from `start` to `end`; `None` if they are not known to be committed.
    #[inline]
    pub(crate) fn bytes(&self, start: u32, end: u32) -> Option<&[u8]> {
        if start > end || end > self.admitted.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: `start <= end <= admitted <= records_limit <= ` length of the mapping (`admit`, `new`).
        let base = unsafe { self.raw.as_ptr().add(start as usize) };
        // SAFETY: in bounds as above; mapped and readable while `self` lives, which the slice borrows. Not
        // written by anybody: bytes below a watermark are immutable while the file is open or mapped
        // anywhere, and the file is never shortened (upheld by the writer; `Watermark` says who vouches).
        // Nothing lies between the seal of a page that is not the newest and `records_limit` that anybody
        // writes to.
        Some(unsafe { std::slice::from_raw_parts(base, (end - start) as usize) })
    }
}

impl AsRef<PageFacts> for PageMap {
    fn as_ref(&self) -> &PageFacts {
        &self.facts
    }
}

impl std::fmt::Debug for PageMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageMap")
            .field("id", &self.id())
            .field("admitted", &self.admitted)
            .finish_non_exhaustive()
    }
}
