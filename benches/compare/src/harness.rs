//! What is the same for every system: processes, phases, records, clocks, figures, tables.
//!
//! `course` runs everything; `round` is one system with one number of subscribers. `publisher` and
//! `subscriber` are what happens in the other processes, which are this program again (`role`).

pub mod board;
pub mod clock;
pub mod course;
pub mod crowd;
pub mod failure;
pub mod figures;
pub mod interrupt;
pub mod losses;
pub mod machine;
pub mod publisher;
pub mod record;
pub mod report;
pub mod role;
pub mod round;
pub mod scratch;
pub mod spec;
pub mod spread;
pub mod subscriber;
pub mod units;
pub mod usage;

#[cfg(test)]
mod tests;
