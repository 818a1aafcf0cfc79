//! What can be wrong with a page.

use thiserror::Error;

/// What is wrong with a page's header or footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PageFault {
    /// Fewer bytes than a header or footer.
    #[error("the file is too short to be a page ({len} bytes)")]
    TooShort {
        /// Bytes there are.
        len: u64,
    },
    /// Not a page at all.
    #[error("not a waldo page (wrong magic number)")]
    Magic,
    /// The page was taken out of the ring.
    #[error("the page has been trimmed from the ring")]
    Retired,
    /// Written by a newer version.
    #[error("page format version {found}, this program knows up to {known}: use a newer waldo")]
    Version {
        /// Stored version.
        found: u32,
        /// Highest version known.
        known: u32,
    },
    /// Uses features this version does not know.
    #[error("page uses unknown features {flags:#x}: use a newer waldo")]
    Incompatible {
        /// The unknown feature bits.
        flags: u64,
    },
    /// The checksum does not fit.
    #[error("checksum {stored:#010x}, computed {computed:#010x}")]
    Checksum {
        /// Stored checksum.
        stored: u32,
        /// Computed checksum.
        computed: u32,
    },
    /// Belongs to another ring.
    #[error("the page belongs to another ring")]
    ForeignRing,
    /// Holds another page than its name says.
    #[error("the file holds page {found}, its name says {expected}")]
    WrongPage {
        /// Stored id.
        found: u64,
        /// Id that was looked for.
        expected: u64,
    },
    /// The file is not as long as its header says.
    #[error("the file is {actual} bytes long, its header says {stored}")]
    FileLen {
        /// Length in the header.
        stored: u64,
        /// Length of the file.
        actual: u64,
    },
    /// A length or offset that cannot be.
    #[error("{what} out of range")]
    Range {
        /// Which one.
        what: &'static str,
    },
}
