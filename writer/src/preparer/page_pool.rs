//! The page files of a ring: they are made, named, trimmed, and recycled once no other process has them.

use super::failure;
use crate::core::Core;
use crate::disk::DiskFile;
use crate::page::{Blank, Page, PageTemplate};
use crate::poison::Failure;
use crate::positions::page_reached;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use waldo_shm_protocol::names;
use waldo_shm_protocol::page::PageHeader;
use waldo_shm_protocol::segment::Counter;

/// Most trimmed pages that are watched because a process still maps them; further ones are closed at once.
const STUCK_MAX: usize = 64;
/// Most page files beyond those of the ring: prepared ahead of the log's end, or not yet displaced by durable
/// records.
pub(super) const BEYOND_MAX: usize = 2;

/// Makes pages.
#[derive(Clone)]
pub(super) struct PageFactory {
    pub(super) core: Arc<Core>,
    pub(super) template: PageTemplate,
}

impl PageFactory {
    /// Gives `blank` its name. The caller ensures that no id is used twice.
    pub(super) fn name(&self, blank: Blank, id: u64) -> Result<Page, Failure> {
        self.core.check_unfailed()?;
        let counter = if blank.recycled { Counter::RecycledPages } else { Counter::FreshPages };
        let page = self.template.name(&*self.core.disk, id, blank).map_err(|error| failure(id, error))?;
        self.core.control.publisher().add(counter, 1);
        Ok(page)
    }
}

/// A page of the ring. Its file is open only while a thread writes to it or flushes it, so a ring can have
/// more pages than a process may have descriptors.
#[derive(Clone, Debug)]
pub(crate) struct HeldPage {
    pub(crate) id: u64,
    /// Length of its file in bytes.
    pub(crate) len: u64,
    /// Time of its newest record; `None` while it is not complete.
    pub(crate) newest_ns: Option<u64>,
    /// The file while a thread has it open; `None` if no thread ever had. There must never be two descriptors
    /// of the file, because the kernel would not grant a lease then.
    pub(crate) file: Option<Weak<dyn DiskFile>>,
}

impl HeldPage {
    pub(crate) fn of(page: &Arc<Page>) -> HeldPage {
        HeldPage {
            id: page.id,
            len: page.header.geometry().page_len(),
            newest_ns: None,
            file: Some(Arc::downgrade(&page.file)),
        }
    }
}

/// Why a page leaves the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// The ring is full, and newer records take its place.
    Displaced,
    /// The same of a ring that is smaller than it should be, for want of room.
    FullDisk,
    /// Its records are too old.
    Expired,
}

/// A trimmed page, under a scratch name.
struct Trimmed {
    id: u64,
    blank: Blank,
    len: u64,
}

/// The pages of the ring, and the trimmed pages that some process still has open or mapped.
pub(super) struct PagePool {
    pub(super) factory: PageFactory,
    ring_size: usize,
    /// Pages that the ring may have now: fewer than its size while the disk has no room for more.
    pages_max: usize,
    /// Pages whose records are all older than this leave the ring; 0 for none.
    expiry_ns: u64,
    /// Pages that are still to become active before the ring tries to become larger again.
    turns_left: usize,
    /// The oldest first.
    held: VecDeque<HeldPage>,
    /// Pages that were complete before they were taken into the ring, and the times of their newest records.
    complete: Vec<(u64, u64)>,
    /// The newest page that has become active.
    active: Arc<Page>,
    stuck: Vec<Trimmed>,
    /// Files made from nothing so far, for their names.
    made: u64,
}

impl PagePool {
    pub(super) fn new(
        factory: PageFactory,
        ring_size: usize,
        held: VecDeque<HeldPage>,
        active: Arc<Page>,
    ) -> PagePool {
        let oldest = held.front().map_or(active.id, |page| page.id);
        factory.core.oldest_page.store(oldest, Ordering::Relaxed);
        let pages_max = factory.core.pages_max();
        PagePool {
            factory,
            ring_size,
            pages_max,
            expiry_ns: 0,
            turns_left: pages_max,
            held,
            complete: Vec::new(),
            active,
            stuck: Vec::new(),
            made: 0,
        }
    }

