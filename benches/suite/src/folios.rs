//! The sizes of the folios in which the page cache holds a file. They decide how fast small appends are, how
//! cheap it is to map a page, and what a flush costs while many processes map the page.

use super::system;
use std::collections::BTreeMap;
use std::fs::File;
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use waldo_terminal::units;

const PAGE: usize = 4096;
/// In an entry of `/proc/self/pagemap`.
const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;
/// In an entry of `/proc/kpageflags`.
const HEAD: u64 = 1 << 15;
const TAIL: u64 = 1 << 16;

/// For people; says why if it cannot be told.
pub fn describe(path: &Path) -> String {
    match shares(path) {
        Some(shares) => format!("A page of the ring is in the page cache in folios of {shares}."),
        None => "Folio sizes are not known: only root may see them.".to_owned(),
    }
}

/// The commonest sizes, and how much of the file is in such folios; `None` if this process may not know. What
/// of the file is not in the page cache is read for this.
pub fn shares(path: &Path) -> Option<String> {
    let sizes = sizes(path).ok().filter(|sizes| !sizes.is_empty())?;
    let all: u64 = sizes.values().sum();
    let mut parts: Vec<_> = sizes.into_iter().collect();
    parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let parts: Vec<_> = parts
        .into_iter()
        .take(4)
        .map(|(size, bytes)| format!("{} ({:.0} %)", units::bytes(size), bytes as f64 / all as f64 * 100.0))
        .collect();
    Some(parts.join(", "))
}

/// Bytes of the file by the size of the folio that they are in; empty if this process may not know.
fn sizes(path: &Path) -> io::Result<BTreeMap<u64, u64>> {
    let map = system::map(&File::open(path)?)?;
    let flags = flags(&map)?;
    let mut sizes = BTreeMap::new();
    let mut count = |pages: usize| *sizes.entry((pages * PAGE) as u64).or_default() += (pages * PAGE) as u64;
    let mut pages = 0;
    for flag in flags {
        if flag & TAIL == 0 && pages > 0 {
            count(pages);
            pages = 0;
        }
        pages += 1;
    }
    if pages > 0 {
        count(pages);
    }
    Ok(sizes)
}

/// What the kernel says about each page of the mapping; `HEAD` or neither begins a folio.
fn flags(map: &[u8]) -> io::Result<Vec<u64>> {
    let frames = File::open("/proc/self/pagemap")?;
    let flags = File::open("/proc/kpageflags")?;
    let first = map.as_ptr() as usize / PAGE;
    let mut found = Vec::with_capacity(map.len() / PAGE);
    for page in 0..map.len() / PAGE {
        // Only what has been touched has a frame.
        black_box(map[page * PAGE]);
        let entry = word(&frames, first + page)?;
        let frame = entry & FRAME;
        if entry & PRESENT == 0 || frame == 0 {
            return Ok(Vec::new());
        }
        let flag = word(&flags, frame as usize)?;
        found.push(if flag & HEAD != 0 { flag & !TAIL } else { flag });
    }
    Ok(found)
}

#[allow(clippy::host_endian_bytes, reason = "the kernel writes these files in the machine's own order")]
fn word(file: &File, index: usize) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, index as u64 * 8)?;
    Ok(u64::from_ne_bytes(bytes))
}
