//! Where the next page comes from: it is ready before it is needed, and usually a recycled one.
//!
//! ```text
//! named page --trim, name gone--> scratch file --unshared--> blank (recycled) --name--> ready --> active
//!                                      |                     ^
//!                                      +--somebody maps it   +-- made from nothing
//!                                           stuck: nameless, looked after
//! ```
//!
//! A thread does all this ahead ([`background`]), or, if that is not wanted, the appending thread does it
//! while the append waits ([`inline`]). The work is the same ([`page_pool`]).

mod background;
mod inline;
mod page_pool;
mod readahead;

use crate::core::Core;
use crate::page::{Page, PageTemplate};
use crate::poison::Failure;
use background::BackgroundPreparer;
use inline::InlinePreparer;
pub(crate) use page_pool::HeldPage;
use page_pool::{PageFactory, PagePool};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use waldo_shm_protocol::page::{IndexEntry, PageSummary};

/// A complete page that has to get its footer.
pub(crate) struct SealJob {
    pub(crate) page: Arc<Page>,
    pub(crate) summary: PageSummary,
    pub(crate) index: Vec<IndexEntry>,
}

impl SealJob {
    /// Gives the page its footer. If that fails nothing is lost: the records are there, and the next opening
    /// reads them instead.
    fn seal(&self) {
        if let Err(error) = self.page.write_footer(&self.summary, &self.index) {
            tracing::warn!("page {}: no footer written: {error}", self.page.id);
        }
    }
}

/// A page that becomes the active one, and whether the appending thread had to wait for it.
pub(crate) type TakenPage = (Arc<Page>, bool);

/// The appending thread's side.
pub(crate) enum Preparer {
    Background(BackgroundPreparer),
    Inline(Box<Mutex<InlinePreparer>>),
}

/// The pages that exist at the start.
pub(crate) struct InitialPages {
    /// The ring's, the oldest first and the active one last.
    pub(crate) held: VecDeque<HeldPage>,
    /// The last of them.
    pub(crate) active: Arc<Page>,
    /// The page after the active one, if an earlier writer had prepared it.
    pub(crate) ready: Option<Page>,
    pub(crate) ring_size: usize,
}

impl Preparer {
    /// With `ahead` starts the thread, which must be joined after [`Preparer::stop`].
    pub(crate) fn start(
        core: &Arc<Core>,
        template: PageTemplate,
        pages: InitialPages,
        ahead: bool,
    ) -> io::Result<(Preparer, Option<JoinHandle<()>>)> {
        let next_id = pages.ready.as_ref().map_or(pages.active.id, |page| page.id) + 1;
        let factory = PageFactory { core: Arc::clone(core), template };
        let pool = PagePool::new(factory.clone(), pages.ring_size, pages.held, pages.active);
        if ahead {
            let (background, thread) = BackgroundPreparer::start(factory, pool, pages.ready, next_id)?;
            return Ok((Preparer::Background(background), Some(thread)));
        }
        let inline = InlinePreparer::new(factory, pool, pages.ready, next_id);
        Ok((Preparer::Inline(Box::new(Mutex::new(inline))), None))
    }

    /// The page after the active one, which becomes the active one. `true` beside it says that the caller had
    /// to wait for the page, because there was neither a ready nor a blank one. `None` if the ring may now
    /// have fewer than the `pages_max` pages that the caller has gone by: the oldest ones have to be trimmed
    /// first, for which the caller may have to act.
    pub(crate) fn take(&self, pages_max: usize) -> Result<Option<TakenPage>, Failure> {
        match self {
            Preparer::Background(background) => background.take(pages_max),
            Preparer::Inline(inline) => inline.lock().take(),
        }
    }

    /// Hands over a complete page.
    pub(crate) fn seal(&self, job: SealJob) {
        match self {
            Preparer::Background(background) => background.seal(job),
            Preparer::Inline(inline) => {
                job.seal();
                inline.lock().complete(&job);
            }
        }
    }

    /// Trims the pages beyond the size of the ring. A thread that prepares ahead does that by itself.
    pub(crate) fn trim(&self) -> Result<(), Failure> {
        match self {
            Preparer::Background(_) => Ok(()),
            Preparer::Inline(inline) => inline.lock().trim(),
        }
    }

    /// Waits until every page handed over has its footer.
    pub(crate) fn settle(&self) {
        if let Preparer::Background(background) = self {
            background.settle();
        }
    }

    pub(crate) fn stop(&self) {
        if let Preparer::Background(background) = self {
            background.stop();
        }
    }
}

fn failure(id: u64, error: io::Error) -> Failure {
    Failure::new(format!("preparing page {id}"), error)
}
