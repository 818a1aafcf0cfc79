//! What a reader keeps for the end of the log besides a mapping: the open page, and a copy of its newest
//! records.

use super::page_file::PageFile;
use crate::batch_storage::Copied;
use std::sync::Arc;

/// How often a reader that has been woken may find that it has read everything before it sleeps again; it is
/// one that polls otherwise. More than once: what comes just before a reader falls asleep keeps it awake.
const ROUNDS: u8 = 2;

/// What a reader keeps for the end of the log.
#[derive(Default)]
pub(crate) struct Tail {
    /// Counts down from the last wake; 0 if records are to be read in place.
    rounds: u8,
    /// The mapping may have been read through since it was last given back.
    touched: bool,
    pub(crate) page: Option<Arc<PageFile>>,
    pub(crate) copy: Option<Arc<Copied>>,
}

impl Tail {
    #[inline(always)]
    pub(crate) fn is_wanted(&self) -> bool {
        self.rounds > 0
    }

    /// Everything has been read.
    pub(crate) fn drained(&mut self) {
        self.rounds = self.rounds.saturating_sub(1);
        self.touched |= self.rounds == 0;
    }

    /// Called when the reader does not sleep, or gets many records at once: from now on it reads in place.
    pub(crate) fn awake(&mut self) {
        self.rounds = 0;
        self.touched();
    }

    /// Called when the reader goes to sleep: the records that wake it are copied.
    pub(crate) fn asleep(&mut self) {
        self.rounds = ROUNDS;
    }

    /// Whether the mapping may have been read since the last call.
    pub(crate) fn take_touched(&mut self) -> bool {
        std::mem::take(&mut self.touched)
    }

    /// Called when records are read in place.
    pub(crate) fn touched(&mut self) {
        self.touched = true;
    }

    /// Closes the page, when the reader leaves it or its name may belong to another file now.
    pub(crate) fn leave(&mut self) {
        (self.page, self.copy) = (None, None);
    }

    /// Drops copied bytes that have not been handed out: the log may have other bytes there now.
    pub(crate) fn forget(&mut self) {
        self.copy = None;
    }

    /// The page's inode, if it is open.
    pub(crate) fn inode(&self) -> Option<(u64, u64)> {
        self.page.as_ref().map(|page| (**page).as_ref().inode())
    }
}
