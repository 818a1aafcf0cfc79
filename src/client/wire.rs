//! The frames between a producer and the service, byte by byte: one copy, for both sides.
//!
//! ```text
//!   producer                                   service
//!     HELLO    version, name           ---->
//!                                      <----   WELCOME   version, limits, last number stored
//!     APPEND   batch 1                 ---->
//!     APPEND   batch 2                 ---->
//!                                      <----   ACK       batch 1
//!                                      <----   ACK       batch 2
//!     GOODBYE                          ---->
//!                                      <----   GOODBYE
//! ```
//!
//! Between WELCOME and the first APPEND comes LANE if HELLO asks for it. With a lane, APPEND goes through
//! shared memory, and BELL over the socket wakes whoever sleeps.
//!
//! Everything is little-endian. A frame is a [`FrameHeader`] of 12 bytes and a body. `docs/PRODUCERS.md` says
//! what both sides do; a test compares its tables with this module. Nothing here does I/O.

mod batch;
mod fault;
mod frame;
mod hello;
mod reply;
#[cfg(test)]
mod tests;

pub use batch::{APPEND_CONDITIONAL, APPEND_DURABLE, AppendFields, Batch, encode_append};
pub use fault::WireFault;
pub use frame::{FRAME_CHECKSUM, FrameHeader, Kind, RawFrameHeader, begin_frame, encode_empty, finish_frame};
pub use hello::{
    HELLO_CHECKSUMS, HELLO_DURABLE, HELLO_LANE, Hello, HelloFields, LaneOffer, Welcome, is_name,
};
pub use reply::{ACK_DURABLE, Ack, ERROR_FATAL, ErrorCode, ErrorFields, ErrorFrame};

/// The first bytes of every HELLO.
pub const MAGIC: [u8; 8] = *b"WALDOPRD";
/// The only version of the protocol so far.
pub const VERSION: u32 = 1;
/// Bytes of a frame's header.
pub const FRAME_HEADER_LEN: usize = 12;
/// Longest name of a producer in bytes.
pub const NAME_LEN_MAX: usize = 64;
/// Longest body that is read before WELCOME has been sent.
pub const HELLO_LEN_MAX: usize = 256;
/// Longest text of an ERROR in bytes.
pub const TEXT_LEN_MAX: usize = 512;
/// Longest body that a service sends.
pub const REPLY_LEN_MAX: usize = 1024;
/// Most records in a batch.
pub const BATCH_RECORDS_MAX: usize = 1 << 16;

/// The structures of all frames, for the documentation and its test.
pub fn tables() -> Vec<waldo_shm_protocol::layout::Table> {
    vec![
        RawFrameHeader::TABLE,
        HelloFields::TABLE,
        Welcome::TABLE,
        AppendFields::TABLE,
        Ack::TABLE,
        ErrorFields::TABLE,
        LaneOffer::TABLE,
    ]
}
