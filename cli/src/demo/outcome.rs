//! The outcome of one reader.

use super::tally::Sum;
use waldo_harness::processes::memory::Memory;

/// What is known of one reader.
#[derive(Clone, Debug, Default)]
pub enum ReaderOutcome {
    /// Started.
    #[default]
    Started,
    /// Attached to the ring.
    Attached,
    /// Has met the end.
    Verified {
        /// What it has read.
        sum: Sum,
        /// When it was done.
        at_ns: u64,
        /// What it takes.
        memory: Memory,
    },
    /// Did not make it, and why.
    Failed(String),
}
