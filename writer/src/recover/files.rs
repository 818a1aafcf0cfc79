//! The page files as a survey reads them. Each is open only while it is read, so a ring can have more pages
//! than a process may have descriptors.

use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::names;
use waldo_shm_protocol::recovery::{self, Damage, DamageKind, PageBytes, RingFiles, SurveyError};

struct PagesOnDisk<'a>(&'a dyn Disk);

impl RingFiles for PagesOnDisk<'_> {
    type Error = io::Error;
    type Page = OpenPage;

    fn page_ids(&self) -> io::Result<Vec<u64>> {
        Ok(self.0.list()?.iter().filter_map(|name| names::parse_page(name)).collect())
    }

    fn open_page(&self, id: u64) -> io::Result<Option<OpenPage>> {
        match self.0.open(&names::page(id)) {
            Ok(file) => Ok(Some(OpenPage { file, written: Cell::default() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

struct OpenPage {
    file: Arc<dyn DiskFile>,
    /// A part of the file that is known to have been written as a whole: from where, and up to where.
    written: Cell<(u64, u64)>,
}

impl OpenPage {
    /// Where what begins at `offset` ends, `end` at the latest, and whether that was ever written.
    fn part(&self, offset: u64, end: u64) -> io::Result<(u64, bool)> {
        let (from, to) = self.written.get();
        if (from..to).contains(&offset) {
            return Ok((to.min(end), true));
        }
        let written = self.file.next_written(offset)?;
        if written > offset {
            return Ok((written.min(end), false));
        }
        // At the end of the file, or where nothing is known, whoever reads finds out.
        let to = Some(self.file.next_unwritten(offset)?).filter(|to| *to > offset).unwrap_or(end);
        self.written.set((offset, to));
        Ok((to.min(end), true))
    }
}

impl PageBytes for OpenPage {
    type Error = io::Error;

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    /// Passes over what was never written: reading that would fill the page cache with nothing.
    fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (to, written) = self.part(at, offset + bytes.len() as u64)?;
            let part = &mut bytes[done..(to - offset) as usize];
            let len = part.len();
            let read = match written {
                true => self.file.read_up_to(part, at)?,
                false => {
                    part.fill(0);
                    len
                }
            };
            done += read;
            if read < len {
                break;
            }
        }
        Ok(done)
    }
}

/// Reads the ring on `disk`. Changes nothing.
pub(crate) fn survey(disk: &dyn Disk, meta: &Meta) -> Result<recovery::Survey, OpenError> {
    recovery::survey(&PagesOnDisk(disk), meta).map_err(|error| match error {
        SurveyError::Io { action, page, source } => {
            let path = disk.path(&page.map_or(String::new(), names::page));
            OpenError::Io { action, path, source }
        }
        SurveyError::Damage(damage) => damaged(disk, damage),
    })
}

fn damaged(disk: &dyn Disk, damage: Damage) -> OpenError {
    let path = disk.path(&names::page(damage.page));
    match damage.kind {
        DamageKind::Missing => OpenError::MissingPage { path },
        DamageKind::Header(fault) => OpenError::Page { path, fault },
        DamageKind::Record(fault) => {
            OpenError::Corrupt { path, offset: damage.offset, after_seq_no: damage.after_seq_no, fault }
        }
        kind => OpenError::Io { action: "use", path, source: io::Error::other(kind.to_string()) },
    }
}
