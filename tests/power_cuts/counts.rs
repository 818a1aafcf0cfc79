//! What a run has done, for people.

use crate::machine::FileSystem;
use crate::plan::{Mode, Plan};
use std::collections::BTreeMap;
use std::fmt;

/// One row of the table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub cuts: u64,
    pub cuts_in_opening: u64,
    /// After the writer had died at a named point.
    pub cuts_at_points: u64,
    pub kills: u64,
    pub pages: u64,
    /// Openings that cut something off the end.
    pub torn: u64,
    /// Acknowledged and not durable: lost at a cut, at most.
    pub lost_most: u64,
    /// How long before the cut the oldest of these had been acknowledged, at most.
    pub lost_oldest_us: u64,
    pub findings: u64,
}

#[derive(Debug, Default)]
pub struct Table(BTreeMap<(FileSystem, &'static str, Mode), Counts>);

impl Table {
    pub fn row(&mut self, file_system: FileSystem, plan: &Plan) -> &mut Counts {
        let io = match plan.io {
            waldo::writer::Io::Auto => "auto",
            waldo::writer::Io::Uring => "uring",
            waldo::writer::Io::Pwrite => "pwrite",
        };
        self.0.entry((file_system, io, plan.mode)).or_default()
    }

    pub fn cuts(&self) -> u64 {
        self.0.values().map(|counts| counts.cuts + counts.cuts_in_opening + counts.cuts_at_points).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "fs    engine  durability        cuts  in opening  at points  kills   pages  torn  lost, most  oldest, ms  findings"
        )?;
        for ((file_system, io, mode), counts) in &self.0 {
            writeln!(
                f,
                "{:<5} {io:<7} {:<16} {:>5} {:>11} {:>10} {:>6} {:>7} {:>5} {:>11} {:>11} {:>9}",
                file_system.name(),
                mode.name(),
                counts.cuts,
                counts.cuts_in_opening,
                counts.cuts_at_points,
                counts.kills,
                counts.pages,
                counts.torn,
                counts.lost_most,
                counts.lost_oldest_us / 1000,
                counts.findings
            )?;
        }
        Ok(())
    }
}
