//! A lane: shared memory through which one producer hands frames to the service that owns a ring.
//!
//! ```text
//!  0               128            256   4096                     4096 + capacity
//!  | producer line | service line | ... | words, used in a circle |
//!    filled          taken
//! ```
//!
//! The producer copies frames into the words and stores how many bytes it has filled so far; the service
//! copies them out and stores how many it has taken. Both numbers only grow. A frame begins at a multiple of
//! eight bytes; the last word of a frame is filled up with zeros.
//!
//! Neither side believes the other. Every word is an atomic: no reference to plain bytes is ever formed,
//! since the other process may change them at any time. Each side keeps its own position in its own memory,
//! and checks the other's whenever it loads it. The service looks at bytes only after it has copied them.
//!
//! Neither side makes a system call as long as the other is awake. How a sleeper is woken is the caller's
//! affair: [`LaneFiller::must_wake`] and [`LaneDrain::must_wake`] say when.

mod drain;
mod filler;
#[cfg(test)]
#[cfg(loom)]
mod loom_models;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

pub use drain::LaneDrain;
pub use filler::LaneFiller;

use crate::sync::{AtomicU32, AtomicU64};
#[cfg(not(loom))]
use core::ptr::NonNull;
use thiserror::Error;

/// Offset of the line that the producer stores to.
pub const PRODUCER_LINE_OFFSET: usize = 0;
/// Offset of the line that the service stores to.
pub const SERVICE_LINE_OFFSET: usize = 128;
/// Offset of the first word.
pub const LANE_WORDS_OFFSET: usize = 4096;
/// Fewest bytes that a lane may hold.
pub const LANE_CAPACITY_MIN: u64 = 4096;
/// Most bytes that a lane may hold.
pub const LANE_CAPACITY_MAX: u64 = 64 << 20;

const WORD: usize = size_of::<u64>();

/// What the producer says.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ProducerLine {
    /// Bytes put into the lane so far.
    filled: AtomicU64,
    /// 1 while the producer waits for room, until the service takes notice.
    waits: AtomicU32,
    /// Zero.
    reserved: [AtomicU32; 29],
}

/// What the service says.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ServiceLine {
    /// Bytes taken out of the lane so far.
    taken: AtomicU64,
    /// 1 while the service sleeps, until the producer takes notice.
    asleep: AtomicU32,
    /// Zero.
    reserved: [AtomicU32; 29],
}

#[cfg(not(loom))]
crate::layout::describe! {
    ProducerLine, "Lane, the producer's line", 128, { filled: 0, waits: 8, reserved: 12, }
}
#[cfg(not(loom))]
crate::layout::describe! {
    ServiceLine, "Lane, the service's line", 128, { taken: 0, asleep: 8, reserved: 12, }
}

/// What is wrong with what the other side says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LaneFault {
    /// No lane has this size.
    #[error(
        "a lane of {capacity} bytes: it must be a power of two, {LANE_CAPACITY_MIN} to {LANE_CAPACITY_MAX}"
    )]
    Capacity {
        /// The size.
        capacity: u64,
    },
    /// The producer cannot have put in so many bytes: fewer than before, more than there is room for, or half
    /// a word.
    #[error(
        "the lane's producer says {filled} bytes: it was at {before}, and {taken} are taken of {capacity}"
    )]
    Filled {
        /// What the producer says.
        filled: u64,
        /// What the producer said before.
        before: u64,
        /// What is taken.
        taken: u64,
        /// Bytes that the lane holds.
        capacity: u64,
    },
    /// The service cannot have taken so many bytes.
    #[error("the lane's service says it took {taken} bytes: it was at {before}, and {filled} were put in")]
    Taken {
        /// What the service says.
        taken: u64,
        /// What the service said before.
        before: u64,
        /// What was put in.
        filled: u64,
    },
}

/// The size of a lane, which has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneGeometry {
    capacity: u64,
}

impl LaneGeometry {
    /// A lane that holds `capacity` bytes.
    ///
    /// # Errors
    /// [`LaneFault::Capacity`].
    pub fn new(capacity: u64) -> Result<LaneGeometry, LaneFault> {
        let fits = (LANE_CAPACITY_MIN..=LANE_CAPACITY_MAX).contains(&capacity) && capacity.is_power_of_two();
        if fits { Ok(LaneGeometry { capacity }) } else { Err(LaneFault::Capacity { capacity }) }
    }

    /// Bytes that the lane holds.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes of its memory.
    pub fn lane_len(&self) -> u64 {
        LANE_WORDS_OFFSET as u64 + self.capacity
    }
}

/// A mapped lane. Who may use which end is up to the caller; nothing that the other side does with the memory
/// breaks memory safety.
#[derive(Clone, Copy)]
pub struct Lane<'a> {
    producer: &'a ProducerLine,
    service: &'a ServiceLine,
    /// A power of two of them.
    words: &'a [AtomicU64],
}

impl<'a> Lane<'a> {
    /// The lane of size `geometry` that starts at `base`.
    ///
    /// # Safety
    /// `base` must be aligned to 128 and point at `geometry.lane_len()` bytes that stay mapped, readable and
    /// writable for `'a`, and that this process only ever accesses through [`Lane`].
    #[cfg(not(loom))]
    #[allow(unsafe_code, reason = "forms references into a mapping")]
    pub unsafe fn from_raw(base: NonNull<u8>, geometry: LaneGeometry) -> Lane<'a> {
        // SAFETY: all three offsets lie within `lane_len`, which the caller vouches for.
        let producer = unsafe { base.add(PRODUCER_LINE_OFFSET) };
        // SAFETY: as above.
        let service = unsafe { base.add(SERVICE_LINE_OFFSET) };
        // SAFETY: as above.
        let words = unsafe { base.add(LANE_WORDS_OFFSET) };
        let words = NonNull::slice_from_raw_parts(words.cast(), geometry.capacity as usize / WORD);
        // SAFETY: the struct consists of atomics only, so a shared reference is sound while the other process
        // stores; the caller vouches for the memory.
        let producer = unsafe { producer.cast().as_ref() };
        // SAFETY: as above.
        let service = unsafe { service.cast().as_ref() };
        // SAFETY: as above; the words end with the lane.
        let words = unsafe { words.as_ref() };
        Lane { producer, service, words }
    }

    fn capacity(&self) -> u64 {
        (self.words.len() * WORD) as u64
    }

    /// The words for `len` bytes from position `at` on: those up to the end of the circle, then those from
    /// its beginning.
    fn span(&self, at: u64, len: usize) -> (&'a [AtomicU64], &'a [AtomicU64]) {
        let count = len.div_ceil(WORD).min(self.words.len());
        let (before, behind) = self.words.split_at((at / WORD as u64) as usize & (self.words.len() - 1));
        let first = count.min(behind.len());
        (&behind[..first], &before[..count - first])
    }
}
