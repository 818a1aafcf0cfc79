//! The size of the demo's ring, and whether the writer has to be throttled.

use super::Args;
use super::text;
use crate::input::{Framing, Input, Long};
use anyhow::Context;
use std::fs::File;
use std::path::Path;
use waldo_harness::ring::geometry;
use waldo_shm_protocol::limits::{PAYLOAD_LEN_MAX, RECORD_ALIGN, RECORD_HEADER_LEN};
use waldo_terminal::failure::Usage;

/// Records without --input and --records.
const RECORDS: u64 = 100_000;
/// Most bytes of page files.
const DISK_MAX: u64 = 2 << 30;
/// Bytes of page files when it is not known how much text there will be.
const DISK_UNKNOWN: u64 = 256 << 20;
/// Pages of a ring that goes round, at least: one being written, one waiting, two for readers.
const PAGES_MIN: u64 = 4;

/// The ring's size, and how far the writer may be ahead of the slowest reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Pages.
    pub ring_size: u32,
    /// Bytes of a page file.
    pub page_len: u64,
    /// Bytes of records; 0 for any number, since everything fits into the ring.
    pub window: u64,
}

/// What there is to append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Volume {
    records: u64,
    bytes: u64,
    longest: u64,
    /// There may be more.
    open: bool,
}

/// Everything the demo decides before it starts anything.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The ring.
    pub geometry: Geometry,
    /// Records at most.
    pub records: u64,
    /// Records there will be, if that is known.
    pub expected: Option<u64>,
}

impl Plan {
    /// Looks at the input and at the room in `dir`, where the ring will be.
    pub fn make(args: &Args, dir: &Path) -> anyhow::Result<Plan> {
        let limit = args.records.unwrap_or(match (&args.input, args.seconds) {
            (None, None) => RECORDS,
            _ => u64::MAX,
        });
        let volume = match &args.input {
            Some(path) => measure(path, limit)?,
            None => Volume {
                records: limit,
                bytes: limit.saturating_mul(text::longest_line() / 4),
                longest: text::longest_line(),
                open: limit == u64::MAX,
            },
        };
        let space = nix::sys::statvfs::statvfs(dir)
            .with_context(|| format!("cannot tell how much room there is in {}", dir.display()))?;
        let disk = DISK_MAX.min(space.blocks_available().saturating_mul(space.fragment_size()) / 2);
        let geometry = size(&volume, args.ring_size, args.page_size, disk)?;
        let expected = (!volume.open && args.seconds.is_none()).then_some(volume.records);
        Ok(Plan { geometry, records: limit, expected })
    }
}

fn measure(path: &Path, limit: u64) -> anyhow::Result<Volume> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut input = Input::new(file, Framing::Lines, 1 << 20, PAYLOAD_LEN_MAX, Long::Split);
    let mut volume = Volume::default();
    while volume.records < limit {
        let more = input.read().with_context(|| format!("cannot use {}", path.display()))?;
        for line in input.batch().iter().take(usize::try_from(limit - volume.records).unwrap_or(usize::MAX)) {
            volume.records += 1;
            volume.bytes += line.len() as u64;
            volume.longest = volume.longest.max(line.len() as u64);
        }
        if !more {
            break;
        }
    }
    Ok(volume)
}

fn size(
    volume: &Volume,
    ring_size: Option<u32>,
    page_len: Option<u64>,
    disk: u64,
) -> anyhow::Result<Geometry> {
    let per_record = (RECORD_HEADER_LEN + RECORD_ALIGN) as u64;
    let mark = 4096;
    let total = volume.records.saturating_mul(per_record).saturating_add(volume.bytes).saturating_add(mark);
    let large = !volume.open && total > 32 << 20;
    let page_len = page_len.unwrap_or(if large { 64 << 20 } else { 16 << 20 });
    let page = geometry(page_len)?;
    // A page may end with as much room as the longest record takes.
    let wasted = volume.longest + per_record;
    let usable = page.record_size_max().saturating_sub(wasted);
    if usable < wasted {
        return Err(Usage(format!(
            "--page-size {page_len} is too small for records of {} bytes",
            volume.longest
        ))
        .into());
    }
    let needed = total.div_ceil(usable).saturating_add(1);
    let affordable = disk / page_len;
    let unknown = (DISK_UNKNOWN / page_len).max(PAGES_MIN);
    let pages = match ring_size {
        Some(pages) => u64::from(pages),
        None if volume.open => unknown.min(affordable),
        None => needed.max(2).min(affordable),
    };
    if pages >= needed && !volume.open {
        return Ok(Geometry { ring_size: pages as u32, page_len, window: 0 });
    }
    if pages < PAGES_MIN {
        return Err(Usage(format!(
            "{pages} pages of {page_len} bytes do not hold the text, and a ring that goes round takes {PAGES_MIN}: \
             make --ring-size or --page-size larger, free disk space, or append less with --records"
        ))
        .into());
    }
    Ok(Geometry { ring_size: pages as u32, page_len, window: (pages - 2) * usable })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(records: u64, bytes: u64) -> Volume {
        Volume { records, bytes, longest: 1000, open: false }
    }

    #[test]
    fn what_fits_is_not_held_back() {
        let geometry = size(&volume(100_000, 8 << 20), None, None, DISK_MAX).unwrap();
        assert_eq!(geometry, Geometry { ring_size: 2, page_len: 16 << 20, window: 0 });
        let geometry = size(&volume(1_000_000, 1 << 30), None, None, DISK_MAX).unwrap();
        assert_eq!((geometry.page_len, geometry.window), (64 << 20, 0));
        assert!(u64::from(geometry.ring_size) * geometry.page_len <= DISK_MAX);
    }

    #[test]
    fn what_does_not_fit_goes_round_with_two_pages_to_spare() {
        let geometry = size(&volume(1_000_000, 100 << 30), None, None, DISK_MAX).unwrap();
        assert!(
            geometry.window > 0 && geometry.window < (u64::from(geometry.ring_size) - 1) * geometry.page_len
        );
        let geometry =
            size(&Volume { open: true, ..volume(u64::MAX, u64::MAX) }, None, None, DISK_MAX).unwrap();
        assert!(geometry.window > 0);
        let small = size(&volume(1_000_000, 1 << 30), Some(3), Some(1 << 20), DISK_MAX);
        assert!(small.unwrap_err().is::<Usage>());
        assert!(size(&volume(10, 10_000), None, Some(5000), DISK_MAX).unwrap_err().is::<Usage>());
    }
}
