//! Layout of the Waldo log: what a record, a page file, the ring's metadata and the control segment
//! look like, byte by byte. This crate performs no I/O and makes no system calls, so that the writer,
//! the readers and a program in another language can agree on it.
//!
//! Reading order: [`record`], [`page`], [`meta`], then [`segment`] (the shared memory), then
//! `docs/PROTOCOL.md` for the order in which the two sides touch them. [`lane`] stands by itself: the way
//! from a producer to the service that owns a ring.
//!
//! Everything is little-endian. Bytes are untrusted until one of the `check` constructors has
//! accepted them; the type tells which side of that line a value is on (`RawRecord` / `Record`, ...).

#[cfg(not(target_endian = "little"))]
compile_error!(
    "waldo's layouts are little-endian and shared by memory mapping: big-endian hosts are not supported"
);
#[cfg(not(target_has_atomic = "64"))]
compile_error!("waldo needs lock-free 64-bit atomics");

pub mod checksum;
pub mod format;
pub mod lane;
pub mod layout;
pub mod limits;
pub mod link;
pub mod log;
pub mod meta;
pub mod names;
pub mod page;
pub mod position;
mod prefetch;
pub mod record;
pub mod recovery;
pub mod scan;
pub mod segment;
pub mod sync;

pub use checksum::{PageSeed, payload_hash};
pub use log::{Log, LogError};
pub use position::Position;
pub use prefetch::prefetch;
pub use record::{RawRecord, Record, RecordFault};

/// Version of every layout in this crate. Files and segments of a higher version are refused.
pub const FORMAT_VERSION: u32 = 1;

/// Identifies one ring: random, made when the ring is created, part of every checksum seed.
pub type RingId = [u8; 16];
