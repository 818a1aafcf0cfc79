//! Readers that want to be seen.
//!
//! Nobody knows who reads a ring: readers never contact the writer. A reader that wants `waldo lag` to show
//! how far it has come says so itself, in a small file of its own. Nothing else depends on these files:
//! neither the writer nor a reader looks at them, and a report that cannot be written is no reason to stop
//! reading.
//!
//! They lie outside the ring's directory, since a reader may be allowed to read that and no more: in
//! `/dev/shm/waldo.readers.USER/RING/`. Only that user can write there, so none can put a link in another
//! one's way; what belongs to somebody else, or can be written by somebody else, is not used. Whoever lists
//! the files believes nothing of what is in them: another user may have written anything.

mod directory;
mod files;
mod process;
mod report;
mod reporter;
#[cfg(test)]
mod tests;

pub use directory::{LeftOverReports, ReaderReports, ReportDirectory, ReportUsers};
pub use process::ProcessState;
pub use report::ReaderReport;
pub use reporter::Reporter;

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Longest name of a reader in bytes.
const NAME_LEN_MAX: usize = 128;

/// Why a reader cannot make itself seen, or the readers of a ring cannot be listed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// What the system said.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory that belongs to somebody else, or can be written by somebody else.
    #[error("{}: not used for reports, because others can write there: remove the directory", .path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
    },
    /// No name for a reader.
    #[error("a reader's name has 1 to {NAME_LEN_MAX} bytes, and no control characters")]
    Name,
}
