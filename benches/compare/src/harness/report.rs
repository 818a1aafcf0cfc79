//! Tables for people, JSON for programs.

use super::figures::{Cell, PhaseFigures};
use super::losses::losses;
use super::spec::Phase;
use super::{machine, units};
use crate::args::Args;
use crate::system::System;
use anyhow::Context;
use comfy_table::{Table, presets};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// Knows how to show what was measured.
pub struct Report<'a> {
    args: &'a Args,
    machine: String,
    versions: String,
    json: Option<File>,
}

impl Report<'_> {
    /// Opens what is to be written to, so that minutes of measuring do not end with a folder that is not
    /// there.
    pub fn new(args: &Args) -> anyhow::Result<Report<'_>> {
        let open =
            |path: &PathBuf| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        let json = args.json.as_ref().map(open).transpose()?;
        Ok(Report { args, machine: machine::machine(), versions: machine::versions(), json })
    }

    /// Shows all of it.
    pub fn publish(mut self, runs: &[Cell]) -> anyhow::Result<()> {
        let cells = self.medians(runs);
        if let Some(mut file) = self.json.take() {
            let args = self.args;
            let value = serde_json::json!({
                "machine": self.machine, "versions": self.versions,
                "size": args.size, "records": args.records, "batch": args.batch, "rate": args.rate,
                "seconds": args.seconds, "repeat": args.repeat, "medians": cells, "runs": runs,
            });
            writeln!(file, "{value:#}").context("cannot write the JSON file")?;
        }
        let mut out = std::io::stdout().lock();
        let result = out.write_all(self.text(&cells).as_bytes()).and_then(|()| out.flush());
        match result {
            // Whoever was reading has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other.context("cannot write to standard output"),
        }
    }

    fn medians(&self, runs: &[Cell]) -> Vec<Cell> {
        let mut cells = Vec::new();
        for subscribers in &self.args.subscribers {
            for system in self.args.systems() {
                let same = |cell: &&Cell| cell.system == system && cell.subscribers == *subscribers;
                cells.extend(Cell::median(&runs.iter().filter(same).collect::<Vec<_>>()));
            }
        }
        cells
    }

    fn text(&self, cells: &[Cell]) -> String {
        let args = self.args;
        let mut text = format!(
            "{}\n{}\nRecords of {} bytes; {}. All times, CPU time too, are for one record. In brackets: times Waldo's.\n",
            self.machine,
            self.versions,
            args.size,
            if args.repeat > 1 { format!("medians of {} runs", args.repeat) } else { "one run".into() }
        );
        if args.rate > 0 {
            let head = format!("{} records a second, each on its own, for {} s", args.rate, args.seconds);
            text += &self.section(&head, self.phase_table(cells, Phase::Paced));
        }
        if args.records > 0 {
            let head = format!("{} records in batches of {}, as fast as it goes", args.records, args.batch);
            text += &self.section(&head, self.phase_table(cells, Phase::Flood));
        }
        text += &self.section("Subscribing, and what a subscriber takes", self.attach_table(cells));
        text += &self.section("What each system is", self.facts_table());
        text += &self.list("Not measured, or not to the end", self.shortfalls(cells));
        text += &self.list("Where Waldo loses", losses(cells));
        text
    }

    /// What is missing, and why.
    fn shortfalls(&self, cells: &[Cell]) -> Vec<String> {
        let mut lines = Vec::new();
        for cell in cells {
            let who = format!("{}, {} subscribers", crate::peers::facts(cell.system).name, cell.subscribers);
            if let Some(why) = &cell.stopped {
                lines.push(format!("{who}: {why}"));
            }
            let paced = (self.args.rate as f64 * self.args.seconds).floor();
            for (phase, goal) in [(Phase::Paced, paced), (Phase::Flood, self.args.records as f64)] {
                if let Some(figures) = cell.phase(phase).filter(|figures| figures.records < goal) {
                    let part = if phase == Phase::Flood { "fast" } else { "paced" };
                    let records = figures.records;
                    lines.push(format!(
                        "{who}: too slow, {part} part cut off after {records} of {goal} records"
                    ));
                }
            }
        }
        lines
    }

    fn section(&self, title: &str, table: Table) -> String {
        format!("\n{}{title}\n\n{table}\n", if self.args.markdown { "### " } else { "" })
    }

    fn list(&self, title: &str, lines: Vec<String>) -> String {
        let mark = if self.args.markdown { "### " } else { "" };
        let body = match lines.is_empty() {
            true => "nothing".to_owned(),
            false => lines.iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n"),
        };
        format!("\n{mark}{title}\n\n{body}\n")
    }

    fn table(&self, head: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(if self.args.markdown {
            presets::ASCII_MARKDOWN
        } else {
            presets::UTF8_BORDERS_ONLY
        });
        table.set_header(head.to_vec());
        table
    }

    fn phase_table(&self, cells: &[Cell], phase: Phase) -> Table {
        let flood = phase == Phase::Flood;
        let mut table = self.table(&[
            "subscribers",
            "system",
            if flood { "delivered in all" } else { "published" },
            "to receipt p50",
            "p99",
            "max",
            "in the publisher p50",
            "p99",
            "max",
            "CPU: publisher, server",
            "a subscriber",
            "lost",
        ]);
        for cell in cells {
            let mut row =
                vec![cell.subscribers.to_string(), crate::peers::facts(cell.system).name.to_owned()];
            if let Some(figures) = cell.phase(phase) {
                let ours = waldo(cells, cell).and_then(|ours| ours.phase(phase));
                let show = |get: fn(&PhaseFigures) -> f64, unit: fn(f64) -> String| {
                    with_ratio(get(figures), ours.map(get), unit)
                };
                row.extend([
                    match flood {
                        true => show(|f| f.delivered_per_s, units::rate),
                        false => units::rate(figures.published_per_s),
                    },
                    show(|f| f.delay_ns.p50, units::time),
                    show(|f| f.delay_ns.p99, units::time),
                    units::time(figures.delay_ns.max),
                    show(|f| f.publish_ns.p50, units::time),
                    show(|f| f.publish_ns.p99, units::time),
                    units::time(figures.publish_ns.max),
                    show(|f| f.publisher_cpu_ns, units::time),
                    show(|f| f.subscriber_cpu_ns, units::time),
                    match figures.bad > 0.0 {
                        true => format!("{} (and {} bad)", figures.lost, figures.bad),
                        false => figures.lost.to_string(),
                    },
                ]);
            } else {
                row.push("see below".into());
                row.resize(12, String::new());
            }
            table.add_row(row);
        }
        table
    }

    fn attach_table(&self, cells: &[Cell]) -> Table {
        let mut table = self.table(&[
            "subscribers",
            "system",
            "all subscribed after",
            "memory: own",
            "private",
            "proportional",
            "page tables",
        ]);
        for cell in cells {
            let ours = waldo(cells, cell);
            let attach = cell.attach_ns.map(|ns| with_ratio(ns, ours.and_then(|o| o.attach_ns), units::time));
            let memory = |get: fn(&super::figures::Memory) -> f64| {
                let theirs = cell.memory.as_ref().map(get);
                let ours = ours.and_then(|ours| ours.memory.as_ref()).map(get);
                theirs.map_or_else(|| "see below".into(), |value| with_ratio(value, ours, units::memory))
            };
            table.add_row([
                cell.subscribers.to_string(),
                crate::peers::facts(cell.system).name.to_owned(),
                attach.unwrap_or_else(|| "see below".into()),
                memory(|m| m.own),
                memory(|m| m.private),
                memory(|m| m.proportional),
                memory(|m| m.tables),
            ]);
        }
        table
    }

    fn facts_table(&self) -> Table {
        let mut table = self.table(&["system", "persists", "a slow subscriber", "wakes by"]);
        for system in self.args.systems() {
            let facts = crate::peers::facts(system);
            table.add_row([facts.name, facts.persists, facts.slow, facts.wakes]);
        }
        table
    }
}

/// Waldo's cell with the same number of subscribers.
fn waldo<'a>(cells: &'a [Cell], like: &Cell) -> Option<&'a Cell> {
    cells.iter().find(|cell| cell.system == System::Waldo && cell.subscribers == like.subscribers)
}

fn with_ratio(value: f64, ours: Option<f64>, unit: fn(f64) -> String) -> String {
    match ours {
        Some(ours) if ours > 0.0 => format!("{} ({})", unit(value), units::ratio(value / ours)),
        _ => unit(value),
    }
}
