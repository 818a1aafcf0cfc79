//! The segment's header: written once by the writer, its magic number last, and never changed.

use super::SLOTS_OFFSET;
use super::directory::{IndexSlot, PageSlot};
use crate::RingId;
use crate::limits::{INDEX_CAPACITY_MAX, RING_SIZE_MAX, SEGMENT_LEN_MAX, WAKE_WORDS_MAX};
use crate::sync::{AtomicU32, AtomicU64, Ordering, load_acquire};
use thiserror::Error;

/// First eight bytes of a segment whose header is complete, read as a little-endian number.
pub const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"WALDOCS\n");

/// The first 128 bytes of a segment.
#[repr(C)]
#[derive(Debug)]
pub struct SegmentHeader {
    /// [`SEGMENT_MAGIC`], stored last.
    pub(super) magic: AtomicU64,
    /// [`crate::FORMAT_VERSION`].
    pub(super) version: AtomicU32,
    /// Number of wake words: 1 to 64.
    pub(super) wake_words: AtomicU32,
    /// Features a reader must know. None are defined.
    pub(super) incompatible: AtomicU64,
    /// Features a reader may ignore. None are defined.
    pub(super) compatible: AtomicU64,
    /// The ring.
    pub(super) ring_id: [AtomicU64; 2],
    /// The kernel's boot id when it was made: a segment that outlived a reboot is stale.
    pub(super) boot_id: [AtomicU64; 2],
    /// Random, one per segment made: tells two segments of one ring apart.
    pub(super) instance: AtomicU64,
    /// Length of the segment in bytes.
    pub(super) segment_len: AtomicU64,
    /// Number of page slots.
    pub(super) page_slots: AtomicU32,
    /// Index slots per page slot.
    pub(super) index_capacity: AtomicU32,
    /// Offset of the index slots.
    pub(super) index_offset: AtomicU64,
    /// Device and inode number of the ring's directory: a copy of a ring is another ring.
    pub(super) home: [AtomicU64; 2],
    /// Zero.
    pub(super) reserved: [AtomicU64; 2],
}

#[cfg(not(loom))]
crate::layout::describe! {
    SegmentHeader, "Control segment header", 128, {
        magic: 0, version: 8, wake_words: 12, incompatible: 16, compatible: 24, ring_id: 32, boot_id: 48,
        instance: 64, segment_len: 72, page_slots: 80, index_capacity: 84, index_offset: 88, home: 96, reserved: 112,
    }
}

/// How many slots and wake words a segment has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentCounts {
    /// Page slots: 1 to 65538.
    pub page_slots: u32,
    /// Index slots per page slot: 1 to 2^20.
    pub index_capacity: u32,
    /// Futex words: 1 to 64.
    pub wake_words: u32,
}

/// Lengths of a segment. Made by [`SegmentGeometry::new`], so consistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentGeometry {
    counts: SegmentCounts,
}

impl SegmentGeometry {
    /// A segment with room for `counts`. `None` if one is out of range or the segment would exceed 4 GiB.
    pub fn new(counts: SegmentCounts) -> Option<SegmentGeometry> {
        let SegmentCounts { page_slots, index_capacity, wake_words } = counts;
        let geometry = SegmentGeometry { counts };
        let fits = (1..=RING_SIZE_MAX + 2).contains(&page_slots)
            && (1..=INDEX_CAPACITY_MAX).contains(&index_capacity)
            && (1..=WAKE_WORDS_MAX).contains(&wake_words)
            && geometry.segment_len() <= SEGMENT_LEN_MAX;
        fits.then_some(geometry)
    }

    /// Number of page slots.
    pub fn page_slots(&self) -> u32 {
        self.counts.page_slots
    }

    /// Index slots per page slot.
    pub fn index_capacity(&self) -> u32 {
        self.counts.index_capacity
    }

    /// Number of wake words.
    pub fn wake_words(&self) -> u32 {
        self.counts.wake_words
    }

    pub(super) fn index_slots(&self) -> u64 {
        u64::from(self.counts.page_slots) * u64::from(self.counts.index_capacity)
    }

