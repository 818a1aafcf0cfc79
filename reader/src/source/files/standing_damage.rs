//! Damage that stands: whether anything has been done about a damaged ring since it was surveyed.
//!
//! Whoever follows a damaged ring by its files looks ten times a second whether somebody has mended the ring.
//! A survey reads the pages; with thousands of followers that is all that the machine does. So they remember
//! what the files were like, and survey again when one of them is not what it was.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};
use waldo_shm_protocol::names;

/// Files that were changed more lately are surveyed at each look: a file system's clock may not tell two
/// changes apart that come soon after each other.
const AT_REST: Duration = Duration::from_secs(2);
/// So many looks in a row may go without a survey.
const LOOKS_MAX: u32 = 64;

/// What tells one state of a file from another.
#[derive(Debug, PartialEq, Eq)]
struct FileState {
    inode: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    fn of(file: &Metadata) -> FileState {
        FileState {
            inode: (file.dev(), file.ino()),
            len: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    fn is_at_rest(&self) -> bool {
        let since = |(seconds, _): (i64, i64)| {
            let time =
                SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))?;
            time.elapsed().ok()
        };
        // A time in the future tells nothing.
        [self.modified, self.changed].into_iter().all(|time| since(time).is_some_and(|age| age > AT_REST))
    }
}

/// What the files of a ring were like before it was surveyed and found damaged.
#[derive(Debug)]
pub(super) struct StandingDamage {
    meta: FileState,
    pages: Vec<(u64, FileState)>,
    /// Looks since the survey.
    looks: u32,
}

impl StandingDamage {
    /// The files as they are now, pages `ids` and the metadata; `None` if they may be changing.
    pub(super) fn now(home: &Path, ids: &[u64]) -> Option<StandingDamage> {
        let state = |name: &str| {
            let state = FileState::of(&home.join(name).symlink_metadata().ok()?);
            state.is_at_rest().then_some(state)
        };
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
