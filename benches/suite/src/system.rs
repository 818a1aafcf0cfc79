//! Bare mappings, which need `unsafe`: what readers would do without Waldo.

#![allow(unsafe_code, reason = "the floors read through mappings of their own")]

use memmap2::{Mmap, MmapRaw};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A file mapped read-only.
pub fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: only files that a measurement has made itself are mapped. Where another process of the same
    // measurement writes to them meanwhile, it writes bytes that are not looked at before it has said so, and
    // never shortens them.
    unsafe { Mmap::map(file) }
}

/// What the two processes of a latency measurement tell each other.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Slate {
    /// What the follower shall do next; it sleeps on this word while idle.
    pub order: AtomicU32,
    /// The order that the follower is ready for.
    pub ready: AtomicU32,
    /// How many records the order is for.
    pub count: AtomicU64,
    /// The floor's flag and futex word, on a line of its own: how many records there are.
    pub flag: Line<AtomicU32>,
}

/// Something that shares its cache lines with nothing else.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct Line<T>(pub T);

/// A [`Slate`] in a file that both processes map.
pub struct SharedSlate(MmapRaw);

impl SharedSlate {
    /// Maps `file`, which is new or has been mapped like this before.
    pub fn map(file: &File) -> io::Result<SharedSlate> {
        file.set_len(size_of::<Slate>() as u64)?;
        MmapRaw::map_raw(file).map(SharedSlate)
    }

    /// What is in it.
    pub fn get(&self) -> &Slate {
        // SAFETY: mapped for reading and writing, page-aligned and long enough (`map`), made of atomics only,
        // for which the zeros of a new file are valid values.
        unsafe { &*self.0.as_ptr().cast::<Slate>() }
    }
}
