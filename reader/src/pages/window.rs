//! The pages that a reader has mapped.

use crate::pages::page_map::PageMap;
use crate::pages::tail::Tail;
use std::sync::Arc;

/// Pages a reader keeps mapped besides the one it is in, while it looks records up.
const RECENT_MAX: usize = 64;

/// The page that a reader stands in, the pages that its lookups have visited, and what it keeps for the end
/// of the log.
///
/// A writer that starts may put other files under the names of pages. So every page here belongs to an epoch,
/// and a search never gets a page of another epoch.
pub(crate) struct PageWindow {
    /// The page of the reader's place, while it is mapped.
    page: Option<Arc<PageMap>>,
    /// The writer's start under which `page` was mapped, or compared with the file of its name.
    page_epoch: u32,
    /// Pages that lookups have visited, by id; dropped as soon as the reader follows or sleeps.
    recent: Vec<(u64, Arc<PageMap>)>,
    /// The writer's start as of the last look, loaded after the watermark that is being read up to. Pages are
    /// looked up under it.
    epoch: u32,
    tail: Tail,
    /// Page and offset up to which page tables were given back last.
    released_to: (u64, u32),
    /// Size of a record that the last lookup passed: the next ones are guessed to be like it.
    stride: u32,
}

impl PageWindow {
    pub(crate) fn new(epoch: u32) -> PageWindow {
        PageWindow {
            page: None,
            page_epoch: epoch,
            recent: Vec::new(),
            epoch,
            tail: Tail::default(),
            released_to: (0, 0),
            stride: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// From now on pages are looked up under this epoch. Pages that lookups have visited under another epoch
    /// are dropped; the page of the place has to be compared first ([`PageWindow::keep_page`]).
    #[inline]
    pub(crate) fn look_under(&mut self, epoch: u32) {
        if self.epoch != epoch {
            self.recent.clear();
            self.epoch = epoch;
        }
    }

    /// The page of the place, under whatever epoch it was mapped.
    #[inline(always)]
    pub(crate) fn page(&self) -> Option<&Arc<PageMap>> {
        self.page.as_ref()
    }

    /// Makes `map`, which was just mapped, the page of the place.
    pub(crate) fn enter(&mut self, map: Arc<PageMap>) {
        self.page = Some(map);
        self.page_epoch = self.epoch;
        self.tail.touched();
    }

    /// Keeps the page of the place: its name still leads to the same file.
    pub(crate) fn keep_page(&mut self) {
        self.page_epoch = self.epoch;
        self.tail.touched();
    }

    /// Drops the page of the place: the reader leaves it, or its name may lead to another file now.
    pub(crate) fn leave_page(&mut self) {
        self.page = None;
        self.tail.leave();
    }

    /// Drops the pages that lookups have visited.
    pub(crate) fn forget_recent(&mut self) {
        self.recent.clear();
    }

    /// Moves to the page that a search has found. `oldest` is the oldest page in the ring.
    #[inline]
    pub(crate) fn move_to(&mut self, page: Option<Arc<PageMap>>, oldest: u64) {
        self.released_to = (0, 0);
        self.tail.leave();
        self.tail.touched();
        match page {
            Some(map) if self.is_page(&map) => self.page_epoch = self.epoch,
            Some(map) => {
                let known = self.page_epoch == self.epoch;
                if let Some(before) = self.page.replace(map).filter(|_| known) {
                    self.remember(before, oldest);
                }
                self.page_epoch = self.epoch;
            }
            None => self.page = None,
        }
    }

    /// Whether `map` is the page of the place.
    #[inline]
    pub(crate) fn is_page(&self, map: &Arc<PageMap>) -> bool {
        self.page.as_ref().is_some_and(|page| Arc::ptr_eq(page, map))
    }

    /// Page `id` for a search, if it is here and belongs to the present epoch.
    #[inline]
    pub(crate) fn find(&self, id: u64) -> Option<&Arc<PageMap>> {
        if self.page_epoch == self.epoch
            && let Some(map) = self.page.as_ref().filter(|map| map.id() == id)
        {
            return Some(map);
        }
        self.recent.iter().find(|(recent, _)| *recent == id).map(|(_, map)| map)
    }

    /// Keeps a page mapped for the next lookup, and drops those that the ring has trimmed.
    pub(crate) fn remember(&mut self, map: Arc<PageMap>, oldest: u64) {
        let id = map.id();
        if self.recent.iter().any(|(recent, _)| *recent == id) {
            return;
        }
        self.recent.retain(|(recent, _)| *recent >= oldest);
        if self.recent.len() >= RECENT_MAX {
            self.recent.remove(0);
        }
        self.recent.push((id, map));
    }

    #[inline(always)]
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }

    #[inline(always)]
    pub(crate) fn tail_mut(&mut self) -> &mut Tail {
        &mut self.tail
    }

    #[inline(always)]
    pub(crate) fn stride(&self) -> u32 {
        self.stride
    }

    #[inline(always)]
    pub(crate) fn guess_stride(&mut self, stride: u32) {
        self.stride = stride;
    }

    /// Releases all page tables of the page, unless others use the mapping.
    pub(crate) fn release_page(&self) {
        if let Some(map) = self.page.as_ref().filter(|map| Arc::strong_count(map) == 1) {
            map.let_go(u32::MAX);
        }
    }

    /// Releases the page tables before `offset` of page `id`. Costs one system call if a table has been
    /// filled since the last call, otherwise nothing.
    pub(crate) fn release_behind(&mut self, id: u64, offset: u32) {
        let Some(map) = &self.page else { return };
        // The mapping is shared with other readers, which may stand further back, or with batches that are
        // still in use: the entries that they need would only come back.
        if Arc::strong_count(map) > 1 || id != map.id() {
            return;
        }
        let behind = (id, map.whole_tables(offset));
        if behind.1 > 0 && behind != self.released_to {
            map.let_go(behind.1);
            self.released_to = behind;
        }
    }
}
