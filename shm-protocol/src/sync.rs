//! The atomics used in shared memory, behind one name so that tests can replace them by loom's.
//!
//! Readers map the control segment with `PROT_READ`. The standard library guarantees atomic loads on
//! read-only memory only for *relaxed* loads of at most eight bytes, so an acquire load on the reader's
//! side is written as a relaxed load followed by an acquire fence: [`load_acquire`]. On x86-64 both
//! compile to a plain load.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Loads `word` with acquire semantics in a way that is sound on read-only mappings.
#[inline(always)]
pub fn load_acquire(word: &AtomicU64) -> u64 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire); // SYNC(load-acquire): the caller names the store it pairs with
    value
}

/// The 32-bit twin of [`load_acquire`].
#[inline(always)]
pub fn load_acquire_u32(word: &AtomicU32) -> u32 {
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire); // SYNC(load-acquire): the caller names the store it pairs with
    value
}
