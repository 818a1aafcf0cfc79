//! A page file: header, records, sparse index, footer.
//!
//! ```text
//!  0          4096                records_end            records_limit        len - 128     len
//!  | header   | records ... | seal | never read          | index entries ->   | footer      |
//! ```
//!
//! The header is written before the file gets its name, and never again while it has that name. Records grow
//! from 4096 up to at most `records_limit`. Index and footer are written when the page is sealed, and for the
//! last page when the ring is closed; they are valid only if the seal stands at `records_end`, or the ring's
//! metadata names that place as the clean end. The index ends where the footer starts.

mod fault;
mod footer;
mod geometry;
mod header;
mod index;
#[cfg(test)]
mod tests;

pub use fault::PageFault;
pub use footer::{FOOTER_MAGIC, PageFooter, PageSummary, RECORDS_UNKNOWN, RawPageFooter};
pub use geometry::PageGeometry;
pub use header::{PAGE_MAGIC, PAGE_MAGIC_RETIRED, PageHeader, RawPageHeader};
pub use index::IndexEntry;
