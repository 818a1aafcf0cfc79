//! The results of a measurement: latencies, tables, plots, and the machine on which they were measured.

pub mod histogram;
pub mod machine;
pub mod report;
