//! The page files as a survey reads them. Each is open only while it is read, so a ring can have more pages
//! than a process may have descriptors.

use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use std::io;
use std::sync::Arc;
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::names;
use waldo_shm_protocol::recovery::{self, Damage, DamageKind, PageBytes, RingFiles, Sparse, SurveyError};

struct PagesOnDisk<'a>(&'a dyn Disk);

impl RingFiles for PagesOnDisk<'_> {
    type Error = io::Error;
    type Page = Sparse<OpenPage>;

    fn page_ids(&self) -> io::Result<Vec<u64>> {
        Ok(self.0.list()?.iter().filter_map(|name| names::parse_page(name)).collect())
    }

    fn open_page(&self, id: u64) -> io::Result<Option<Sparse<OpenPage>>> {
        match self.0.open(&names::page(id)) {
            Ok(file) => Ok(Some(Sparse::new(OpenPage(file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

struct OpenPage(Arc<dyn DiskFile>);

impl PageBytes for OpenPage {
    type Error = io::Error;

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_up_to(bytes, offset)
    }

    fn next_written(&self, offset: u64) -> io::Result<u64> {
        self.0.next_written(offset)
    }

    fn next_unwritten(&self, offset: u64) -> io::Result<u64> {
        self.0.next_unwritten(offset)
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