    /// Whether there are more pages than the ring is to have.
    pub(super) fn is_overfull(&self) -> bool {
        self.held.len() > self.pages_max
    }

    /// Whether the oldest page can be trimmed. A page is trimmed when a crash can no longer take back the
    /// records that displace it, as far as the writer promises that. The records of the page have been
    /// acknowledged, while an append that is under way may still fail. A page that lacks its footer stays
    /// until it has that, or the footer would be written into a file that may be another page by then.
    pub(super) fn is_displaced(&self) -> bool {
        self.reason().is_some()
    }

    /// Why the oldest page can leave the ring, if it can.
    fn reason(&self) -> Option<Reason> {
        let reached = page_reached(self.factory.core.settled());
        let page = self.held.front()?;
        let newest_ns = page.newest_ns?;
        let displaced = |pages: usize| self.held.len() > pages && page.id + pages as u64 <= reached;
        if displaced(self.ring_size) {
            return Some(Reason::Displaced);
        }
        if displaced(self.pages_max) {
            return Some(Reason::FullDisk);
        }
        // Here too, a settled record must follow the page, so that a power cut cannot leave an empty ring.
        let expired = newest_ns < self.expiry_ns && page.id < reached;
        (expired && self.held.len() > 1).then_some(Reason::Expired)
    }

    /// A page is complete, and this is the time of its newest record.
    pub(super) fn complete(&mut self, id: u64, newest_ns: u64) {
        match self.held.iter_mut().rev().find(|page| page.id == id) {
            Some(page) => page.newest_ns = Some(newest_ns),
            None => self.complete.push((id, newest_ns)),
        }
    }

    /// Takes note of the time: until the next look, pages that are too old at `now_ns` are trimmed. A clock
    /// that was ahead at one look says nothing of the looks after it has been set right.
    pub(super) fn look_at_clock(&mut self, now_ns: u64) {
        if let Some(keep_for) = self.factory.core.keep_for {
            let age = u64::try_from(keep_for.as_nanos()).unwrap_or(u64::MAX);
            self.expiry_ns = now_ns.saturating_sub(age);
        }
    }

    /// Whether the ring already has as many page files as it may ever have.
    pub(super) fn is_full(&self, waiting: usize) -> bool {
        self.held.len() + waiting >= self.pages_max + BEYOND_MAX
    }

    /// Takes pages that have become active into the ring.
    pub(super) fn begin(&mut self, pages: impl IntoIterator<Item = Arc<Page>>) {
        for page in pages {
            let complete = self.complete.iter().position(|(id, _)| *id == page.id);
            let newest_ns = complete.map(|at| self.complete.swap_remove(at).1);
            self.held.push_back(HeldPage { newest_ns, ..HeldPage::of(&page) });
            self.active = page;
            self.turns_left = self.turns_left.saturating_sub(1);
        }
    }

    /// Called after `error` has kept the ring from making another page file, with `waiting` files beyond the
    /// ring. If the disk is full and the ring is to continue nevertheless, its size becomes the number of
    /// existing files less [`BEYOND_MAX`]. Pages are displaced as in any full ring, so the records that
    /// displace them are as durable as promised. `false` if nothing changes.
    pub(super) fn shrink(&mut self, waiting: usize, error: &io::Error) -> bool {
        let pages_max = (self.held.len() + waiting).saturating_sub(BEYOND_MAX);
        if !self.factory.core.goes_on_after(error) || pages_max == 0 || pages_max >= self.pages_max {
            return false;
        }
        if self.pages_max == self.ring_size {
            tracing::warn!(
                "the disk is full ({error}): the ring goes on with {pages_max} of its {} pages, and drops its oldest \
                 records early, until there is room (on_full: drop-oldest)",
                self.ring_size
            );
        }
        self.set_pages_max(pages_max);
        self.turns_left = pages_max;
        true
    }

