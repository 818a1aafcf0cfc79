//! APPEND: a batch of records.

use super::frame::{Kind, begin_frame, finish_frame};
use super::{BATCH_RECORDS_MAX, WireFault};
use waldo_shm_protocol::layout::describe;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Flag of APPEND: store the batch only behind record `previous`.
pub const APPEND_CONDITIONAL: u32 = 1;
/// Flag of APPEND: acknowledge the batch when it is durable.
pub const APPEND_DURABLE: u32 = 2;

/// The fixed part of APPEND's body. `count` lengths of 4 bytes follow, then the payloads, one behind the
/// other.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AppendFields {
    /// Chosen by the producer; the answer repeats it.
    pub batch: u64,
    /// The producer's own number of the first record, at least 1; 0 for a producer without a name.
    pub first_number: u64,
    /// With [`APPEND_CONDITIONAL`]: the ring's last record must have this number (0: no record); 0 without.
    pub previous: u64,
    /// How many records.
    pub count: u32,
    /// [`APPEND_CONDITIONAL`], [`APPEND_DURABLE`].
    pub flags: u32,
}

const FIELDS_LEN: usize = size_of::<AppendFields>();

describe! {
    AppendFields, "APPEND", 32, { batch: 0, first_number: 8, previous: 16, count: 24, flags: 28, }
}

/// An APPEND that has been checked: `B` holds its body.
#[derive(Clone, Debug)]
pub struct Batch<B> {
    fields: AppendFields,
    body: B,
}

impl<B: AsRef<[u8]>> Batch<B> {
    /// Checks a body.
    ///
    /// # Errors
    /// [`WireFault`].
    pub fn check(body: B) -> Result<Batch<B>, WireFault> {
        let bytes = body.as_ref();
        let length = WireFault::Length { kind: Kind::Append.name(), length: bytes.len() };
        let (fields, rest) = AppendFields::read_from_prefix(bytes).map_err(|_| length)?;
        if fields.flags & !(APPEND_CONDITIONAL | APPEND_DURABLE) != 0 {
            return Err(WireFault::Flags(fields.flags));
        }
        let count = fields.count as usize;
        if count == 0 || count > BATCH_RECORDS_MAX {
            return Err(WireFault::Count(fields.count));
        }
        if fields.flags & APPEND_CONDITIONAL == 0 && fields.previous != 0 {
            return Err(WireFault::Reserved(fields.previous as u32 | 1));
        }
        if fields.first_number.checked_add(u64::from(fields.count)).is_none() {
            return Err(WireFault::Numbers { first: fields.first_number, count: fields.count });
        }
        // At most 2^16 lengths below 2^32 each: no sum of them overflows.
        let (lengths, payloads) = rest.split_at_checked(4 * count).ok_or(length)?;
        let sum: u64 = lengths.chunks_exact(4).map(|bytes| read_len(bytes) as u64).sum();
        if sum != payloads.len() as u64 {
            return Err(length);
        }
        Ok(Batch { fields, body })
    }

    /// The fixed part.
    pub fn fields(&self) -> &AppendFields {
        &self.fields
    }

    /// Whether [`APPEND_CONDITIONAL`] is set.
    pub fn is_conditional(&self) -> bool {
        self.fields.flags & APPEND_CONDITIONAL != 0
    }

    /// Whether [`APPEND_DURABLE`] is set.
    pub fn is_durable(&self) -> bool {
        self.fields.flags & APPEND_DURABLE != 0
    }

    /// Bytes of the body.
    pub fn body_len(&self) -> usize {
        self.body.as_ref().len()
    }

    /// The payloads in order.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let rest = &self.body.as_ref()[FIELDS_LEN..];
        let (lengths, mut payloads) = rest.split_at(4 * self.fields.count as usize);
        lengths.chunks_exact(4).map(move |bytes| {
            let (payload, after) = payloads.split_at(read_len(bytes));
            payloads = after;
            payload
        })
    }

    /// The longest payload in bytes.
    pub fn payload_len_max(&self) -> usize {
        self.payloads().map(<[u8]>::len).max().unwrap_or(0)
    }
}

fn read_len(bytes: &[u8]) -> usize {
    u32::from_le_bytes(bytes.try_into().unwrap_or_else(|_| unreachable!("chunks of four"))) as usize
}

/// Appends an APPEND frame to `out`; `count` of `fields` is filled in.
///
/// # Panics
/// If a payload, or all together, are 4 GiB long or more.
pub fn encode_append<P: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    mut fields: AppendFields,
    payloads: &[P],
    with_checksum: bool,
) {
    let bytes: usize = payloads.iter().map(|payload| payload.as_ref().len()).sum();
    out.reserve(super::FRAME_HEADER_LEN + FIELDS_LEN + 4 * payloads.len() + bytes);
    let start = begin_frame(out);
    fields.count = payloads.len() as u32;
    out.extend_from_slice(fields.as_bytes());
    for payload in payloads {
        out.extend_from_slice(&(payload.as_ref().len() as u32).to_le_bytes());
    }
    for payload in payloads {
        out.extend_from_slice(payload.as_ref());
    }
    finish_frame(out, start, Kind::Append, with_checksum);
}
