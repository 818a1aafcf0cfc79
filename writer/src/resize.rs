//! Changing the size of a ring that no writer has open.
//!
//! ```text
//! plan    read the files, say what stays and what goes; nothing is changed
//! apply   lock --> survey, and compare with the plan --> metadata with the new sizes, durable
//!              --> the oldest pages lose their names, durable --> close
//! ```
//!
//! As soon as the metadata is durable, every writer uses the new sizes, and trims the excess pages. So an
//! interruption leaves a ring that opens, and the same change can be made again.

#[cfg(test)]
mod tests;

use crate::control;
use crate::disk::{Directory, Disk, OsDisk, check_file_system};
use crate::error::{AppendError, OpenError};
use crate::metafile::MetaFile;
use crate::options::{Durability, GeometryChange, Io, WriterOptions};
use crate::positions::page_reached;
use crate::recover;
use crate::writer::Writer;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::names;
use waldo_shm_protocol::recovery::{FoundPage, Survey};

/// Page files that a writer makes ready beyond those of the ring.
const AHEAD: u64 = 2;

/// The sizes that belong to a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingGeometry {
    /// Pages of a full ring.
    pub ring_size: u32,
    /// Bytes of a new page file.
    pub page_len: u64,
    /// Most sparse-index entries of a new page.
    pub index_capacity: u32,
}

impl RingGeometry {
    /// What the ring's metadata says.
    pub fn of(meta: &Meta) -> RingGeometry {
        RingGeometry {
            ring_size: meta.ring_size,
            page_len: meta.geometry.page_len(),
            index_capacity: meta.geometry.index_capacity(),
        }
    }

    /// Bytes of all page files of a full ring, including those that are prepared ahead.
    pub fn disk_bytes(&self) -> u64 {
        (u64::from(self.ring_size) + AHEAD).saturating_mul(self.page_len)
    }
}

/// Pages that follow one another, and what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageRun {
    /// How many.
    pub pages: u64,
    /// Id of the oldest; 0 if there is none.
    pub first_page: u64,
    /// Id of the newest; 0 if there is none.
    pub last_page: u64,
    /// How many records.
    pub records: u64,
    /// Number of the first record; `None` if there is none.
    pub first_seq_no: Option<u64>,
    /// Number of the last record; `None` if there is none.
    pub last_seq_no: Option<u64>,
    /// Bytes of the page files.
    pub bytes: u64,
}

impl PageRun {
    fn of(pages: &[FoundPage]) -> PageRun {
        let holding = |page: &&FoundPage| page.summary.records > 0;
        PageRun {
            pages: pages.len() as u64,
            first_page: pages.first().map_or(0, |page| page.id),
            last_page: pages.last().map_or(0, |page| page.id),
            records: pages.iter().map(|page| page.summary.records).sum(),
            first_seq_no: pages.iter().find(holding).map(|page| page.summary.first_seq_no),
            last_seq_no: pages.iter().rfind(holding).map(|page| page.summary.last_seq_no),
            bytes: pages.iter().map(|page| page.header.geometry().page_len()).sum(),
        }
    }
}

/// The effect of a change of a ring's sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resize {
    /// What the ring has.
    pub from: RingGeometry,
    /// What the ring will have.
    pub to: RingGeometry,
    /// The oldest pages, which are dropped.
    pub dropped: PageRun,
    /// The pages that stay, each with the length that it has.
    pub kept: PageRun,
}

impl Resize {
    fn between(from: RingGeometry, to: RingGeometry, survey: &Survey) -> Resize {
        let reached = page_reached(survey.end());
        // The rule by which a writer trims: a page goes once the ring is full without it.
        let goes = |page: &FoundPage| page.id + u64::from(to.ring_size) <= reached;
        let (dropped, kept) = survey.pages.split_at(survey.pages.partition_point(goes));
        Resize { from, to, dropped: PageRun::of(dropped), kept: PageRun::of(kept) }
    }

    /// Whether anything is to be done.
    pub fn changes_nothing(&self) -> bool {
        self.from == self.to && self.dropped.pages == 0
    }

