//! Write buffers: one anonymous mapping, cut into equal parts.

#![allow(unsafe_code, reason = "anonymous mapping with huge pages; buffers shared with the kernel")]

use crate::error::OpenError;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

/// `count` buffers of `len` bytes each, page-aligned.
pub(super) struct Buffers {
    base: NonNull<u8>,
    count: usize,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone; moving it to another thread moves all access.
unsafe impl Send for Buffers {}

impl Buffers {
    pub(super) fn allocate(count: usize, len: usize, huge: bool) -> Result<Buffers, OpenError> {
        use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};
        let bytes = count.saturating_mul(len);
        let refuse = |source: io::Error| OpenError::Buffers {
            bytes,
            source,
            hint: if huge {
                ". Reserve huge pages with `sysctl vm.nr_hugepages=N` (2 MiB each), or turn huge buffers off"
            } else {
                ". Use fewer or smaller buffers"
            },
        };
        let size = NonZeroUsize::new(bytes).ok_or_else(|| refuse(io::ErrorKind::InvalidInput.into()))?;
        let mut flags = MapFlags::MAP_PRIVATE;
        if huge {
            flags |= MapFlags::MAP_HUGETLB | MapFlags::MAP_HUGE_2MB | MapFlags::MAP_POPULATE;
        }
        // SAFETY: a new anonymous mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe { mmap_anonymous(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }
            .map_err(|errno| refuse(errno.into()))?;
        let buffers = Buffers { base: base.cast(), count, len };
        // Use transparent huge pages where they are available: one page fault maps 2 MiB instead of 512
        // faults, which take a quarter of the time to open a ring. Without huge pages, or before Linux 5.14,
        // pages are mapped when they are used.
        for advice in [MmapAdvise::MADV_HUGEPAGE, MmapAdvise::MADV_POPULATE_WRITE] {
            // SAFETY: the whole of a mapping that was just made. Neither advice changes what is in it.
            let _ = unsafe { madvise(base, bytes, advice) };
        }
        Ok(buffers)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn part(&self, index: usize) -> NonNull<u8> {
        assert!(index < self.count, "buffer numbers come from the engine's free list");
        // SAFETY: index < count, so the part lies within the mapping of count * len bytes.
        unsafe { self.base.add(index * self.len) }
    }

    pub(super) fn get(&self, index: usize) -> &[u8] {
        let part = NonNull::slice_from_raw_parts(self.part(index), self.len);
        // SAFETY: within the mapping, which lives as long as self; anonymous memory is zeroed, so
        // initialized.
        unsafe { part.as_ref() }
    }

    /// The caller (the engine) asks only for buffers that are not in flight.
    pub(super) fn get_mut(&mut self, index: usize) -> &mut [u8] {
        let mut part = NonNull::slice_from_raw_parts(self.part(index), self.len);
        // SAFETY: as in `get`, and `&mut self` excludes other references made here. The kernel only ever
        // reads the buffers, and a buffer being filled is not in flight.
        unsafe { part.as_mut() }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: this is the whole mapping made in `allocate`; the engine drains the ring before it drops
        // this.
        let _ = unsafe { nix::sys::mman::munmap(self.base.cast(), self.count * self.len) };
    }
}
