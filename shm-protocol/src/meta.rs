//! `ring.meta`: what a ring is, in two slots of 4096 bytes written in turn.
//!
//! A slot is valid if its checksum matches; of two valid slots, the one with the higher counter counts. So a
//! torn write of one slot leaves the other, and the epoch that [`Meta::check`] returns is never lower than
//! any epoch that was used.

use crate::RingId;
use crate::checksum::plain;
use crate::limits::RING_SIZE_MAX;
use crate::page::PageGeometry;
use crate::position::Position;
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First eight bytes of a slot.
pub const META_MAGIC: [u8; 8] = *b"WALDORG\n";
/// Bytes from one slot to the next.
pub const META_SLOT_LEN: usize = 4096;
/// Bit of [`RawMeta::compatible`]: the last writer that completed its start made each page's header durable
/// before the page got its name. With this bit, a page with records and without a header is damage, because
/// no crash leaves such a page.
pub const DURABLE_NAMES: u64 = 1;
/// Bit of [`RawMeta::compatible`]: the last writer that completed its start promised to survive only `kill
/// -9`, and trimmed pages before the records that displaced them were durable. With this bit, a power cut can
/// have damaged any page.
pub const TRIMS_EARLY: u64 = 2;
/// Length of the file.
pub const META_LEN: usize = 2 * META_SLOT_LEN;

/// A slot as read from the file, unchecked.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RawMeta {
    /// [`META_MAGIC`].
    pub magic: [u8; 8],
    /// [`crate::FORMAT_VERSION`].
    pub version: u32,
    /// Pages in the ring.
    pub ring_size: u32,
    /// Features that a program must know to open the ring. None are defined.
    pub incompatible: u64,
    /// Features that a program may ignore: [`DURABLE_NAMES`] and [`TRIMS_EARLY`].
    pub compatible: u64,
    /// The ring's identity.
    pub ring_id: RingId,
    /// Grows by one with each write; the higher one of two valid slots counts.
    pub counter: u64,
    /// Length of new page files in bytes.
    pub page_len: u64,
    /// Index entries in a new page at most.
    pub index_capacity: u32,
    /// The writer's starts so far.
    pub epoch: u32,
    /// When the ring was made: nanoseconds since 1970.
    pub created_ns: u64,
    /// A [`Position`]: everything below it is durable, and the log ended there when the writer closed it.
    /// Zero while a writer is running, and after it crashed.
    pub clean_end: u64,
    /// A [`Position`] below which everything is known to be durable.
    pub durable: u64,
    /// Zero.
    pub reserved: [u8; 28],
    /// CRC-32C of the 124 bytes before.
    pub checksum: u32,
}

crate::layout::describe! {
    RawMeta, "Ring metadata slot", 128, {
        magic: 0, version: 8, ring_size: 12, incompatible: 16, compatible: 24, ring_id: 32, counter: 48,
        page_len: 56, index_capacity: 64, epoch: 68, created_ns: 72, clean_end: 80, durable: 88, reserved: 96,
        checksum: 124,
    }
}

/// What is wrong with `ring.meta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetaFault {
    /// Not of the length of such a file.
    #[error("the file is {len} bytes long, ring metadata takes {META_LEN}")]
    FileLen {
        /// Bytes there are.
        len: usize,
    },
    /// Not such a file.
    #[error("not waldo ring metadata (wrong magic number)")]
    Magic,
    /// Written by a newer version.
    #[error("ring format version {found}, this program knows up to {known}: use a newer waldo")]
    Version {
        /// Stored version.
        found: u32,
        /// Highest version known.
        known: u32,
    },
    /// Uses features this version does not know.
    #[error("ring uses unknown features {flags:#x}: use a newer waldo")]
    Incompatible {
        /// The unknown feature bits.
        flags: u64,
    },
    /// Both slots fail their checksums.
    #[error("both copies fail their checksums")]
    Checksum,
    /// A field that cannot be.
    #[error("ring size, page length or index capacity out of range")]
    Range,
}

/// A slot that has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The ring's identity.
    pub ring_id: RingId,
    /// Grows by one with each write.
    pub counter: u64,
    /// Pages in the ring: 1 to 65536.
    pub ring_size: u32,
    /// Lengths of new pages.
    pub geometry: PageGeometry,
    /// The writer's starts so far.
    pub epoch: u32,
    /// When the ring was made: nanoseconds since 1970.
    pub created_ns: u64,
    /// Where the log ended at a clean close; [`Position::NONE`] otherwise.
    pub clean_end: Position,
    /// Everything below was durable when this was written.
    pub durable: Position,
    /// See [`DURABLE_NAMES`].
    pub durable_names: bool,
    /// See [`TRIMS_EARLY`].
    pub trims_early: bool,
}

