//! Preparing no page ahead: the appending thread makes each page when it needs it.

use super::page_pool::{PageFactory, PagePool};
use super::{SealJob, TakenPage, failure};
use crate::clock;
use crate::page::Page;
use crate::poison::Failure;
use std::sync::Arc;

/// Trims, and makes or recycles one page, at each rotation.
pub(crate) struct InlinePreparer {
    factory: PageFactory,
    pool: PagePool,
    /// Left over from an earlier writer.
    ready: Option<Page>,
    next_id: u64,
}

impl InlinePreparer {
    pub(super) fn new(
        factory: PageFactory,
        pool: PagePool,
        ready: Option<Page>,
        next_id: u64,
    ) -> InlinePreparer {
        InlinePreparer { factory, pool, ready, next_id }
    }

    pub(super) fn take(&mut self) -> Result<Option<TakenPage>, Failure> {
        let (page, waited) = match self.ready.take() {
            Some(page) => (page, false),
            None => match self.make() {
                Ok(page) => (page, true),
                Err(failure) if self.pool.shrink(0, failure.io_error()) => return Ok(None),
                Err(failure) => return Err(failure),
            },
        };
        let page = Arc::new(page);
        // Trimmed only at the next rotation: until then the page before this one may lack its footer.
        self.pool.begin([Arc::clone(&page)]);
        self.pool.count_disk(0);
        Ok(Some((page, waited)))
    }

    pub(super) fn complete(&mut self, job: &SealJob) {
        self.pool.complete(job.page.id, job.summary.last_time_ns);
    }

    pub(super) fn trim(&mut self) -> Result<(), Failure> {
        let (_, failed) = self.pool.trim(0);
        self.pool.count_disk(0);
        failed.map_or(Ok(()), Err)
    }

    fn make(&mut self) -> Result<Page, Failure> {
        let id = self.next_id;
        self.pool.look_at_clock(clock::realtime_ns());
        let grown = self.pool.grow(id);
        let (mut blanks, failed) = self.pool.trim(usize::from(grown.is_none()));
        let blank = match (grown.or_else(|| blanks.pop()), failed) {
            (Some(blank), _) => blank,
            // The ring would take more and more room.
            (None, Some(failed)) if self.pool.is_full(0) => return Err(failed),
            (None, _) => self.pool.make(id).map_err(|error| failure(id, error))?,
        };
        let page = self.factory.name(blank, id)?;
        self.next_id += 1;
        Ok(page)
    }
}
