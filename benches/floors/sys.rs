//! System calls and mappings that need `unsafe`.

#![allow(unsafe_code, reason = "the floors are bare system calls and bare mappings")]

use memmap2::{Mmap, MmapRaw};
use nix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Writes some of `bytes` at `offset`; what was written is durable when this returns.
pub fn pwrite_durable(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    let iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    // SAFETY: `iov` describes `bytes`, which the kernel only reads and which lives through the call.
    let n = unsafe { libc::pwritev2(file.as_raw_fd(), &raw const iov, 1, offset, libc::RWF_DSYNC) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Sleeps while `word` is `seen`, at most a second.
pub fn futex_wait(word: &AtomicU32, seen: u32) {
    let limit = libc::timespec { tv_sec: 1, tv_nsec: 0 };
    // SAFETY: the word and the limit live through the call. Whatever comes of it, the caller looks at the word again.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, &raw const limit) };
}

/// Wakes who sleeps on `word`.
pub fn futex_wake(word: &AtomicU32) {
    // SAFETY: the word lives through the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// Nanoseconds of a clock that all processes share.
pub fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |t| t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64)
}

/// A file mapped read-only.
pub fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the benches map files of their own that nobody changes meanwhile, in what is looked at.
    unsafe { Mmap::map(file) }
}

/// What the two sides of the `follow` topic tell each other.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Board {
    /// What the follower shall do next; it sleeps on this word while idle.
    pub order: AtomicU32,
    /// How many records the order is for.
    pub count: AtomicU64,
    /// The order that the follower is ready for.
    pub ready: AtomicU32,
    /// The floor's flag or futex word, on a line of its own.
    pub flag: Line<AtomicU32>,
    /// How many records of this order have been seen, and when the last one was.
    pub seen: Line<(AtomicU64, AtomicU64)>,
}

#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct Line<T>(pub T);

/// A [`Board`] in a file that several processes map.
pub struct SharedBoard(MmapRaw);

impl SharedBoard {
    pub fn map(file: &File) -> io::Result<SharedBoard> {
        file.set_len(size_of::<Board>() as u64)?;
        MmapRaw::map_raw(file).map(SharedBoard)
    }

    pub fn get(&self) -> &Board {
        // SAFETY: mapped for reading and writing, page-aligned and long enough (`map`), made of atomics only, for
        // which the zeros of a new file are valid values.
        unsafe { &*self.0.as_ptr().cast::<Board>() }
    }
}
