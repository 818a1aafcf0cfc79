//! The parts that are the same for every system: processes, phases, records, clocks, figures, tables.
//!
//! `scenario` runs everything; `round` is one system with one number of subscribers. `publisher` and
//! `subscriber` are what happens in the other processes, which are this program again (`role`).

pub mod figures;
pub mod losses;
pub mod machine;
pub mod notes;
pub mod publisher;
pub mod quantiles;
pub mod record;
pub mod report;
pub mod role;
pub mod round;
pub mod scenario;
pub mod scratch;
pub mod spec;
pub mod subscriber;
pub mod units;
pub mod usage;

#[cfg(test)]
mod tests;
