//! Keeps the bytes ahead of the log's end in the page cache.
//!
//! A kernel that is short of memory, or reclaims unused memory early (DAMON, a limit of a control group),
//! evicts that part of a page too: it is clean, and no process touches it until the log gets there. Each
//! append that begins a block then waits until the block has been read from the disk, which takes ten times
//! as long as the append, and milliseconds where the disk is busy. So the thread that prepares pages looks
//! ahead now and then, and reads the evicted parts.

use crate::disk::DiskFile;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use waldo_shm_protocol::Position;

/// Time between two looks. The kernel evicts nothing within so short a time.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How far to look at least: enough for a log that has grown slowly to begin to grow fast.
const AHEAD_MIN: u64 = 4 << 20;
/// How far to look, in lengths of what has been appended since the look before.
const AHEAD_TIMES: u64 = 4;
/// How far to look at most.
const AHEAD_MAX: u64 = 64 << 20;
/// The page cache's own unit, or a part of it.
const BLOCK: u64 = 4096;
/// What is read comes back in folios of up to this size.
const PIECE: u64 = 256 << 10;

/// A page ahead of the log, and the part of it that records go to.
pub(super) struct UpcomingRange {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// How the log has grown.
#[derive(Default)]
pub(super) struct Readahead {
    last: Option<Position>,
    /// The last attempt to read ahead failed.
    pub(super) failed: bool,
}

impl Readahead {
    /// How many bytes after `end` to keep in the page cache, for pages of this length.
    pub(super) fn distance(&mut self, end: Position, page_len: u64) -> u64 {
        let last = self.last.replace(end).unwrap_or(end);
        let offset = |position: Position| u64::from(position.offset());
        let pages = end.page().saturating_sub(last.page()).min(2);
        let grown = (pages * page_len + offset(end)).saturating_sub(offset(last));
        (grown * AHEAD_TIMES).clamp(AHEAD_MIN, AHEAD_MAX)
    }
}

/// Reads the evicted parts of the first `distance` bytes of these ranges, one after the other, as long as
/// `may_go_on` says so: a piece takes a millisecond or more, and a thread that needs a page, or wants to end,
/// must not wait for all of them. Returns the bytes read.
///
/// Where a read blocks an append to the same file (XFS), one append waits for a piece now, instead of 64
/// appends for a block each later.
pub(super) fn read_missing(
    ranges: &[UpcomingRange],
    distance: u64,
    mut may_go_on: impl FnMut() -> bool,
) -> io::Result<u64> {
    let (mut left, mut read) = (distance, 0);
    for range in ranges {
        // The block that the log ends in counts, too.
        let from = range.from / BLOCK * BLOCK;
        let len = range.to.saturating_sub(from).min(left);
        left -= len;
        if len == 0 || range.file.cached(from, len)? {
            continue;
        }
        let mut piece = vec![0; PIECE as usize];
        let end = from + len;
        let mut at = from;
        while at < end {
            // Up to a multiple of a piece, where the next folio begins.
            let next = (at / PIECE + 1) * PIECE;
            let piece = &mut piece[..(next.min(end) - at) as usize];
            if !range.file.cached(at, piece.len() as u64)? {
                if !may_go_on() {
                    return Ok(read);
                }
                read += range.file.read_up_to(piece, at)? as u64;
            }
            at = next;
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Home, small};
    use crate::{Durability, Io, WriterOptions};
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    use std::fs::File;
    use std::time::Instant;

    fn at(page: u64, offset: u64) -> Position {
        Position::new(page, offset).unwrap()
    }

    #[test]
    fn the_way_is_as_long_as_the_log_grows_fast() {
        const MIB: u64 = 1 << 20;
        let mut readahead = Readahead::default();
        assert_eq!(readahead.distance(at(1, 4096), 64 * MIB), 4 * MIB);
        assert_eq!(readahead.distance(at(1, 4096), 64 * MIB), 4 * MIB);
        assert_eq!(readahead.distance(at(1, 4096 + 2 * MIB), 64 * MIB), 8 * MIB);
        assert_eq!(readahead.distance(at(1, 4096 + 40 * MIB), 64 * MIB), 64 * MIB);
        assert_eq!(readahead.distance(at(1, 60 * MIB), 64 * MIB), 64 * MIB);
        // Over the end of a page.
        assert_eq!(readahead.distance(at(2, MIB), 64 * MIB), 20 * MIB);
        assert_eq!(readahead.distance(at(2, MIB), 64 * MIB), 4 * MIB);
        assert_eq!(readahead.distance(at(9, MIB), 2048 * MIB), 64 * MIB);
        assert_eq!(readahead.distance(at(9, MIB), MIB), 4 * MIB);
    }

    #[test]
    fn who_has_to_stop_reads_no_further() {
        let home = Home::new();
        let disk = crate::disk::OsDisk::open(home.path()).unwrap();
        let file = crate::disk::Disk::create(&disk, "file", crate::disk::FileRights::PRIVATE).unwrap();
        file.write_all_at(&vec![1; 1 << 20], 0).unwrap();
        file.sync_data().unwrap();
        let handle = File::open(home.path().join("file")).unwrap();
        posix_fadvise(&handle, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        if file.cached(0, 1 << 20).unwrap() {
            // A file system that lives in the page cache.
            return;
        }
        let range = UpcomingRange { file, from: 100, to: 1 << 20 };
        assert_eq!(read_missing(std::slice::from_ref(&range), 1 << 20, || false).unwrap(), 0);
        assert!(!range.file.cached(0, 1 << 20).unwrap());
        let mut pieces = 0;
        let read = read_missing(std::slice::from_ref(&range), 1 << 20, || {
            pieces += 1;
            pieces < 2
        });
        // The kernel reads ahead by itself, so that there may be no second piece to ask for.
        assert!(pieces == 2 && read.unwrap() == PIECE || pieces == 1);
        read_missing(std::slice::from_ref(&range), 1 << 20, || true).unwrap();
        assert!(range.file.cached(0, 1 << 20).unwrap());
    }

    #[test]
    fn what_lies_ahead_comes_back_into_the_page_cache() {
        const PAGE: u64 = 1 << 20;
        let home = Home::new();
        let durability = Durability::Interval(Duration::from_secs(3600));
        let mut writer =
            home.open(&WriterOptions { page_len: PAGE, ring_size: 2, ..small(Io::Pwrite, durability) });
        // A page of which half is written, and one that is ready behind it. Both have been written in full
        // before, as other pages: where nothing was ever written there is nothing to come back.
        let payload = [0x5a; 1000];
        while writer.committed().page() < 8 || u64::from(writer.committed().offset()) < PAGE / 2 {
            writer.append_payloads(&[payload]).unwrap();
        }
        writer.sync().unwrap();
        let core = writer.core();
        let deadline = Instant::now() + Duration::from_secs(20);
        let ready = loop {
            match core.disk.open(&waldo_shm_protocol::names::page(9)) {
                Ok(file) => break file,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        };
        let active = core.disk.open(&waldo_shm_protocol::names::page(8)).unwrap();
        for id in [8, 9] {
            let file = File::open(home.page(id)).unwrap();
            file.sync_data().unwrap();
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        }
        let from = u64::from(writer.committed().offset());
        let until = |what: &str, there: &dyn Fn() -> bool| {
            while !there() {
                assert!(Instant::now() < deadline, "{what}");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        // Not the footer's room, which no append goes to.
        until("the rest of the active page", &|| active.cached(from, PAGE / 2 - (64 << 10)).unwrap());
        until("the ready page", &|| ready.cached(4096, PAGE / 2).unwrap());
        writer.close().unwrap();
    }
}
