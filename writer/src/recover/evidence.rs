//! How far the log is known to have been durable, and which good records lie behind a bad one.

use crate::page::Page;
use std::io;
use waldo_shm_protocol::limits::{RECORD_ALIGN, RECORD_HEADER_LEN};
use waldo_shm_protocol::record::Frame;
use waldo_shm_protocol::{Position, RawRecord};

/// What was found behind the place where the walk through a page ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beyond {
    /// The highest durable position that a good header there names.
    pub(crate) durable: Position,
    /// Where the last good header's record ends; 0 if there is none. Bytes up to there have to be cleared, or
    /// they could be taken for records once the log has grown up to them.
    pub(crate) end: u64,
}

const CHUNK: usize = 1 << 20;

/// Looks at every place behind `from` where a record of this page could start. Only headers with the right
/// checksum count; it is seeded with ring, page and offset, so nothing else validates.
pub(super) fn look_beyond(page: &Page, from: u64) -> io::Result<Beyond> {
    let limit = page.header.fields().records_limit;
    let mut beyond = Beyond::default();
    let mut window = vec![0; CHUNK + RECORD_HEADER_LEN];
    let mut start = from;
    while start + RECORD_HEADER_LEN as u64 <= limit {
        let want = window.len().min((limit - start) as usize);
        let len = page.file.read_up_to(&mut window[..want], start)?;
        let places = len.saturating_sub(RECORD_HEADER_LEN - 1).div_ceil(RECORD_ALIGN);
        for place in 0..places {
            let at = place * RECORD_ALIGN;
            let offset = start + at as u64;
            let Some(raw) = RawRecord::read(&window[at..len]) else { break };
            // The cheap test first: most bytes are no header.
            let Ok(frame) = raw.check(limit - offset) else { continue };
            if raw.verify(page.seed, offset as u32).is_err() {
                continue;
            }
            let (durable, size) = match frame {
                Frame::Record(record) => (record.durable(), record.size()),
                Frame::Seal(seal) => (seal.durable(), RECORD_HEADER_LEN),
            };
            beyond.durable = beyond.durable.max(durable);
            beyond.end = beyond.end.max(offset + size as u64);
        }
        if len < want || places == 0 {
            break;
        }
        start += (places * RECORD_ALIGN) as u64;
    }
    Ok(beyond)
}
