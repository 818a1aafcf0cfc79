//! HELLO and WELCOME: who is there, and what the limits are.

use super::frame::{Kind, begin_frame, finish_frame};
use super::{MAGIC, NAME_LEN_MAX, VERSION, WireFault};
use waldo_shm_protocol::RingId;
use waldo_shm_protocol::layout::describe;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Flag of HELLO: every batch is to be acknowledged when it is durable.
pub const HELLO_DURABLE: u32 = 1;
/// Flag of HELLO: the service is to add checksums to its frames.
pub const HELLO_CHECKSUMS: u32 = 2;
/// Flag of HELLO: the producer would use a lane; LANE follows WELCOME.
pub const HELLO_LANE: u32 = 4;

/// The fixed part of HELLO's body; the name follows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HelloFields {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// Lowest version the producer speaks.
    pub version_min: u32,
    /// Highest version the producer speaks.
    pub version_max: u32,
    /// [`HELLO_DURABLE`], [`HELLO_CHECKSUMS`], [`HELLO_LANE`].
    pub flags: u32,
    /// Bytes of the name; 0 for a producer without one.
    pub name_len: u32,
}

describe! {
    HelloFields, "HELLO", 24, { magic: 0, version_min: 8, version_max: 12, flags: 16, name_len: 20, }
}

/// A HELLO that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The producer's name; `None` for one that does not want to be recognized.
    pub name: Option<String>,
    /// Every batch is to be acknowledged when it is durable.
    pub durable: bool,
    /// The service is to add checksums to its frames.
    pub checksums: bool,
    /// The service is to say whether there is a lane.
    pub lane: bool,
}

/// Whether a producer may have this name: 1 to [`NAME_LEN_MAX`] bytes, no control characters.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_LEN_MAX && !name.chars().any(char::is_control)
}

impl Hello {
    /// Checks a body. The magic and the versions come first, so that a newer HELLO gets the right answer.
    ///
    /// # Errors
    /// [`WireFault`].
    pub fn check(body: &[u8]) -> Result<Hello, WireFault> {
        if body.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(WireFault::Magic);
        }
        let length = WireFault::Length { kind: Kind::Hello.name(), length: body.len() };
        let (fields, name) = HelloFields::read_from_prefix(body).map_err(|_| length)?;
        if !(fields.version_min..=fields.version_max).contains(&VERSION) {
            return Err(WireFault::Version { min: fields.version_min, max: fields.version_max });
        }
        if fields.flags & !(HELLO_DURABLE | HELLO_CHECKSUMS | HELLO_LANE) != 0 {
            return Err(WireFault::Flags(fields.flags));
        }
        if name.len() != fields.name_len as usize {
            return Err(length);
        }
        let name = std::str::from_utf8(name).map_err(|_| WireFault::Name)?;
        if !name.is_empty() && !is_name(name) {
            return Err(WireFault::Name);
        }
        Ok(Hello {
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            durable: fields.flags & HELLO_DURABLE != 0,
            checksums: fields.flags & HELLO_CHECKSUMS != 0,
            lane: fields.flags & HELLO_LANE != 0,
        })
    }

    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// [`WireFault::Name`] if nobody may have that name.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireFault> {
        let name = self.name.as_deref().unwrap_or_default();
        if self.name.is_some() && !is_name(name) {
            return Err(WireFault::Name);
        }
        let mut flags = 0;
        flags |= if self.durable { HELLO_DURABLE } else { 0 };
        flags |= if self.checksums { HELLO_CHECKSUMS } else { 0 };
        flags |= if self.lane { HELLO_LANE } else { 0 };
        let start = begin_frame(out);
        let fields = HelloFields {
            magic: MAGIC,
            version_min: VERSION,
            version_max: VERSION,
            flags,
            name_len: name.len() as u32,
        };
        out.extend_from_slice(fields.as_bytes());
        out.extend_from_slice(name.as_bytes());
        finish_frame(out, start, Kind::Hello, true);
        Ok(())
    }
}

/// WELCOME's body.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Welcome {
    /// The version of everything that follows.
    pub version: u32,
    /// Longest body of a frame that the service takes.
    pub frame_len_max: u32,
    /// Longest payload of a record that the service takes.
    pub record_len_max: u32,
    /// Batches that may be unacknowledged at once.
    pub window_batches: u32,
    /// Bytes of frames that may be unacknowledged at once.
    pub window_bytes: u64,
    /// The ring's last sequence number; 0 if it has no record.
    pub tip: u64,
    /// The last number of this producer that is stored; 0 if none is known.
    pub last_number: u64,
    /// The start of the ring's writer.
    pub epoch: u32,
    /// What the ring acknowledges by itself: 0 durable, 1 committed with flushes at an interval, 2 committed.
    pub durability: u32,
    /// The ring's identity.
    pub ring_id: RingId,
}

describe! {
    Welcome, "WELCOME", 64, {
        version: 0, frame_len_max: 4, record_len_max: 8, window_batches: 12, window_bytes: 16, tip: 24,
        last_number: 32, epoch: 40, durability: 44, ring_id: 48,
    }
}

impl Welcome {
    /// Checks a body.
    ///
    /// # Errors
    /// [`WireFault`].
    pub fn check(body: &[u8]) -> Result<Welcome, WireFault> {
        let length = WireFault::Length { kind: Kind::Welcome.name(), length: body.len() };
        let welcome = Welcome::read_from_bytes(body).map_err(|_| length)?;
        if welcome.version != VERSION {
            return Err(WireFault::Version { min: welcome.version, max: welcome.version });
        }
        Ok(welcome)
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>, with_checksum: bool) {
        let start = begin_frame(out);
        out.extend_from_slice(self.as_bytes());
        finish_frame(out, start, Kind::Welcome, with_checksum);
    }
}

/// LANE's body. Unless `capacity` is 0, a descriptor of the lane's memory comes with the frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct LaneOffer {
    /// Bytes that the lane holds; 0 if there is none.
    pub capacity: u64,
}

describe! {
    LaneOffer, "LANE", 8, { capacity: 0, }
}

impl LaneOffer {
    /// Checks a body.
    ///
    /// # Errors
    /// [`WireFault`].
    pub fn check(body: &[u8]) -> Result<LaneOffer, WireFault> {
        let length = WireFault::Length { kind: Kind::Lane.name(), length: body.len() };
        LaneOffer::read_from_bytes(body).map_err(|_| length)
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>, with_checksum: bool) {
        let start = begin_frame(out);
        out.extend_from_slice(self.as_bytes());
        finish_frame(out, start, Kind::Lane, with_checksum);
    }
}