    /// Offset of the first index slot.
    pub fn index_offset(&self) -> u64 {
        SLOTS_OFFSET as u64 + u64::from(self.counts.page_slots) * size_of::<PageSlot>() as u64
    }

    /// Length of the segment in bytes, a multiple of 4096.
    pub fn segment_len(&self) -> u64 {
        (self.index_offset() + self.index_slots() * size_of::<IndexSlot>() as u64).next_multiple_of(4096)
    }
}

/// What makes one segment different from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentIdentity {
    /// The ring.
    pub ring_id: RingId,
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
    /// Device and inode number of the ring's directory.
    pub home: [u64; 2],
    /// Random number of this segment.
    pub instance: u64,
}

/// What is wrong with a control segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SegmentFault {
    /// Shorter than the header.
    #[error("the control segment is too short ({len} bytes)")]
    TooShort {
        /// Its length.
        len: u64,
    },
    /// Not a control segment, or one that changed while it was read.
    #[error("not a waldo control segment (wrong magic number)")]
    Magic,
    /// Its writer has not finished making it, or ended before that.
    #[error("the control segment is not complete: its writer is making it, or ended before that")]
    Unfinished,
    /// Made by a newer version.
    #[error("control segment version {found}, this program knows {known}: use a newer waldo")]
    Version {
        /// Stored version.
        found: u32,
        /// Version known.
        known: u32,
    },
    /// Uses features this version does not know.
    #[error("control segment uses unknown features {flags:#x}: use a newer waldo")]
    Incompatible {
        /// The unknown feature bits.
        flags: u64,
    },
    /// Counts and lengths do not fit together or exceed the limits or the object's length.
    #[error("control segment's lengths are impossible")]
    Range,
    /// Of another ring.
    #[error("the control segment belongs to another ring")]
    ForeignRing,
    /// Of another directory: the ring was copied, and the link still leads to where it was copied from.
    #[error("the control segment was made for another directory than this one")]
    ForeignHome,
    /// Left over from before a reboot.
    #[error("the control segment is from before the last reboot")]
    Stale,
    /// The segment belongs to another user, who may not write this ring.
    #[error(
        "the control segment belongs to user {uid}, who is neither root, nor this user, nor the owner of the ring; \
         remove it"
    )]
    Owner {
        /// Its owner.
        uid: u32,
    },
    /// Longer than the memory it has been given: to look at the rest could end the process.
    #[error("the control segment has been given {allocated} bytes of the {len} it needs (is /dev/shm full?)")]
    Sparse {
        /// Bytes it has been given.
        allocated: u64,
        /// Bytes it needs.
        len: u64,
    },
}

impl SegmentHeader {
    /// A header in private memory, read from the object's first bytes, to be checked before the object is
    /// mapped. After mapping, the header has to be checked again, since the object may have changed.
    pub fn from_bytes(bytes: &[u8; size_of::<SegmentHeader>()]) -> SegmentHeader {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let long = |at: usize| AtomicU64::new(word(at));
        let low = |at: usize| AtomicU32::new(word(at) as u32);
        let high = |at: usize| AtomicU32::new((word(at) >> 32) as u32);
        SegmentHeader {
            magic: long(0),
            version: low(8),
            wake_words: high(8),
            incompatible: long(16),
            compatible: long(24),
            ring_id: [long(32), long(40)],
            boot_id: [long(48), long(56)],
            instance: long(64),
            segment_len: long(72),
            page_slots: low(80),
            index_capacity: high(80),
            index_offset: long(88),
            home: [long(96), long(104)],
            reserved: [long(112), long(120)],
        }
    }

