//! Rows as they come, and the same as JSON.

use crate::facts::Facts;
use crate::stats::Duel;
use anyhow::Context;
use serde_json::{Value, json};
use std::path::Path;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds; less is better.
    Ns,
    /// Bytes per second; more is better.
    Bytes,
    /// Calls or records per second; more is better.
    Rate,
    /// How many; less is better.
    Count,
    /// 1024 bytes; less is better.
    Kib,
}

impl Unit {
    fn show(self, value: f64) -> String {
        let scaled = |steps: &[(f64, &'static str)], one: &'static str| {
            let (scale, name) =
                steps.iter().find(|(scale, _)| value >= *scale).copied().unwrap_or((1.0, one));
            let digits = match value / scale {
                v if v >= 100.0 => 0,
                v if v >= 10.0 => 1,
                _ => 2,
            };
            format!("{:.digits$} {name}", value / scale)
        };
        match self {
            Unit::Ns => scaled(&[(1e9, "s"), (1e6, "ms"), (1e3, "us")], "ns"),
            Unit::Bytes => format!("{:.2} GB/s", value / 1e9),
            Unit::Rate => scaled(&[(1e6, "M/s"), (1e3, "k/s")], "/s"),
            Unit::Count => format!("{value}"),
            Unit::Kib => format!("{value:.0} KiB"),
        }
    }
}

/// What a row should come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    None,
    /// Ours / floor.
    RatioAtMost(f64),
    /// Ours / floor.
    RatioAtLeast(f64),
    /// Ours, in the row's unit.
    AtMost(f64),
}

impl Goal {
    fn met(self, ours: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Goal::None => None,
            Goal::RatioAtMost(limit) => ratio.map(|ratio| ratio <= limit),
            Goal::RatioAtLeast(limit) => ratio.map(|ratio| ratio >= limit),
            Goal::AtMost(limit) => Some(ours <= limit),
        }
    }

    fn show(self, unit: Unit) -> String {
        match self {
            Goal::None => String::new(),
            Goal::RatioAtMost(limit) => format!("<= {limit:.2} x"),
            Goal::RatioAtLeast(limit) => format!(">= {limit:.2} x"),
            Goal::AtMost(limit) => format!("<= {}", unit.show(limit)),
        }
    }
}

/// Prints rows as they are measured.
pub struct Table {
    facts: Facts,
    rows: Vec<Value>,
    quiet: bool,
    missed: usize,
}

impl Table {
    pub fn new(facts: Facts, quiet: bool) -> Table {
        let table = Table { facts, rows: Vec::new(), quiet, missed: 0 };
        for (name, value) in table.facts.iter() {
            table.print(&format!("{name:<12} {value}"));
        }
        table
    }

    fn print(&self, line: &str) {
        if !self.quiet {
            println!("{}", line.trim_end());
        }
    }

    /// Begins a topic; `about` says what its floor is.
    pub fn topic(&self, about: &str) {
        self.print(&format!("\n{about}"));
        self.print(&format!(
            "  {:<62} {:>10} {:>10} {:>7} {:>15} {:>11}",
            "", "ours", "floor", "ratio", "1/4 - 3/4", "goal"
        ));
    }

    pub fn duel(&mut self, name: &str, unit: Unit, duel: &Duel, goal: Goal) {
        self.row(name, unit, duel.ours, Some((duel.floor, duel.ratio)), goal, duel.rounds);
    }

    /// A figure of ours with or without that of a floor, measured once.
    pub fn single(&mut self, name: &str, unit: Unit, ours: f64, floor: Option<f64>, goal: Goal) {
        self.row(name, unit, ours, floor.map(|floor| (floor, [ours / floor; 3])), goal, 1);
    }

    fn row(
        &mut self,
        name: &str,
        unit: Unit,
        ours: f64,
        floor: Option<(f64, [f64; 3])>,
        goal: Goal,
        rounds: usize,
    ) {
        let ratio = floor.map(|(_, ratio)| ratio);
        let met = goal.met(ours, ratio.map(|ratio| ratio[0]));
        self.missed += usize::from(met == Some(false));
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let floor_text = floor.map_or(String::new(), |(floor, _)| unit.show(floor));
        let ratio_text = ratio.map_or(String::new(), |ratio| format!("{:.2}", ratio[0]));
        let spread = ratio.filter(|_| rounds > 1);
        let spread = spread.map_or(String::new(), |ratio| format!("{:.2} - {:.2}", ratio[1], ratio[2]));
        self.print(&format!(
            "  {name:<62} {:>10} {floor_text:>10} {ratio_text:>7} {spread:>15} {:>11} {verdict}",
            unit.show(ours),
            goal.show(unit),
        ));
        self.rows.push(json!({
            "row": name,
            "unit": format!("{unit:?}").to_lowercase(),
            "ours": ours,
            "floor": floor.map(|(floor, _)| floor),
            "ratio": ratio.map(|ratio| ratio[0]),
            "ratio_quartiles": ratio.map(|ratio| [ratio[1], ratio[2]]),
            "rounds": rounds,
            "goal": goal.show(unit),
            "met": met,
        }));
    }

    /// A remark on the rows above.
    pub fn note(&self, text: &str) {
        self.print(&format!("  ({text})"));
    }

    pub fn finish(&self, json: Option<&Path>) -> anyhow::Result<()> {
        self.print(&format!("\n{} rows, {} goals missed", self.rows.len(), self.missed));
        let Some(path) = json else { return Ok(()) };
        let text =
            serde_json::to_string_pretty(&json!({ "facts": self.facts.to_json(), "rows": self.rows }))?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