impl Meta {
    /// The position below which everything is known to be durable, from the metadata alone.
    pub fn known_durable(&self) -> Position {
        self.durable.max(self.clean_end)
    }

    /// The slot's bytes, and where in the file they belong.
    pub fn encode(&self) -> (u64, [u8; META_SLOT_LEN]) {
        let mut raw = RawMeta {
            magic: META_MAGIC,
            version: crate::FORMAT_VERSION,
            ring_size: self.ring_size,
            incompatible: 0,
            compatible: if self.durable_names { DURABLE_NAMES } else { 0 }
                | if self.trims_early { TRIMS_EARLY } else { 0 },
            ring_id: self.ring_id,
            counter: self.counter,
            page_len: self.geometry.page_len(),
            index_capacity: self.geometry.index_capacity(),
            epoch: self.epoch,
            created_ns: self.created_ns,
            clean_end: self.clean_end.word(),
            durable: self.durable.word(),
            reserved: [0; 28],
            checksum: 0,
        };
        raw.checksum = plain(&raw.as_bytes()[..124]);
        let mut slot = [0; META_SLOT_LEN];
        slot[..128].copy_from_slice(raw.as_bytes());
        ((self.counter % 2) * META_SLOT_LEN as u64, slot)
    }

    /// Reads the file's content and picks the newest valid slot. If only one is valid, the other may have
    /// been newer: then the result has no `clean_end`, and its `epoch` is one higher than the slot's.
    ///
    /// # Errors
    /// [`MetaFault`] if neither slot can be used.
    pub fn check(file: &[u8]) -> Result<Meta, MetaFault> {
        if file.len() != META_LEN {
            return Err(MetaFault::FileLen { len: file.len() });
        }
        let (a, b) = (Meta::check_slot(&file[..META_SLOT_LEN]), Meta::check_slot(&file[META_SLOT_LEN..]));
        match (a, b) {
            (Ok(a), Ok(b)) => Ok(if a.counter > b.counter { a } else { b }),
            // A slot of a newer version must not be outvoted by an older neighbour.
            (Err(fault @ (MetaFault::Version { .. } | MetaFault::Incompatible { .. })), _)
            | (_, Err(fault @ (MetaFault::Version { .. } | MetaFault::Incompatible { .. }))) => Err(fault),
            // The lost slot may have been the newer one: it may have said that the log went on, and a writer
            // may have started under the next number.
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => {
                Ok(Meta { clean_end: Position::NONE, epoch: one.epoch.saturating_add(1), ..one })
            }
            (Err(MetaFault::Magic), Err(fault)) | (Err(fault), Err(_)) => Err(fault),
        }
    }

    fn check_slot(bytes: &[u8]) -> Result<Meta, MetaFault> {
        let (raw, _) =
            RawMeta::read_from_prefix(bytes).map_err(|_| MetaFault::FileLen { len: bytes.len() })?;
        if raw.magic != META_MAGIC {
            return Err(MetaFault::Magic);
        }
        if plain(&raw.as_bytes()[..124]) != raw.checksum {
            return Err(MetaFault::Checksum);
        }
        if raw.version != crate::FORMAT_VERSION {
            return Err(MetaFault::Version { found: raw.version, known: crate::FORMAT_VERSION });
        }
        if raw.incompatible != 0 {
            return Err(MetaFault::Incompatible { flags: raw.incompatible });
        }
        let geometry = PageGeometry::new(raw.page_len, raw.index_capacity).ok_or(MetaFault::Range)?;
        if raw.ring_size == 0 || raw.ring_size > RING_SIZE_MAX {
            return Err(MetaFault::Range);
        }
        Ok(Meta {
            ring_id: raw.ring_id,
            counter: raw.counter,
            ring_size: raw.ring_size,
            geometry,
            epoch: raw.epoch,
            created_ns: raw.created_ns,
            clean_end: Position::from_word(raw.clean_end),
            durable: Position::from_word(raw.durable),
            durable_names: raw.compatible & DURABLE_NAMES != 0,
            trims_early: raw.compatible & TRIMS_EARLY != 0,
        })
    }
}

#[cfg(test)]
mod tests;
