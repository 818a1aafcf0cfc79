//! What the demo, the measurements and the comparison have in common.
//!
//! [`processes`]: how a program starts thousands of processes, hears from them, and leaves none behind.
//! [`results`] (feature `results`): latencies, tables, plots, and the machine that they are of.

pub mod processes;
#[cfg(feature = "results")]
pub mod results;
pub mod ring;
pub mod scheduling;
