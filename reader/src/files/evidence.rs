//! How far the log is known to have been durable, according to good records behind a bad one.
//!
//! Every record names a position below which everything was durable before it was written. One that is found behind a
//! bad record may so tell damage, which must be reported, from an append that a crash interrupted.

use crate::pages::read_at;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use waldo_shm_protocol::limits::{PAGE_HEADER_LEN, RECORD_ALIGN, RECORD_HEADER_LEN};
use waldo_shm_protocol::{PageSeed, Position, RawRecord, RingId, names};

const CHUNK: usize = 256 << 10;

/// The highest durable position that a good header in `from..to` names. Every place where a record could start is
/// looked at. Only headers with the right checksum count; it is seeded with ring, page and offset, so nothing else
/// validates. `limit` is where records end at the latest.
pub(super) fn behind(
    file: &File,
    seed: PageSeed,
    (from, to): (u64, u64),
    limit: u64,
) -> io::Result<Position> {
    let mut durable = Position::NONE;
    let mut window = vec![0; CHUNK + RECORD_HEADER_LEN];
    let mut start = from;
    while start + RECORD_HEADER_LEN as u64 <= to {
        let want = usize::try_from(to - start).unwrap_or(usize::MAX).min(window.len());
        let got = read_at(file, &mut window[..want], start)?;
        let mut at = 0;
        while let Some(raw) = window[..got].get(at..).and_then(RawRecord::read) {
            let offset = start + at as u64;
            // The cheap test first: most bytes are no header.
            if raw.length != 0
                && raw.check(limit.saturating_sub(offset)).is_ok()
                && u32::try_from(offset).is_ok_and(|offset| raw.verify(seed, offset).is_ok())
            {
                durable = durable.max(Position::from_word(raw.durable));
            }
            at += RECORD_ALIGN;
        }
        if got < want || at == 0 {
            break;
        }
        start += at as u64;
    }
    Ok(durable)
}

/// The same for all of page `id`, whatever its header says; nothing if there is no such page.
pub(super) fn in_page(home: &Path, ring_id: &RingId, id: u64) -> io::Result<Position> {
    let path = home.join(names::page(id));
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Position::NONE),
        Err(error) => return Err(error),
    };
    let stat = file.metadata()?;
    if !stat.is_file() {
        return Ok(Position::NONE);
    }
    behind(&file, PageSeed::new(ring_id, id), (PAGE_HEADER_LEN as u64, stat.len()), stat.len())
}
