//! The journal's bytes.
//!
//! ```text
//!   header (40) | entry | entry | ...          entry: length u32 | CRC-32C of the body u32 | body
//! ```
//!
//! Everything is little-endian. A body begins with a byte that says what it is.

use crate::producers::{Claim, Producer};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub(super) const MAGIC: [u8; 8] = *b"WALDOPJ1";
const ENTRY_HEAD: usize = 8;
const NAME: u8 = 1;
const INTENTS: u8 = 2;
const VOID: u8 = 3;

/// The journal's header.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    pub(super) ring_id: [u8; 16],
    /// The start of the ring's writer during which the file was made: whose records it speaks of.
    pub(super) epoch: u32,
    pub(super) reserved: u32,
    /// CRC-32C of the 32 bytes before.
    pub(super) checksum: u32,
    pub(super) reserved_too: u32,
}

pub(super) const HEADER_LEN: usize = size_of::<Header>();

impl Header {
    pub(super) fn new(ring_id: [u8; 16], epoch: u32) -> Header {
        let mut header = Header { magic: MAGIC, ring_id, epoch, reserved: 0, checksum: 0, reserved_too: 0 };
        header.checksum = header.computed();
        header
    }

    pub(super) fn computed(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[..32])
    }
}

/// A claim that is about to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) id: u32,
    pub(crate) claim: Claim,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct RawIntent {
    id: u32,
    count: u32,
    number: u64,
    seq_no: u64,
}

/// An entry as it was read.
#[derive(Debug)]
pub(super) enum Entry {
    Name(u32, Producer),
    Intents {
        time_ms: u64,
        intents: Vec<Intent>,
    },
    /// What is claimed above this sequence number was not appended.
    Void(u64),
}

fn finish(out: &mut [u8], start: usize) {
    let (head, body) = out[start..].split_at_mut(ENTRY_HEAD);
    head[..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    head[4..].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
}

fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; ENTRY_HEAD]);
    out.push(kind);
    start
}

pub(crate) fn put_name(out: &mut Vec<u8>, id: u32, producer: &Producer) {
    let start = begin(out, NAME);
    out.extend_from_slice(&id.to_le_bytes());
    out.push(producer.name.len() as u8);
    out.extend_from_slice(producer.name.as_bytes());
    out.extend_from_slice(&producer.base.to_le_bytes());
    out.extend_from_slice(&producer.used_ms.to_le_bytes());
    for claim in &producer.claims {
        let Claim { number, seq_no, count } = *claim;
        out.extend_from_slice(RawIntent { id, count, number, seq_no }.as_bytes());
    }
    finish(out, start);
}

pub(crate) fn put_intents(out: &mut Vec<u8>, time_ms: u64, intents: &[Intent]) {
    let start = begin(out, INTENTS);
    out.extend_from_slice(&time_ms.to_le_bytes());
    for Intent { id, claim: Claim { number, seq_no, count } } in intents {
        let raw = RawIntent { id: *id, count: *count, number: *number, seq_no: *seq_no };
        out.extend_from_slice(raw.as_bytes());
    }
    finish(out, start);
}

pub(super) fn put_void(out: &mut Vec<u8>, tip: u64) {
    let start = begin(out, VOID);
    out.extend_from_slice(&tip.to_le_bytes());
    finish(out, start);
}

/// The first entry of `bytes`, and what follows; `None` if there is no whole one.
pub(super) fn take(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (len, rest) = u32::read_from_prefix(bytes).ok()?;
    let (checksum, rest) = u32::read_from_prefix(rest).ok()?;
    let (body, rest) = rest.split_at_checked(len as usize)?;
    if crc32c::crc32c(body) != checksum {
        return None;
    }
    Some((decode(body)?, rest))
}

fn decode(body: &[u8]) -> Option<Entry> {
    let (kind, body) = body.split_first()?;
    match *kind {
        NAME => {
            let (id, body) = u32::read_from_prefix(body).ok()?;
            let (len, body) = body.split_first()?;
            let (name, body) = body.split_at_checked(usize::from(*len))?;
            let (base, body) = u64::read_from_prefix(body).ok()?;
            let (used_ms, body) = u64::read_from_prefix(body).ok()?;
            let mut producer = Producer::new(String::from_utf8(name.to_vec()).ok()?, used_ms);
            producer.base = base;
            producer.claims = intents(body)?.into_iter().map(|intent| intent.claim).collect();
            Some(Entry::Name(id, producer))
        }
        INTENTS => {
            let (time_ms, body) = u64::read_from_prefix(body).ok()?;
            Some(Entry::Intents { time_ms, intents: intents(body)? })
        }
        VOID => Some(Entry::Void(u64::read_from_bytes(body).ok()?)),
        _ => None,
    }
}

fn intents(bytes: &[u8]) -> Option<Vec<Intent>> {
    let chunks = bytes.chunks_exact(size_of::<RawIntent>());
    if !chunks.remainder().is_empty() {
        return None;
    }
    let one = |bytes: &[u8]| {
        let RawIntent { id, count, number, seq_no } = RawIntent::read_from_bytes(bytes).ok()?;
        let claim = Claim { number, seq_no, count };
        let fits = |from: u64| from > 0 && from.checked_add(count.into()).is_some();
        (count > 0 && fits(number) && fits(seq_no)).then_some(Intent { id, claim })
    };
    chunks.map(one).collect()
}
