//! Code that the demo, the measurements and the comparison share.
//!
//! [`processes`]: how a program starts thousands of processes, hears from them, and leaves none behind.
//! [`results`] (feature `results`): latencies, tables, plots, and the machine on which they were measured.

pub mod processes;
#[cfg(feature = "results")]
pub mod results;
pub mod ring;
pub mod scheduling;