    /// The most bytes that the page files will take: pages that stay keep their length until new ones have
    /// taken their place.
    pub fn disk_bytes_max(&self) -> u64 {
        let new_pages = (u64::from(self.to.ring_size) + AHEAD).saturating_sub(self.kept.pages);
        let while_old_ones_stay = self.kept.bytes.saturating_add(new_pages.saturating_mul(self.to.page_len));
        while_old_ones_stay.max(self.to.disk_bytes())
    }
}

/// Why the sizes of a ring are not changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResizeError {
    /// There is no ring.
    #[error("{}: no ring here", .0.display())]
    NotARing(PathBuf),
    /// Files that this user makes could not be written by the ring's next writer.
    #[error("{} belongs to user {owner}: only that user changes the ring", .home.display())]
    Owner {
        /// The directory.
        home: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// A writer was here in the meantime.
    #[error("{}: the ring has changed since the change was planned; nothing was changed, plan it anew", .0.display())]
    Changed(PathBuf),
    /// A writer lives, the sizes cannot be, or the ring cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The ring has its new sizes, but pages that are too many are still there. The next writer drops them,
    /// and so does the same change once more.
    #[error("the ring has its new sizes, but not all of its old pages could be dropped: {0}")]
    Unfinished(AppendError),
}

/// Says what [`apply`] would do. Changes nothing.
///
/// # Errors
/// [`ResizeError`], for example if the ring has a live writer.
pub fn plan(home: impl AsRef<Path>, to: RingGeometry) -> Result<Resize, ResizeError> {
    let home = home.as_ref();
    let (disk, dir) = open(home)?;
    options(&dir, to).check()?;
    let Some(meta) = MetaFile::open(&disk)? else { return Err(ResizeError::NotARing(home.to_owned())) };
    control::refuse_if_written(&dir, Some(&meta.meta.ring_id))?;
    let survey = recover::survey(&disk, &meta.meta)?;
    Ok(Resize::between(RingGeometry::of(&meta.meta), to, &survey))
}

/// Carries out `plan`, durably. A ring that was not closed is recovered first, as by every writer.
///
/// # Errors
/// [`ResizeError`]. After [`ResizeError::Changed`], and if the ring has a live writer, nothing has been
/// changed.
pub fn apply(home: impl AsRef<Path>, plan: &Resize) -> Result<(), ResizeError> {
    let home = home.as_ref();
    let (disk, dir) = open(home)?;
    // Nothing is appended, so it is no matter what appends would promise there.
    check_file_system(&dir, Durability::PageCache)?;
    apply_on(home, Arc::new(disk), &dir, plan)
}

fn apply_on(home: &Path, disk: Arc<dyn Disk>, dir: &Directory, plan: &Resize) -> Result<(), ResizeError> {
    let writer = Writer::open_if(home, disk, options(dir, plan.to), |meta, survey| {
        let now = Resize::between(RingGeometry::of(meta), plan.to, survey);
        if now == *plan { Ok(()) } else { Err(ResizeError::Changed(home.to_owned())) }
    })?;
    let trimmed = writer.trim_now();
    // Makes the names that went durable, too.
    writer.close().map_err(ResizeError::Unfinished)?;
    trimmed.map_err(|cause| ResizeError::Unfinished(AppendError::Failed { cause }))
}

fn open(home: &Path) -> Result<(OsDisk, Directory), ResizeError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ResizeError::NotARing(home.to_owned()),
        _ => OpenError::io("open", home)(error).into(),
    };
    let disk = OsDisk::open(home).map_err(failed)?;
    let dir = Directory::of(&disk, home).map_err(failed)?;
    let meta = match dir.open_to_read(names::META) {
        Ok(meta) => meta.metadata().map_err(failed)?,
        Err(error) => return Err(failed(error)),
    };
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(ResizeError::Owner { home: home.to_owned(), owner: meta.uid() });
    }
    Ok((disk, dir))
}

/// The ring is left as its writers have it: who may read it, which nothing changes that is not asked for, and
/// where its segment is.
fn options(dir: &Directory, to: RingGeometry) -> WriterOptions {
    let (place, is_there) = control::place_before(dir);
    WriterOptions::default()
        .ring_size(to.ring_size)
        .page_len(to.page_len)
        .index_capacity(to.index_capacity)
        .geometry_change(GeometryChange::Apply)
        .durability(Durability::Sync)
        .io(Io::Pwrite)
        // No page is made for records that nobody appends.
        .prepare_ahead(false)
        .control(place)
        .remove_control(!is_there)
}
