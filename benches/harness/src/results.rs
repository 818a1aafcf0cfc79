//! What a measurement comes to: latencies, tables, plots, and the machine that all of it is of.

pub mod histogram;
pub mod machine;
pub mod report;
