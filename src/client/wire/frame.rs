//! What all frames begin with.

use super::{FRAME_HEADER_LEN, WireFault};
use waldo_shm_protocol::layout::describe;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Flag in a frame's header: `checksum` holds one.
pub const FRAME_CHECKSUM: u8 = 1;

/// A frame's header as it arrives; nothing about it is checked.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RawFrameHeader {
    /// Bytes of the body, which follows.
    pub length: u32,
    /// See [`Kind`].
    pub kind: u8,
    /// [`FRAME_CHECKSUM`] or 0.
    pub flags: u8,
    /// Zero.
    pub reserved: u16,
    /// CRC-32C of the 8 bytes before it and of the body; 0 without the flag.
    pub checksum: u32,
}

describe! {
    RawFrameHeader, "Frame header", 12, { length: 0, kind: 4, flags: 5, reserved: 6, checksum: 8, }
}
const _: () = assert!(size_of::<RawFrameHeader>() == FRAME_HEADER_LEN);

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A producer's first frame.
    Hello = 1,
    /// The service's answer to it.
    Welcome = 2,
    /// A batch of records.
    Append = 3,
    /// A batch is stored.
    Ack = 4,
    /// A batch is not stored, or the connection ends.
    Error = 5,
    /// No more frames will come from this side.
    Goodbye = 6,
    /// Whether the producer has a lane.
    Lane = 7,
    /// There is something new in the lane: frames, or room for them.
    Bell = 8,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 8] = [
        Kind::Hello,
        Kind::Welcome,
        Kind::Append,
        Kind::Ack,
        Kind::Error,
        Kind::Goodbye,
        Kind::Lane,
        Kind::Bell,
    ];

    /// The kind's name in `docs/PRODUCERS.md`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Hello => "HELLO",
            Kind::Welcome => "WELCOME",
            Kind::Append => "APPEND",
            Kind::Ack => "ACK",
            Kind::Error => "ERROR",
            Kind::Goodbye => "GOODBYE",
            Kind::Lane => "LANE",
            Kind::Bell => "BELL",
        }
    }
}

/// A frame's header that has been checked, the checksum excepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    kind: Kind,
    raw: RawFrameHeader,
}

impl RawFrameHeader {
    /// Checks the header. `body_max` is the longest body that the receiver allows: to be asked before
    /// anything is allocated for it.
    ///
    /// # Errors
    /// [`WireFault`].
    pub fn check(self, body_max: usize) -> Result<FrameHeader, WireFault> {
        let max = u32::try_from(body_max).unwrap_or(u32::MAX);
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == self.kind);
        let kind = kind.ok_or(WireFault::Kind(self.kind))?;
        if self.flags & !FRAME_CHECKSUM != 0 {
            return Err(WireFault::Flags(self.flags.into()));
        }
        if self.reserved != 0 {
            return Err(WireFault::Reserved(self.reserved.into()));
        }
        if self.flags == 0 && self.checksum != 0 {
            return Err(WireFault::Reserved(self.checksum));
        }
        if self.length > max {
            return Err(WireFault::TooLong { length: self.length, max });
        }
        Ok(FrameHeader { kind, raw: self })
    }
}

impl FrameHeader {
    /// Checks the header in `bytes`; see [`RawFrameHeader::check`].
    ///
    /// # Errors
    /// [`WireFault`].
    pub fn read(bytes: &[u8; FRAME_HEADER_LEN], body_max: usize) -> Result<FrameHeader, WireFault> {
        let raw = RawFrameHeader::read_from_bytes(bytes).unwrap_or_else(|_| unreachable!("the array fits"));
        raw.check(body_max)
    }

    /// What the frame is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes of the body.
    pub fn body_len(&self) -> usize {
        self.raw.length as usize
    }

    /// Whether the sender added a checksum.
    pub fn has_checksum(&self) -> bool {
        self.raw.flags & FRAME_CHECKSUM != 0
    }

    /// Compares the checksum, if there is one, with that of the frame.
    ///
    /// # Errors
    /// [`WireFault::Checksum`].
    pub fn verify(&self, body: &[u8]) -> Result<(), WireFault> {
        if !self.has_checksum() {
            return Ok(());
        }
        let computed = checksum(&self.raw, body);
        if computed == self.raw.checksum {
            Ok(())
        } else {
            Err(WireFault::Checksum { stored: self.raw.checksum, computed })
        }
    }
}

fn checksum(header: &RawFrameHeader, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header.as_bytes()[..8]), body)
}

/// Makes room for a frame's header at the end of `out`. Returns where the frame begins, for [`finish_frame`].
pub fn begin_frame(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER_LEN]);
    start
}

/// Fills in the header of the frame that begins at `start` and ends with `out`.
///
/// # Panics
/// If the body is 4 GiB long or more, or `start` is not what [`begin_frame`] returned.
pub fn finish_frame(out: &mut [u8], start: usize, kind: Kind, with_checksum: bool) {
    let (head, body) = out[start..].split_at_mut(FRAME_HEADER_LEN);
    let Ok(length) = u32::try_from(body.len()) else { panic!("a frame of {} bytes", body.len()) };
    let flags = if with_checksum { FRAME_CHECKSUM } else { 0 };
    let mut header = RawFrameHeader { length, kind: kind as u8, flags, reserved: 0, checksum: 0 };
    if with_checksum {
        header.checksum = checksum(&header, body);
    }
    head.copy_from_slice(header.as_bytes());
}

/// Appends a frame without a body to `out`.
pub fn encode_empty(out: &mut Vec<u8>, kind: Kind, with_checksum: bool) {
    let start = begin_frame(out);
    finish_frame(out, start, kind, with_checksum);
}