    /// While the ring is smaller than its size: tries to make another page file, and lets the ring grow by a
    /// page if that works. If it does not, the next try is a lap later.
    pub(super) fn grow(&mut self, id: u64) -> Option<Blank> {
        if self.pages_max == self.ring_size || self.turns_left > 0 {
            return None;
        }
        match self.make(id) {
            Ok(blank) => {
                self.set_pages_max(self.pages_max + 1);
                if self.pages_max == self.ring_size {
                    tracing::info!("the disk has room again: the ring may have its {} pages", self.ring_size);
                }
                Some(blank)
            }
            Err(error) => {
                tracing::debug!("the ring stays as it is: {error}");
                self.turns_left = self.pages_max;
                None
            }
        }
    }

    fn set_pages_max(&mut self, pages_max: usize) {
        self.pages_max = pages_max;
        self.factory.core.pages_max.store(pages_max, Ordering::Relaxed);
    }

    /// The page that the log ends in, if that is page `id`.
    pub(super) fn active(&self, id: u64) -> Option<&Arc<Page>> {
        Some(&self.active).filter(|page| page.id == id)
    }

    pub(super) fn make(&mut self, id: u64) -> io::Result<Blank> {
        self.made += 1;
        // The name must be unique: a blank file that was made for an id may be named for a later one.
        self.factory.template.blank(&*self.factory.core.disk, id << 16 | self.made & 0xffff)
    }

    /// Trims the oldest pages until the ring has its size. Returns those that can be recycled, at most
    /// `wanted`, and the error if trimming failed.
    pub(super) fn trim(&mut self, wanted: usize) -> (Vec<Blank>, Option<Failure>) {
        let core = Arc::clone(&self.factory.core);
        let publisher = core.control.publisher();
        // A writer that has failed may have lost the lock, and then the files belong to another writer.
        if let Err(failure) = core.check_unfailed() {
            return (Vec::new(), Some(failure));
        }
        let wanted = if core.disk.can_prove_unshared() { wanted } else { 0 };
        let (mut trimmed, mut failed) = (Vec::new(), None);
        while let Some(reason) = self.reason() {
            match self.take_oldest() {
                Ok(page) => {
                    publisher.add(Counter::FullDiskTrims, u64::from(reason == Reason::FullDisk));
                    publisher.add(Counter::ExpiredPages, u64::from(reason == Reason::Expired));
                    trimmed.extend(page);
                }
                Err(failure) => {
                    tracing::warn!("{failure}");
                    failed = Some(failure);
                    break;
                }
            }
        }
        publisher.add(Counter::TrimmedPages, trimmed.len() as u64);
        // The file of a page that had been durable must not change before its name is gone for good. A power
        // cut could otherwise bring the name back, and the page with it, with other content. (A page that
        // never was durable is judged by its records alone. Only a writer that promises nothing for power
        // cuts trims such pages, and would wait for the disk here.)
        let ids = trimmed.iter().map(|page| page.id);
        let nameless = wanted == 0
            || !core.unflushed.must_be_nameless(ids, &core.positions)
            || core
                .disk
                .sync_dir()
                .inspect_err(|error| tracing::warn!("no page is recycled: {error}"))
                .is_ok();
        let mut blanks = Vec::new();
        for page in trimmed {
            let wanted = nameless && blanks.len() < wanted;
            blanks.extend(self.release(page, wanted));
        }
        // Stuck pages have no name any more and cannot get one back, so a page that is free now is only
        // closed. Nothing is written to it: the one name that it may still have is that of a hard link, in
        // somebody's backup.
        self.stuck.retain(|trimmed| !matches!(trimmed.blank.file.if_unshared(&mut || Ok(())), Ok(true)));
        publisher.set(Counter::StuckPages, self.stuck.len() as u64);
        (blanks, failed)
    }

