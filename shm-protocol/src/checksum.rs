//! Checksums: CRC-32C (Castagnoli) everywhere.
//!
//! x86-64 and AArch64 have an instruction for CRC-32C, every language has a library for it, and it detects
//! every burst of up to 32 bits. A checksum guards against accidents, not against somebody who can write the
//! files.

#![allow(unsafe_code, reason = "calls a function that is compiled for processors with SSE 4.2")]

use crate::RingId;
use zerocopy::IntoBytes;

/// The hash of a payload: CRC-32C of its bytes. The hash of an empty payload is 0.
#[inline]
pub fn payload_hash(payload: &[u8]) -> u32 {
    crc32c::crc32c(payload)
}

/// CRC-32C of a header or a table that names its ring and page itself.
pub(crate) fn plain(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The part of a record's checksum that is the same for every record of one page of one ring.
///
/// A record is checked as CRC-32C of `ring id (16) | page id (8) | offset in the page (4) | its header
/// without the checksum field (44)`, integers little-endian. The header holds the epoch and the payload's
/// hash. So bytes that an earlier use of the same blocks left behind never validate: another page has another
/// id, another place has another offset, and an earlier epoch shows in its number, which never decreases
/// along the log. A page copied into a payload does not validate either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSeed(u32);

impl PageSeed {
    /// The seed of page `page` of ring `ring`.
    pub fn new(ring: &RingId, page: u64) -> PageSeed {
        PageSeed(crc32c::crc32c_append(crc32c::crc32c(ring), &page.to_le_bytes()))
    }

    /// The checksum of a record header: `covered` is the offset of the record in its page (4 bytes) and the
    /// header without its checksum field (44), as six words.
    ///
    /// The argument is an array of words, because the hash loads words: after stores of half words, such a
    /// load has to wait until the stores have left the processor's store buffer.
    #[inline]
    pub(crate) fn record(self, covered: [u64; 6]) -> u32 {
        six_words(self.0, covered)
    }
}

/// The general routine prepares for long inputs: for 48 bytes that took more time than the hash (by a profile
/// of 3,000 reader processes on two hardware threads of a core: 17 ns a record in it, 8 ns in this).
#[inline]
fn six_words(crc: u32, words: [u64; 6]) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    if std::arch::is_x86_feature_detected!("sse4.2") {
        let [a, b, c, d, e, f] = words;
        // SAFETY: the processor has the instructions that the function uses; it touches no memory of others.
        return unsafe { six_words_sse42(crc, a, b, c, d, e, f) };
    }
    crc32c::crc32c_append(crc, words.as_bytes())
}

/// CRC-32C of six little-endian words, an instruction each.
///
/// The words come one by one, in registers. As an array they go through memory, stored by eight bytes and
/// copied by sixteen, and such a load waits until the stores have left the processor: 46 % of a reader's walk
/// (`perf annotate`).
#[cfg(all(target_arch = "x86_64", not(loom)))]
#[target_feature(enable = "sse4.2")]
fn six_words_sse42(crc: u32, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> u32 {
    let words = [a, b, c, d, e, f];
    let crc =
        words.into_iter().fold(u64::from(!crc), |crc, word| std::arch::x86_64::_mm_crc32_u64(crc, word));
    !(crc as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_castagnoli_polynomial() {
        // RFC 3720, appendix B.4.
        assert_eq!(payload_hash(b"123456789"), 0xE306_9283);
        assert_eq!(payload_hash(&[0; 32]), 0x8A91_36AA);
        assert_eq!(payload_hash(b""), 0);
    }

    #[test]
    fn six_words_are_their_bytes() {
        let mut word = 0x0123_4567_89ab_cdef_u64;
        for _ in 0..1000 {
            let words = [(); 6].map(|()| {
                word = word.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                word
            });
            let crc = word as u32;
            assert_eq!(six_words(crc, words), crc32c::crc32c_append(crc, words.as_bytes()));
        }
    }

    #[test]
    fn seeds_differ_by_ring_page_and_offset() {
        let seed = PageSeed::new(&[1; 16], 7);
        assert_ne!(seed, PageSeed::new(&[1; 16], 8));
        assert_ne!(seed, PageSeed::new(&[2; 16], 7));
        assert_ne!(seed.record([4096, 0, 0, 0, 0, 0]), seed.record([4104, 0, 0, 0, 0, 0]));
    }
}
