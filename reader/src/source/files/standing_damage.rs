//! Standing damage: whether the files of a damaged ring have changed since it was surveyed.
//!
//! A reader that follows a damaged ring by its files checks about once a second whether the ring has been
//! repaired. A survey reads the pages; with thousands of followers the machine would do nothing else. So a
//! follower remembers the state of the files, and surveys again when one of them has changed.

use crate::source::home::Stamp;
use std::path::Path;
use waldo_shm_protocol::names;

/// So many looks in a row may go without a survey.
const LOOKS_MAX: u32 = 64;

/// The state of a ring's files before it was surveyed and found damaged.
#[derive(Debug)]
pub(super) struct StandingDamage {
    meta: Stamp,
    pages: Vec<(u64, Stamp)>,
    /// Looks since the survey.
    looks: u32,
}

impl StandingDamage {
    /// The files as they are now, pages `ids` and the metadata; `None` if they may be changing.
    pub(super) fn now(home: &Path, ids: &[u64]) -> Option<StandingDamage> {
        let state = |name: &str| Stamp::at(&home.join(name)).filter(Stamp::is_at_rest);
        let pages: Option<Vec<_>> = ids.iter().map(|id| Some((*id, state(&names::page(*id))?))).collect();
        Some(StandingDamage { meta: state(names::META)?, pages: pages?, looks: 0 })
    }

    /// Whether the files are unchanged since then, judged by their metadata.
    pub(super) fn stands(&mut self, home: &Path, ids: &[u64]) -> bool {
        self.looks += 1;
        self.looks < LOOKS_MAX
            && StandingDamage::now(home, ids)
                .is_some_and(|now| now.meta == self.meta && now.pages == self.pages)
    }
}
