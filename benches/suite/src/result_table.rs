//! Rows: ours, floor, ratio, goal and whether it is met.

use super::comparison::PairedComparison;
use serde_json::{Value, json};
use waldo_harness::results::report::Table;

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
    /// A part of a whole, 0 to 1; more is better.
    Share,
    /// A multiple of something; less is better.
    Times,
}

impl Unit {
    /// A figure for people.
    pub fn show(self, value: f64) -> String {
        if !value.is_finite() {
            return "-".to_owned();
        }
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
            Unit::Bytes => scaled(&[(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")], "B/s"),
            Unit::Rate => scaled(&[(1e6, "M/s"), (1e3, "k/s")], "/s"),
            Unit::Count => format!("{value}"),
            Unit::Kib => format!("{value:.0} KiB"),
            Unit::Times => format!("{value:.2} x"),
            Unit::Share if value > 0.0 && value < 0.001 => format!("{:.4} %", value * 100.0),
            Unit::Share => format!("{:.1} %", value * 100.0),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Ns => "ns",
            Unit::Bytes => "bytes/s",
            Unit::Rate => "1/s",
            Unit::Count => "count",
            Unit::Kib => "KiB",
            Unit::Share => "share",
            Unit::Times => "times",
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
    /// Ours, in the row's unit.
    AtLeast(f64),
}

impl Goal {
    fn met(self, ours: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Goal::None => None,
            Goal::RatioAtMost(limit) => ratio.map(|ratio| ratio <= limit),
            Goal::RatioAtLeast(limit) => ratio.map(|ratio| ratio >= limit),
            Goal::AtMost(limit) => Some(ours <= limit),
            Goal::AtLeast(limit) => Some(ours >= limit),
        }
    }

    fn show(self, unit: Unit) -> String {
        match self {
            Goal::None => String::new(),
            Goal::RatioAtMost(limit) => format!("<= {limit:.2} x"),
            Goal::RatioAtLeast(limit) => format!(">= {limit:.2} x"),
            Goal::AtMost(limit) => format!("<= {}", unit.show(limit)),
            Goal::AtLeast(limit) => format!(">= {}", unit.show(limit)),
        }
    }
}

/// All rows, by topic.
#[derive(Debug, Default)]
pub struct ResultTable {
    topics: Vec<Topic>,
}

#[derive(Debug)]
struct Topic {
    name: &'static str,
    table: Table,
    rows: Vec<Value>,
}

impl ResultTable {
    /// Begins a topic; `floor` says what its floor is.
    pub fn topic(&mut self, name: &'static str, about: &str) {
        let head = ["", "ours", "floor", "ratio", "1/4 - 3/4", "goal", "verdict"];
        let table = Table {
            caption: format!("{name}: {about}"),
            head: head.map(str::to_owned).to_vec(),
            rows: Vec::new(),
        };
        self.topics.push(Topic { name, table, rows: Vec::new() });
    }

    /// A row of the newest topic.
    pub fn duel(&mut self, name: &str, unit: Unit, duel: &PairedComparison, goal: Goal) {
        self.row(name, unit, duel.ours, Some((duel.floor, duel.ratio)), goal, duel.rounds);
    }

    /// The same, for a figure of ours with or without that of a floor, each known once.
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
        let ratio = floor.map(|(_, ratio)| ratio).filter(|ratio| ratio.iter().all(|value| value.is_finite()));
        let met = goal.met(ours, ratio.map(|ratio| ratio[0]));
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let spread = ratio.filter(|_| rounds > 1);
        let Some(topic) = self.topics.last_mut() else { return };
        topic.table.rows.push(vec![
            name.to_owned(),
            unit.show(ours),
            floor.map_or(String::new(), |(floor, _)| unit.show(floor)),
            ratio.map_or(String::new(), |ratio| format!("{:.2}", ratio[0])),
            spread.map_or(String::new(), |ratio| format!("{:.2} - {:.2}", ratio[1], ratio[2])),
            goal.show(unit),
            verdict.to_owned(),
        ]);
        topic.rows.push(json!({
            "topic": topic.name,
            "row": name,
            "unit": unit.name(),
            "ours": ours,
            "floor": floor.map(|(floor, _)| floor),
            "ratio": ratio.map(|ratio| ratio[0]),
            "ratio_quartiles": ratio.map(|ratio| [ratio[1], ratio[2]]),
            "rounds": rounds,
            "goal": goal.show(unit),
            "met": met,
        }));
    }

    /// Rows whose goal is met, and rows whose goal is missed.
    pub fn verdicts(&self) -> (usize, usize) {
        let count =
            |met| self.topics.iter().flat_map(|topic| &topic.rows).filter(|row| row["met"] == met).count();
        (count(true), count(false))
    }

    /// A table for each topic, and all rows for programs.
    pub fn finish(self) -> (Vec<Table>, Vec<Value>) {
        let (tables, rows): (Vec<_>, Vec<_>) =
            self.topics.into_iter().map(|topic| (topic.table, topic.rows)).unzip();
        (tables, rows.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_called_a_miss() {
        let mut sheet = ResultTable::default();
        sheet.topic("t", "about");
        let duel = PairedComparison { ours: 1300.0, floor: 1000.0, ratio: [1.3, 1.2, 1.4], rounds: 5 };
        sheet.duel("good", Unit::Ns, &duel, Goal::RatioAtMost(1.5));
        sheet.duel("bad", Unit::Ns, &duel, Goal::RatioAtMost(1.2));
        sheet.single("nothing", Unit::Ns, f64::NAN, Some(0.0), Goal::AtMost(1.0));
        sheet.single("no goal", Unit::Count, 3.0, None, Goal::None);
        assert_eq!(sheet.verdicts(), (1, 2));
        let (tables, rows) = sheet.finish();
        assert_eq!(
            tables[0].rows[0],
            ["good", "1.30 us", "1.00 us", "1.30", "1.20 - 1.40", "<= 1.50 x", "met"]
        );
        assert_eq!(tables[0].rows[1][6], "MISSED");
        assert_eq!(tables[0].rows[2][1], "-");
        assert_eq!(rows[3]["met"], Value::Null);
    }
}
