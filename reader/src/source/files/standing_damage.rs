//! Damage that stands: whether anything has been done about a damaged ring since it was surveyed.
//!
//! Whoever follows a damaged ring by its files looks about once a second whether somebody has mended the
//! ring. A survey reads the pages; with thousands of followers that is all that the machine does. So they
//! remember what the files were like, and survey again when one of them is not what it was.

use crate::source::home::Stamp;
use std::path::Path;
use waldo_shm_protocol::names;

/// So many looks in a row may go without a survey.
const LOOKS_MAX: u32 = 64;

/// What the files of a ring were like before it was surveyed and found damaged.
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

    /// Whether nothing has been done to them since, going by what they look like from outside.
    pub(super) fn stands(&mut self, home: &Path, ids: &[u64]) -> bool {
        self.looks += 1;
        self.looks < LOOKS_MAX
            && StandingDamage::now(home, ids)
                .is_some_and(|now| now.meta == self.meta && now.pages == self.pages)
    }
}
