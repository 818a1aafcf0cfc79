//! Releasing the page tables of the bytes that were read, before a sleep.
//!
//! A page that was read from start to end leaves 2 KiB of page table for each MiB in every process that read
//! it, for as long as it is mapped: 128 KiB for a page of 64 MiB, which is most of what a sleeping reader
//! costs. Nothing becomes invalid; a reader that looks there again only pays for the page faults again.

use super::Reader;
use crate::place::Place;

impl Reader {
    /// Called when there is nothing to do. Costs one system call if a table has been filled since the last
    /// call, otherwise nothing.
    pub(crate) fn let_go_behind(&mut self) {
        if let Place::At(place) = self.position.at() {
            self.window.release_behind(place.page(), place.offset());
        }
    }
}
