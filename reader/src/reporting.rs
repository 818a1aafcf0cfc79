//! Readers that report themselves.
//!
//! Readers never contact the writer, so nothing records who reads a ring. A reader that wants `waldo lag` to
//! show its progress writes a small file of its own. Nothing else depends on these files: neither the writer
//! nor a reader looks at them, and a reader reads on if it cannot write its report.
//!
//! The files are outside the ring's directory, where a reader may have no right to write: in
//! `/dev/shm/waldo.readers.USER/RING/`. Only that user can write there, so no user can put a link in another
//! user's way; files that belong to another user, or that another user can write, are not used. A program
//! that lists the files does not trust their content: another user may have written anything.

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

/// Why a reader cannot report itself, or the readers of a ring cannot be listed.
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
    /// A directory that belongs to another user, or that another user can write.
    #[error("{}: not used for reports, because others can write there: remove the directory", .path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
    },
    /// No name for a reader.
    #[error("a reader's name has 1 to {NAME_LEN_MAX} bytes, and no control characters")]
    Name,
}
