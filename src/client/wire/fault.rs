//! What can be wrong with a frame.

use super::{BATCH_RECORDS_MAX, ErrorCode, NAME_LEN_MAX, VERSION};
use thiserror::Error;
use waldo_shm_protocol::lane::LaneFault;

/// What is wrong with the bytes of a frame. Whoever sent them does not speak this protocol, or not correctly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireFault {
    /// The body is longer than the receiver allows. Nothing was allocated for it.
    #[error("a frame of {length} bytes, at most {max} are allowed")]
    TooLong {
        /// Length that the header names.
        length: u32,
        /// Longest that is allowed.
        max: u32,
    },
    /// No kind of frame has this number.
    #[error("unknown kind of frame {0}")]
    Kind(u8),
    /// A flag that is not defined, in the header or the body.
    #[error("unknown flags {0:#x}")]
    Flags(u32),
    /// A reserved field is not zero.
    #[error("a reserved field holds {0:#x}, it must be zero")]
    Reserved(u32),
    /// The frame is not what its sender made.
    #[error("frame checksum {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// Checksum in the header.
        stored: u32,
        /// Checksum of the frame.
        computed: u32,
    },
    /// The body is too short or too long for its kind.
    #[error("{kind} has a body of {length} bytes, which does not fit what it says")]
    Length {
        /// Name of the kind.
        kind: &'static str,
        /// Bytes of the body.
        length: usize,
    },
    /// The first frame does not begin with the protocol's name.
    #[error("this is no HELLO of a Waldo producer")]
    Magic,
    /// The two sides have no version in common.
    #[error("versions {min} to {max} are offered, this side speaks version {VERSION}")]
    Version {
        /// Lowest version offered.
        min: u32,
        /// Highest version offered.
        max: u32,
    },
    /// A name that no producer may have.
    #[error("a producer's name has at most {NAME_LEN_MAX} bytes and none of them is a control character")]
    Name,
    /// An empty batch, or one with too many records.
    #[error("a batch of {0} records, it must be 1 to {BATCH_RECORDS_MAX}")]
    Count(u32),
    /// Record numbers that cannot be right.
    #[error("records numbered from {first}, {count} of them: numbers run from 1 to 2^64 - 1")]
    Numbers {
        /// Number of the first record.
        first: u64,
        /// How many.
        count: u32,
    },
    /// The positions that the lane's other side stored cannot be right.
    #[error("{0}")]
    Lane(#[from] LaneFault),
    /// An error code that is not defined.
    #[error("unknown error code {0}")]
    Code(u32),
}

impl WireFault {
    /// The code under which a service reports the fault.
    pub fn code(&self) -> ErrorCode {
        match self {
            WireFault::TooLong { .. } => ErrorCode::FrameTooLarge,
            WireFault::Checksum { .. } => ErrorCode::Checksum,
            WireFault::Version { .. } => ErrorCode::Version,
            WireFault::Name => ErrorCode::Name,
            WireFault::Lane(_) => ErrorCode::Lane,
            _ => ErrorCode::Malformed,
        }
    }
}
