//! The ring that is copied: its pages, held open, and where the copy ends.

use crate::attach::settle;
use crate::descriptors::raise_limit;
use crate::plain_file;
use crate::snapshot::page_reader::PageReader;
use anyhow::{Context, bail};
use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use waldo::protocol::limits::PAGE_HEADER_LEN;
use waldo::protocol::meta::{META_LEN, Meta};
use waldo::protocol::page::PageHeader;
use waldo::protocol::{Position, names};
use waldo::reader::{Cursor, ReadError, Ring};
use waldo_terminal::interrupt::Interrupt;

/// Looks for the pages before a ring that goes round faster than its pages can be opened is given up.
const TRIES_MAX: u32 = 16;

/// A ring at one moment.
pub struct RingImage {
    meta: Meta,
    /// Permissions that the writer gives to its files, and those of its directory.
    mode: u32,
    dir_mode: u32,
    /// The user and the group of the ring.
    owner: (u32, u32),
    /// Where the copy ends.
    end: Position,
    /// Pages that have not been copied yet. A page that anybody has open is not used again.
    pages: VecDeque<OpenPage>,
    /// How many there were.
    count: usize,
    /// The first record that was copied, and the last one, with its epoch.
    first: Option<u64>,
    last: Option<(u64, u32)>,
}

/// A page that is held open.
struct OpenPage {
    id: u64,
    path: PathBuf,
    file: File,
    header: PageHeader,
}

impl RingImage {
    /// Opens all pages of the ring.
    ///
    /// # Errors
    /// If the ring cannot be read, or goes round faster than that.
    pub fn open(ring: &Ring, interrupt: &Interrupt) -> anyhow::Result<RingImage> {
        raise_limit();
        let home = ring.home();
        let meta_path = home.join(names::META);
        let cannot = || format!("cannot read {}", meta_path.display());
        for _ in 0..TRIES_MAX {
            let status = settle(ring, interrupt)?;
            let meta = Ring::metadata(home)?;
            let stat = std::fs::metadata(&meta_path).with_context(cannot)?;
            let (mode, owner) = (stat.mode() & 0o777, (stat.uid(), stat.gid()));
            let dir_mode = std::fs::metadata(home).with_context(cannot)?.mode() & 0o2777;
            if meta.ring_id != ring.ring_id() {
                bail!("{}: another ring is here now", home.display());
            }
            // Of a writer that goes on, the number is that of the end or of a record behind.
            let (end, tip) = (status.committed, status.tip_seq_no.unwrap_or(0));
            let pages = match tip {
                0 => Some(VecDeque::new()),
                _ => open_pages(home, &meta, status.oldest_page..=end.page())?,
            };
            if let Some(pages) = pages {
                check_end(ring, tip)?;
                let end = if tip == 0 { Position::NONE } else { end };
                let count = pages.len();
                return Ok(RingImage {
                    meta,
                    mode,
                    dir_mode,
                    owner,
                    end,
                    pages,
                    count,
                    first: None,
                    last: None,
                });
            }
        }
        bail!("{}: the ring goes round faster than its pages can be opened", home.display());
    }

    /// The next page, oldest first.
    ///
    /// # Errors
    /// What opening it anew meets.
    pub fn next_page(&mut self) -> Option<PageReader> {
        let page = self.pages.pop_front()?;
        let end = (page.id == self.end.page()).then(|| u64::from(self.end.offset()));
        Some(PageReader::new(page.path, page.file, page.header, self.last, end))
    }

    /// Notes what a page held that has been read to its end.
    pub fn note(&mut self, page: &PageReader) {
        let summary = page.summary();
        if summary.records > 0 {
            self.first.get_or_insert(summary.first_seq_no);
            self.last = Some((summary.last_seq_no, summary.epoch));
        }
    }

    /// The metadata of the copy: a ring that was closed where the copy ends.
    pub fn meta(&self) -> Vec<u8> {
        let mut content = vec![0; META_LEN];
        // Both slots say the same.
        for later in 1..=2 {
            let counter = self.meta.counter.saturating_add(later);
            let (at, slot) = Meta { counter, clean_end: self.end, durable: self.end, ..self.meta }.encode();
            // A slot's place lies within the file.
            let at = usize::try_from(at).unwrap_or(0);
            content[at..at + slot.len()].copy_from_slice(&slot);
        }
        content
    }

    /// Permissions of the ring's files.
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// Permissions of the ring's directory, with the set-group-id bit.
    pub fn dir_mode(&self) -> u32 {
        self.dir_mode
    }

    /// The user and the group that the ring's files belong to.
    pub fn owner(&self) -> (u32, u32) {
        self.owner
    }

    /// How many pages there are.
    pub fn pages(&self) -> usize {
        self.count
    }

    /// The first and the last record that were copied.
    pub fn copied(&self) -> (Option<u64>, u64) {
        (self.first, self.last.map_or(0, |(seq_no, _)| seq_no))
    }
}

/// The newest good record is not the end of the log if what stands behind it is damaged.
fn check_end(ring: &Ring, tip: u64) -> Result<(), ReadError> {
    match ring.reader(Cursor::After(tip)).and_then(|mut reader| reader.poll()) {
        Ok(_) | Err(ReadError::Lapped { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The pages with these ids; the oldest may be trimmed meanwhile. `None` if all are.
fn open_pages(
    home: &Path,
    meta: &Meta,
    ids: std::ops::RangeInclusive<u64>,
) -> anyhow::Result<Option<VecDeque<OpenPage>>> {
    let mut pages = VecDeque::new();
    for id in ids {
        let path = home.join(names::page(id));
        let opened = plain_file::open(&path).and_then(|file| {
            let mut head = [0; PAGE_HEADER_LEN];
            file.read_exact_at(&mut head, 0)?;
            Ok((file.metadata()?.len(), head, file))
        });
        match opened {
            Ok((len, head, file)) => match PageHeader::check(&head, len, &meta.ring_id, id) {
                Ok(header) => pages.push_back(OpenPage { id, path, file, header }),
                // Taken out of the ring between its name and its header.
                Err(_) if !path.exists() => pages.clear(),
                Err(fault) => bail!("{}: {fault}", path.display()),
            },
            // What is older has gone as well, or will be.
            Err(error) if error.kind() == ErrorKind::NotFound => pages.clear(),
            Err(error) if error.raw_os_error() == Some(nix::libc::EMFILE) => bail!(
                "{}: this process may not have so many files open; raise the limit (`ulimit -n`)",
                path.display()
            ),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
    Ok((!pages.is_empty()).then_some(pages))
}