    /// Checks the header of a mapping of `mapped_len` bytes. Each field is loaded once, into private memory.
    ///
    /// # Errors
    /// [`SegmentFault`]: the first thing that is wrong. The caller compares ring and boot.
    pub fn check(&self, mapped_len: u64) -> Result<(SegmentGeometry, SegmentIdentity), SegmentFault> {
        match load_acquire(&self.magic) {
            // SYNC(segment-ready)
            SEGMENT_MAGIC => {}
            0 => return Err(SegmentFault::Unfinished),
            _ => return Err(SegmentFault::Magic),
        }
        let version = self.version.load(Ordering::Relaxed);
        if version != crate::FORMAT_VERSION {
            return Err(SegmentFault::Version { found: version, known: crate::FORMAT_VERSION });
        }
        let flags = self.incompatible.load(Ordering::Relaxed);
        if flags != 0 {
            return Err(SegmentFault::Incompatible { flags });
        }
        let geometry = SegmentGeometry::new(SegmentCounts {
            page_slots: self.page_slots.load(Ordering::Relaxed),
            index_capacity: self.index_capacity.load(Ordering::Relaxed),
            wake_words: self.wake_words.load(Ordering::Relaxed),
        })
        .ok_or(SegmentFault::Range)?;
        let consistent = self.segment_len.load(Ordering::Relaxed) == geometry.segment_len()
            && self.index_offset.load(Ordering::Relaxed) == geometry.index_offset()
            && geometry.segment_len() <= mapped_len;
        if !consistent {
            return Err(SegmentFault::Range);
        }
        Ok((geometry, self.identity()))
    }

    /// The identity in the header, whether or not the rest of the header is valid.
    pub fn stored_identity(&self) -> SegmentIdentity {
        self.identity()
    }

    pub(super) fn identity(&self) -> SegmentIdentity {
        SegmentIdentity {
            ring_id: load_bytes(&self.ring_id),
            boot_id: load_bytes(&self.boot_id),
            home: [self.home[0].load(Ordering::Relaxed), self.home[1].load(Ordering::Relaxed)],
            instance: self.instance.load(Ordering::Relaxed),
        }
    }

    /// Fills in everything and, last, the magic number.
    pub(super) fn publish(&self, geometry: SegmentGeometry, identity: SegmentIdentity) {
        self.magic.store(0, Ordering::Relaxed);
        self.version.store(crate::FORMAT_VERSION, Ordering::Relaxed);
        self.wake_words.store(geometry.wake_words(), Ordering::Relaxed);
        self.incompatible.store(0, Ordering::Relaxed);
        self.compatible.store(0, Ordering::Relaxed);
        store_bytes(&self.ring_id, &identity.ring_id);
        store_bytes(&self.boot_id, &identity.boot_id);
        for (word, number) in self.home.iter().zip(identity.home) {
            word.store(number, Ordering::Relaxed);
        }
        self.instance.store(identity.instance, Ordering::Relaxed);
        self.segment_len.store(geometry.segment_len(), Ordering::Relaxed);
        self.page_slots.store(geometry.page_slots(), Ordering::Relaxed);
        self.index_capacity.store(geometry.index_capacity(), Ordering::Relaxed);
        self.index_offset.store(geometry.index_offset(), Ordering::Relaxed);
        for word in &self.reserved {
            word.store(0, Ordering::Relaxed);
        }
        self.magic.store(SEGMENT_MAGIC, Ordering::Release); // SYNC(segment-ready)
    }
}

fn load_bytes(words: &[AtomicU64; 2]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&words[0].load(Ordering::Relaxed).to_le_bytes());
    bytes[8..].copy_from_slice(&words[1].load(Ordering::Relaxed).to_le_bytes());
    bytes
}

fn store_bytes(words: &[AtomicU64; 2], bytes: &[u8; 16]) {
    for (word, chunk) in words.iter().zip(bytes.chunks_exact(8)) {
        let mut buf = [0; 8];
        buf.copy_from_slice(chunk);
        word.store(u64::from_le_bytes(buf), Ordering::Relaxed);
    }
}

#[cfg(all(test, loom))]
impl SegmentHeader {
    pub(super) fn blank() -> SegmentHeader {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        SegmentHeader {
            magic: AtomicU64::new(0),
            version: AtomicU32::new(0),
            wake_words: AtomicU32::new(0),
            incompatible: AtomicU64::new(0),
            compatible: AtomicU64::new(0),
            ring_id: zeros(),
            boot_id: zeros(),
            instance: AtomicU64::new(0),
            segment_len: AtomicU64::new(0),
            page_slots: AtomicU32::new(0),
            index_capacity: AtomicU32::new(0),
            index_offset: AtomicU64::new(0),
            home: zeros(),
            reserved: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}