    /// Takes the name of the oldest page away, which must be displaced. `None` if there is no file to use
    /// again. If it fails, the ring is as before.
    fn take_oldest(&mut self) -> Result<Option<Trimmed>, Failure> {
        let core = &self.factory.core;
        let publisher = core.control.publisher();
        let (Some(page), Some(next)) = (self.held.front(), self.held.get(1)) else { return Ok(None) };
        let next = next.id;
        // Tell readers first, so that they know that a page that they do not find was trimmed.
        publisher.set_oldest_page(next);
        let scratch = format!("{}trim-{:016x}", names::SCRATCH_PREFIX, page.id);
        let renamed = core.disk.rename(&names::page(page.id), &scratch);
        let removed = matches!(&renamed, Err(error) if error.kind() == io::ErrorKind::NotFound);
        if let Err(error) = renamed
            && !removed
        {
            publisher.set_oldest_page(page.id);
            return Err(Failure::new(format!("trimming page {}", page.id), error));
        }
        let (id, len) = (page.id, page.len);
        // Taken before the list of unflushed pages drops the page, so that the file is not opened twice.
        let open = page.file.as_ref().and_then(Weak::upgrade);
        core.unflushed.forget(id);
        core.oldest_page.store(next, Ordering::Relaxed);
        self.held.pop_front();
        if removed {
            // Another process has removed the file. The page was to be trimmed, so nothing is lost.
            tracing::warn!("page {id} was removed by somebody else");
            return Ok(None);
        }
        let file = match open {
            Some(file) => file,
            None => match core.disk.open(&scratch) {
                Ok(file) => file,
                Err(error) => {
                    tracing::warn!("{scratch} cannot be recycled: {error}");
                    let _ = core.disk.remove(&scratch);
                    return Ok(None);
                }
            },
        };
        Ok(Some(Trimmed { id, blank: Blank { scratch, file, recycled: true, unwritten: u64::MAX }, len }))
    }

    /// Returns a trimmed page for recycling if it is wanted and no other process has it, otherwise removes
    /// its name.
    fn release(&mut self, trimmed: Trimmed, wanted: bool) -> Option<Blank> {
        // Another process may have truncated the file. A reader that mapped it as a page again would get
        // SIGBUS.
        let page_len = self.factory.template.geometry.page_len();
        let usable = trimmed.len == page_len && trimmed.blank.file.size().is_ok_and(|size| size == page_len);
        // A file that users other than the ring's readers may read must not get its records.
        let rights = self.factory.template.rights;
        let usable = usable && trimmed.blank.file.has_rights(rights).is_ok_and(|ours| ours);
        let retired = wanted && usable && retire_header(&trimmed.blank);
        if retired && let Some(unwritten) = self.rezero(&trimmed.blank) {
            return Some(Blank { unwritten, ..trimmed.blank });
        }
        if let Err(error) = self.factory.core.disk.remove(&trimmed.blank.scratch) {
            tracing::warn!("{} could not be removed: {error}", trimmed.blank.scratch);
        }
        if wanted && usable && !retired && self.stuck.len() < STUCK_MAX {
            self.stuck.push(trimmed);
        }
        None
    }

    fn rezero(&self, blank: &Blank) -> Option<u64> {
        let rezeroed = self.factory.template.rezero(&*blank.file);
        rezeroed.inspect_err(|error| tracing::warn!("{} could not be recycled: {error}", blank.scratch)).ok()
    }

    /// Publishes what the ring takes on disk; `waiting` pages are beyond those in the ring.
    pub(super) fn count_disk(&self, waiting: usize) {
        let held: u64 = self.held.iter().map(|page| page.len).sum();
        let waiting = waiting as u64 * self.factory.template.geometry.page_len();
        self.factory.core.control.publisher().set(Counter::DiskBytes, held + waiting);
    }
}

/// If it is proven that no other process has the file, overwrites the header, so that the file is no longer a
/// page. `false` if there is no such proof.
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

#[cfg(test)]
pub(super) mod tests;
