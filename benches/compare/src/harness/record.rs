//! The records: the same for every system, and what every subscriber does with them.
//!
//! ```text
//! 0          8          16        24                  32             size
//! | number   | sent, ns | kind    | check             | filler ...   |
//! ```
//!
//! `check` covers number, time, kind and every byte of the filler, so a subscriber reads all of what it
//! received, as a program that has a use for it would.

use super::spec::Phase;

const HEAD: usize = 32;
const LAST: u64 = 1 << 8;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Counts from 1 without gaps, through all phases.
    pub number: u64,
    /// When it was handed to the system, on the shared clock.
    pub sent_ns: u64,
    /// The phase it belongs to.
    pub phase: Phase,
    /// Whether it is that phase's last.
    pub last: bool,
}

/// Makes records of one size.
pub struct Press {
    filler: Vec<u8>,
    filler_sum: u64,
}

impl Press {
    /// For records of `size` bytes, at least 40.
    pub fn new(size: usize) -> Press {
        let mut state = 0x5eed_u64;
        let filler: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(size - HEAD)
        .collect();
        let filler_sum = sum(&filler);
        Press { filler, filler_sum }
    }

    /// Makes `buffer` a record.
    pub fn print(&self, buffer: &mut Vec<u8>, stamp: Stamp) {
        let kind = stamp.phase as u64 | if stamp.last { LAST } else { 0 };
        buffer.clear();
        for word in
            [stamp.number, stamp.sent_ns, kind, check(stamp.number, stamp.sent_ns, kind, self.filler_sum)]
        {
            buffer.extend_from_slice(&word.to_le_bytes());
        }
        buffer.extend_from_slice(&self.filler);
    }
}

/// Reads a record of `size` bytes; `None` if it is not as it was sent.
pub fn read(record: &[u8], size: usize) -> Option<Stamp> {
    let (head, filler) = record.split_at_checked(HEAD)?;
    let mut words = head.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let (number, sent_ns, kind, check_word) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if record.len() != size || check_word != check(number, sent_ns, kind, sum(filler)) {
        return None;
    }
    let phase = Phase::from_number(kind & 0xff)?;
    Some(Stamp { number, sent_ns, phase, last: kind & LAST != 0 })
}

fn check(number: u64, sent_ns: u64, kind: u64, filler_sum: u64) -> u64 {
    [sent_ns, kind, filler_sum].into_iter().fold(number, mix)
}

fn mix(sum: u64, word: u64) -> u64 {
    (sum.rotate_left(29) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let start = words.iter().fold(0, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    rest.iter().fold(start, |sum, byte| mix(sum, u64::from(*byte)))
}
