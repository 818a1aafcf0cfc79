//! Giving back the page tables of what has been read, before a sleep.
//!
//! A page that was read from start to end leaves 2 KiB of page table for each MiB in every process that read it, for
//! as long as it is mapped: 128 KiB for a page of 64 MiB, which is most of what a sleeping reader costs. Nothing
//! becomes invalid by it; who looks there again pays for the faults again.

use super::Reader;
use crate::place::Place;
use std::sync::Arc;

impl Reader {
    /// Gives back all of the page.
    pub(super) fn give_back(&mut self) {
        // Shared: as below.
        if let Some(map) = self.page.as_ref().filter(|map| Arc::strong_count(map) == 1) {
            map.let_go(u32::MAX);
        }
    }

    /// To be called when there is nothing to do. Costs nothing unless a table has been filled since the last time, and
    /// one system call if so.
    pub(crate) fn let_go_behind(&mut self) {
        let Some(map) = &self.page else { return };
        let Place::At(place) = self.place else { return };
        // Shared with other readers, which may stand further back, or with batches that are still in use: what they
        // need would only come back.
        if Arc::strong_count(map) > 1 || place.page() != map.id() {
            return;
        }
        let behind = (map.id(), map.whole_tables(place.offset()));
        if behind.1 > 0 && behind != self.behind {
            map.let_go(behind.1);
            self.behind = behind;
        }
    }
}
