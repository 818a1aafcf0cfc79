//! Giving back the page tables of what has been read, before a sleep.
//!
//! A page that was read from start to end leaves 2 KiB of page table for each MiB in every process that read
//! it, for as long as it is mapped: 128 KiB for a page of 64 MiB, which is most of what a sleeping reader
//! costs. Nothing becomes invalid by it; who looks there again pays for the faults again.

use super::Reader;
use crate::place::Place;

impl Reader {
    /// To be called when there is nothing to do. Costs nothing unless a table has been filled since the last
    /// time, and one system call if so.
    pub(crate) fn let_go_behind(&mut self) {
        if let Place::At(place) = self.position.at() {
            self.window.release_behind(place.page(), place.offset());
        }
    }
}
