//! The files that a ring consists of: pages are made, named, trimmed, and recycled once nobody else has them.

use super::failure;
use crate::page::{Blank, Page, PageMold};
use crate::poison::Failure;
use crate::shared_state::Core;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use waldo_shm_protocol::names;
use waldo_shm_protocol::page::PageHeader;
use waldo_shm_protocol::segment::Counter;

/// Trimmed pages that somebody maps and that are kept an eye on; more than these are let go of at once.
const STUCK_MAX: usize = 64;

/// What it takes to make a page.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) core: Arc<Core>,
    pub(super) mold: PageMold,
}

impl Workshop {
    /// Gives `blank` its name. Whoever does that sees to it that no number is given twice.
    pub(super) fn name(&self, blank: Blank, id: u64) -> Result<Page, Failure> {
        let counter = if blank.recycled { Counter::RecycledPages } else { Counter::FreshPages };
        let page = self.mold.name(&*self.core.disk, id, blank).map_err(|error| failure(id, error))?;
        self.core.control.publisher().add(counter, 1);
        Ok(page)
    }
}

/// A trimmed page, under a scratch name.
struct Trimmed {
    blank: Blank,
    len: u64,
}

/// The pages of the ring, and those that have left it but are still in somebody's hands.
pub(super) struct Stock {
    workshop: Workshop,
    ring_size: usize,
    /// The oldest first.
    held: VecDeque<Arc<Page>>,
    /// The newest page that a record of the log is in.
    reached: u64,
    stuck: Vec<Trimmed>,
    /// Files made from nothing so far, for their names.
    made: u64,
}

impl Stock {
    pub(super) fn new(workshop: Workshop, ring_size: usize, held: VecDeque<Arc<Page>>) -> Stock {
        let reached = held.back().map_or(0, |active| active.id);
        Stock { workshop, ring_size, held, reached, stuck: Vec::new(), made: 0 }
    }

    /// Page `id` is complete, and a record of the next one is part of the log.
    pub(super) fn sealed(&mut self, id: u64) {
        self.reached = id + 1;
    }

    /// Whether there are more pages than the ring is to have.
    pub(super) fn is_overfull(&self) -> bool {
        self.held.len() > self.ring_size
    }

    /// Takes pages that have become active into the ring.
    pub(super) fn begin(&mut self, pages: impl IntoIterator<Item = Arc<Page>>) {
        self.held.extend(pages);
    }

    /// Page `id`, if it is among those of the ring.
    pub(super) fn page(&self, id: u64) -> Option<&Arc<Page>> {
        self.held.iter().rfind(|page| page.id == id)
    }

    pub(super) fn make(&mut self, id: u64) -> io::Result<Blank> {
        self.made += 1;
        // Unlike any other name: a blank one made for an id may be named for a later one.
        self.workshop.mold.blank(&*self.workshop.core.disk, id << 16 | self.made & 0xffff)
    }

    /// Lets the oldest pages go until the ring has its size. Returns those that can be used again, `wanted` at most.
    pub(super) fn trim(&mut self, wanted: usize) -> Vec<Blank> {
        let core = Arc::clone(&self.workshop.core);
        let publisher = core.control.publisher();
        let mut blanks = Vec::new();
        // A page goes when something has come in its place. One that only an append under way displaces stays: what it
        // holds has been acknowledged, and the append may fail.
        let displaced = |page: &Arc<Page>, stock: &Stock| page.id + stock.ring_size as u64 <= stock.reached;
        while self.is_overfull() && self.held.front().is_some_and(|page| displaced(page, self)) {
            let Some(page) = self.held.pop_front() else { break };
            let Some(oldest) = self.held.front() else { break };
            // Readers learn first, so that a page that is not found is known to be trimmed.
            publisher.set_oldest_page(oldest.id);
            let scratch = format!("{}trim-{:016x}", names::SCRATCH_PREFIX, page.id);
            if let Err(error) = core.disk.rename(&names::page(page.id), &scratch) {
                tracing::warn!("page {} could not be trimmed: {error}", page.id);
                continue;
            }
            publisher.add(Counter::TrimmedPages, 1);
            let len = page.header.geometry().page_len();
            let file = Arc::clone(&page.file);
            let trimmed = Trimmed { blank: Blank { scratch, file, recycled: true }, len };
            let wanted = blanks.len() < wanted;
            blanks.extend(self.let_go(trimmed, wanted));
        }
        // Stuck pages have no name any more and cannot get one back, so one that is free now is only let go. Nothing is
        // written to it: the one name that it may still have is that of a hard link, in somebody's backup.
        self.stuck.retain(|trimmed| !matches!(trimmed.blank.file.if_unshared(&mut || Ok(())), Ok(true)));
        publisher.set(Counter::StuckPages, self.stuck.len() as u64);
        blanks
    }

    /// Returns a trimmed page for recycling if it is wanted and nobody else has it, otherwise takes its name away.
    fn let_go(&mut self, trimmed: Trimmed, wanted: bool) -> Option<Blank> {
        let usable = trimmed.len == self.workshop.mold.geometry.page_len();
        let retired = wanted && usable && retire_header(&trimmed.blank);
        if retired && self.revive(&trimmed.blank) {
            return Some(trimmed.blank);
        }
        if let Err(error) = self.workshop.core.disk.remove(&trimmed.blank.scratch) {
            tracing::warn!("{} could not be removed: {error}", trimmed.blank.scratch);
        }
        if wanted && usable && !retired && self.stuck.len() < STUCK_MAX {
            self.stuck.push(trimmed);
        }
        None
    }

    fn revive(&self, blank: &Blank) -> bool {
        let revived = self.workshop.mold.revive(&*blank.file);
        if let Err(error) = &revived {
            tracing::warn!("{} could not be recycled: {error}", blank.scratch);
        }
        revived.is_ok()
    }

    /// Publishes what the ring takes on disk; `waiting` pages are beyond those in the ring.
    pub(super) fn count_disk(&self, waiting: usize) {
        let held: u64 = self.held.iter().map(|page| page.header.geometry().page_len()).sum();
        let waiting = waiting as u64 * self.workshop.mold.geometry.page_len();
        self.workshop.core.control.publisher().set(Counter::DiskBytes, held + waiting);
    }
}

/// With the proof that nobody else has the file, makes it no page any more. `false` if there is no such proof.
fn retire_header(blank: &Blank) -> bool {
    let file = &blank.file;
    let outcome = file.if_unshared(&mut || file.write_all_at(&PageHeader::retired_bytes(), 0));
    match outcome {
        Ok(unshared) => unshared,
        Err(error) => {
            tracing::warn!("{} could not be recycled: {error}", blank.scratch);
            false
        }
    }
}
