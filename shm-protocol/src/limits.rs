//! Every limit of the format, in one place, with the relations between them asserted.

/// Bytes of a record's header.
pub const RECORD_HEADER_LEN: usize = 48;
/// Records start at multiples of this many bytes.
pub const RECORD_ALIGN: usize = 8;
/// A record whose serialized size (header + payload, padded) is this many bytes or more is refused.
pub const RECORD_SIZE_LIMIT: usize = 1024 * 1024;
/// Longest payload in bytes that a record can carry.
pub const PAYLOAD_LEN_MAX: usize = RECORD_SIZE_LIMIT - RECORD_HEADER_LEN - RECORD_ALIGN;

/// Bytes at the start of a page file that belong to its header; the first record follows.
pub const PAGE_HEADER_LEN: usize = 4096;
/// Bytes of the footer at the very end of a page file.
pub const PAGE_FOOTER_LEN: usize = 128;
/// Bytes of one sparse-index entry, in a page's footer area and in the control segment.
pub const INDEX_ENTRY_LEN: usize = 24;
/// Smallest page file in bytes.
pub const PAGE_LEN_MIN: u64 = 16 * 1024;
/// Largest page file in bytes: what the offset half of a [`crate::Position`] can address.
pub const PAGE_LEN_MAX: u64 = 1 << 31;
/// Largest page id; a writer whose ring has reached it refuses to rotate.
pub const PAGE_ID_MAX: u64 = (1 << 36) - 1;
/// Most index entries in one page.
pub const INDEX_CAPACITY_MAX: u32 = 1 << 20;
/// Most pages in a ring.
pub const RING_SIZE_MAX: u32 = 1 << 16;
/// Most wake words in a control segment.
pub const WAKE_WORDS_MAX: u32 = 64;
/// Largest control segment in bytes.
pub const SEGMENT_LEN_MAX: u64 = 1 << 32;

/// Rounds `len` up to the alignment of records.
#[inline(always)]
pub const fn align_record(len: usize) -> usize {
    (len + (RECORD_ALIGN - 1)) & !(RECORD_ALIGN - 1)
}

const _: () = {
    assert!(RECORD_HEADER_LEN.is_multiple_of(RECORD_ALIGN));
    assert!(align_record(RECORD_HEADER_LEN + PAYLOAD_LEN_MAX) < RECORD_SIZE_LIMIT);
    assert!(align_record(RECORD_HEADER_LEN + PAYLOAD_LEN_MAX + 1) >= RECORD_SIZE_LIMIT);
    assert!(RECORD_SIZE_LIMIT <= 1 << 24, "the length shares its word with eight flag bits");
    assert!(PAGE_LEN_MIN as usize >= PAGE_HEADER_LEN + PAGE_FOOTER_LEN + 2 * RECORD_HEADER_LEN);
};
