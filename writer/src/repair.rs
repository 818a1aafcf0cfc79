//! Making a damaged ring usable again, when somebody asks for that.
//!
//! A writer refuses a ring in which something that had been durable is damaged, and changes nothing. What is
//! still good falls into *stretches*: runs of records that follow one another without a gap. A ring is one
//! run, so one stretch stays, and the others go into a backup. [`plan`] looks and says what would be done;
//! [`apply`] does it.
//!
//! Nothing is ever written into a file that is there. A changed page is made under a scratch name and takes
//! the place of the old one, which is in the backup by then. The steps are in an order in which a crash after
//! any of them leaves files of which the next run chooses the same stretch.

mod backup;
mod check;
mod look;
mod page;
mod steps;
#[cfg(test)]
mod tests;

use crate::disk::Directory;
use crate::error::OpenError;
use crate::lock::WriterLock;
use std::fmt;
use std::path::{Path, PathBuf};

/// Which stretch of good records stays, if there is more than one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// The one with most records; of two equal ones the newer.
    #[default]
    Longest,
    /// The oldest: what comes before the first damage.
    Older,
    /// The newest: what comes behind the last damage.
    Newer,
}

/// A run of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Sequence number of the first.
    pub first_seq_no: u64,
    /// Sequence number of the last.
    pub last_seq_no: u64,
    /// How many there are.
    pub records: u64,
    /// Their size in bytes, headers included.
    pub bytes: u64,
    /// Page of the first, and its offset there in bytes.
    pub from: (u64, u64),
    /// Page in which the last one ends, and the offset behind it in bytes.
    pub to: (u64, u64),
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "records {} to {} ({} records, {} bytes; page {} offset {} to page {} offset {})",
            self.first_seq_no,
            self.last_seq_no,
            self.records,
            self.bytes,
            self.from.0,
            self.from.1,
            self.to.0,
            self.to.1
        )
    }
}

/// Something that is to be done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The two files exchange their names, or the first takes the second one's if that is free.
    Exchange {
        /// Name of a file.
        from: String,
        /// The name that its content belongs under.
        to: String,
    },
    /// The file leaves the ring.
    Remove {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The file is made anew.
    Rewrite {
        /// Its name.
        name: String,
        /// What will be different.
        reason: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Exchange { from, to } => write!(f, "give {from} the name {to}, and the other way round"),
            Action::Remove { name, reason } => write!(f, "remove {name}: {reason}"),
            Action::Rewrite { name, reason } => write!(f, "write {name} anew: {reason}"),
        }
    }
}

/// What a repair would do, or has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// The first damage, with its file, offset and record; `None` if the ring is in order.
    pub damage: Option<String>,
    /// What stays; `None` if no good record was found.
    pub kept: Option<Span>,
    /// Good records that go, with those that stay in no run any more, the oldest first.
    pub dropped: Vec<Span>,
    /// Between which records some are lost to damage: the last good one before, and the predecessor that the
    /// first good one behind names. Sequence numbers above the first and up to the second are gone.
    pub lost: Vec<(u64, u64)>,
    /// The steps, in their order. Empty if there is nothing to do.
    pub actions: Vec<Action>,
    /// Where everything is that was removed or changed; `None` for a plan, or if there was nothing to do.
    pub backup: Option<PathBuf>,
}

/// Says what [`apply`] would do. Changes nothing.
///
/// # Errors
/// [`OpenError::Locked`] if a writer runs; others if the ring cannot be read, or there is nothing to go by:
/// neither metadata nor a page with a good header.
pub fn plan(home: impl AsRef<Path>, keep: Keep) -> Result<Repair, OpenError> {
    let home = home.as_ref();
    let dir = Directory::open(home).map_err(OpenError::io("look at", home))?;
    WriterLock::refuse_if_held(&dir)?;
    Ok(look::look(home, keep)?.report)
}

/// Repairs the ring, with its lock held. Before a file is removed or replaced it is put into a new directory
/// beside the ring, `<home>-backup-<number>`, or in `backup` under such a name. Can be repeated if it was
/// interrupted.
///
/// # Errors
/// As [`plan`]; and if something cannot be written.
pub fn apply(home: impl AsRef<Path>, keep: Keep, backup: Option<&Path>) -> Result<Repair, OpenError> {
    let home = home.as_ref();
    let dir = Directory::open(home).map_err(OpenError::io("open", home))?;
    let mut lock = WriterLock::take(&dir)?;
    lock.hold_meta()?;
    let found = look::look(home, keep)?;
    if found.report.actions.is_empty() {
        return Ok(found.report);
    }
    steps::carry_out(home, found, backup)
}
