//! The page that the log goes on in when a ring is opened.

use super::Start;
use crate::active::ActivePage;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::page::{Page, PageTemplate};
use crate::writer::sum_records;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;
use waldo_shm_protocol::names;
use waldo_shm_protocol::page::PageHeader;
use waldo_shm_protocol::recovery::{FoundPage, Survey};
use waldo_shm_protocol::segment::Counter;

/// Complete pages that a ring keeps at least when it gives up others for want of room.
const KEPT_MIN: usize = 2;

impl Start {
    /// The page that the log goes on in. Takes it out of what was found.
    pub(super) fn active_page(
        &self,
        survey: &mut Survey,
        template: PageTemplate,
    ) -> Result<ActivePage, OpenError> {
        let disk = &*self.core.disk;
        // Empty, but made for shorter records than the ring takes now: another file gets the page's name.
        let outgrown = survey.pages.pop_if(|last| {
            last.summary.records == 0 && !last.sealed && last.header.geometry() != self.geometry
        });
        if outgrown.is_none()
            && let Some(last) = survey.pages.pop_if(|last| !last.sealed)
        {
            let path = disk.path(&names::page(last.id));
            let page = Page::open(disk, last.header).map_err(OpenError::io("open", path))?;
            let page = page.taken_up(last.summary.records_end);
            return Ok(ActivePage::resumed(Arc::new(page), last.summary, last.index));
        }
        let last = survey.pages.last();
        let id = outgrown.map_or(survey.next_id, |page| page.id);
        let before = last.map_or(0, |last| sum_records(last.summary.records_before, last.summary.records));
        let ready = survey.ready.filter(|ready| ready.id == id && ready.header.geometry() == self.geometry);
        let path = disk.path(&names::page(id));
        let page = match ready {
            Some(ready) => open_empty(disk, ready.header).map_err(OpenError::io("open", path))?,
            None => self.make(&mut survey.pages, PageTemplate { durable: true, ..template }, id)?,
        };
        Ok(ActivePage::empty(Arc::new(page), before, self.opened.epoch))
    }

    /// Makes page `id`, which follows `sealed`. Where the disk is full and the ring is to go on all the same,
    /// it gives up its oldest pages for that, one after the other, and is a smaller ring from then on.
    fn make(&self, sealed: &mut Vec<FoundPage>, template: PageTemplate, id: u64) -> Result<Page, OpenError> {
        let disk = &*self.core.disk;
        loop {
            match template.fresh(disk, id) {
                Err(error) if sealed.len() > KEPT_MIN && self.core.goes_on_after(&error) => {
                    self.give_up_oldest(sealed, &error)?;
                }
                made => return made.map_err(OpenError::io("create", disk.path(&names::page(id)))),
            }
        }
    }

    /// Recovery has made the records of all pages durable, so that those behind it take its place.
    fn give_up_oldest(&self, sealed: &mut Vec<FoundPage>, why: &io::Error) -> Result<(), OpenError> {
        let (disk, publisher) = (&*self.core.disk, self.core.control.publisher());
        let oldest = sealed.remove(0).id;
        tracing::warn!("the disk is full ({why}): page {oldest} is dropped early (on_full: drop-oldest)");
        // Readers first, so that they know that a page that they do not find was trimmed.
        publisher.set_oldest_page(oldest + 1);
        let name = names::page(oldest);
        match disk.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(OpenError::io("remove", disk.path(&name))(error));
            }
            _ => {}
        }
        publisher.add(Counter::FullDiskTrims, 1);
        publisher.add(Counter::TrimmedPages, 1);
        // With the page that is made, less the two that are made ahead.
        self.core.pages_max.store(sealed.len() - 1, Ordering::Relaxed);
        Ok(())
    }
}

/// A page that has no records yet.
pub(super) fn open_empty(disk: &dyn Disk, header: PageHeader) -> std::io::Result<Page> {
    Ok(Page::open(disk, header)?.taken_up(PAGE_HEADER_LEN as u64))
}
