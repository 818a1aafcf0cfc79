//! How far the log is known to have been durable, and which good records follow a bad one.

use super::source::PageBytes;
use crate::checksum::PageSeed;
use crate::limits::{RECORD_ALIGN, RECORD_HEADER_LEN};
use crate::record::Frame;
use crate::{Position, RawRecord};

/// What was found after the place where the walk through a page ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// The highest durable position that a good header there names.
    pub durable: Position,
    /// The highest epoch that a good header there names.
    pub epoch: u32,
    /// Good headers there.
    pub records: u64,
    /// Where the last good header's record ends; 0 if there is none. Bytes up to there have to be cleared, or
    /// the log could later grow up to them and they would pass for records.
    pub end: u64,
}

impl Beyond {
    /// Takes what `other` found into account too.
    pub fn add(&mut self, other: &Beyond) {
        self.durable = self.durable.max(other.durable);
        self.epoch = self.epoch.max(other.epoch);
        self.records += other.records;
        self.end = self.end.max(other.end);
    }
}

const CHUNK: usize = 1 << 20;
/// Places that are passed over together where all bytes are zero, as they are in what the log has not reached
/// yet.
const BLOCK_PLACES: usize = 512;

/// Looks at every place from `from` to `limit` where a record of a page could start. Only headers with the
/// right checksum count. The checksum is seeded with ring, page and offset, so nothing else passes.
///
/// # Errors
/// What reading says.
pub fn look_beyond<P: PageBytes>(
    page: &P,
    seed: PageSeed,
    from: u64,
    limit: u64,
) -> Result<Beyond, P::Error> {
    let mut beyond = Beyond::default();
    let room = usize::try_from(limit.saturating_sub(from)).unwrap_or(usize::MAX);
    let mut window = vec![0; room.min(CHUNK + RECORD_HEADER_LEN)];
    let mut start = from;
    while start + RECORD_HEADER_LEN as u64 <= limit {
        let want = window.len().min(usize::try_from(limit - start).unwrap_or(usize::MAX));
        let len = page.read_up_to(&mut window[..want], start)?;
        let places = len.saturating_sub(RECORD_HEADER_LEN - 1).div_ceil(RECORD_ALIGN);
        for block in (0..places).step_by(BLOCK_PLACES) {
            let begin = block * RECORD_ALIGN;
            let end = len.min(begin + BLOCK_PLACES * RECORD_ALIGN);
            // No header starts with a zero.
            if window[begin..end].iter().fold(0, |sum, byte| sum | byte) == 0 {
                continue;
            }
            for at in (begin..end.min(places * RECORD_ALIGN)).step_by(RECORD_ALIGN) {
                if let Some(found) = header_at(&window[at..len], seed, start + at as u64, limit) {
                    beyond.add(&found);
                }
            }
        }
        if len < want || places == 0 {
            break;
        }
        start += (places * RECORD_ALIGN) as u64;
    }
    Ok(beyond)
}

/// What the header says that stands at the start of `bytes`, `offset` bytes into the page, if it is a good
/// one.
fn header_at(bytes: &[u8], seed: PageSeed, offset: u64, limit: u64) -> Option<Beyond> {
    let raw = RawRecord::read(bytes)?;
    // Most places are no header. The cheap test comes first.
    let frame = raw.check(limit - offset).ok()?;
    raw.verify(seed, u32::try_from(offset).ok()?).ok()?;
    let (durable, size) = match frame {
        Frame::Record(record) => (record.durable(), record.size()),
        Frame::Seal(seal) => (seal.durable(), RECORD_HEADER_LEN),
    };
    Some(Beyond { durable, epoch: raw.epoch, records: 1, end: offset + size as u64 })
}
