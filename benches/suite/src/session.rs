//! One run of a measurement: its place, its rows and plots, and how they are shown.

use super::comparison::{self, PairedComparison};
use super::folios;
use super::result_table::ResultTable;
use super::ring;
use super::scratch::Scratch;
use super::setting::{Plan, Setting};
use super::watch::{Stopped, Watch};
use serde_json::json;
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use waldo_harness::results::machine::Machine;
use waldo_harness::results::report::{Plot, Report, Table};
use waldo_terminal::failure::Outcome;
use waldo_terminal::notice;
use waldo_terminal::units;

/// What every measurement is given.
pub struct Session {
    pub plan: Plan,
    pub scratch: Scratch,
    pub watch: Watch,
    pub sheet: ResultTable,
    /// Behind the rows.
    pub tables: Vec<Table>,
    pub plots: Vec<Plot>,
    pub notes: Vec<String>,
    folios: OnceCell<String>,
    title: &'static str,
    machine: Machine,
    json: bool,
    report: Option<PathBuf>,
}

impl Session {
    /// Makes room for `bytes` on disk. `steps` is for the progress: how often [`Watch::step`] will be called.
    pub fn start(
        title: &'static str,
        setting: &Setting,
        plan: Plan,
        bytes: u64,
        steps: usize,
    ) -> anyhow::Result<Session> {
        let watch = Watch::install(steps)?;
        let dir = setting.dir();
        let scratch = Scratch::make(&dir, bytes)?;
        let machine = Machine::here(&dir);
        let mut notes = vec![format!("Ring: {} pages of {}.", plan.ring_size, units::bytes(plan.page_len))];
        notes.extend(load(machine.cores));
        Ok(Session {
            plan,
            scratch,
            watch,
            sheet: ResultTable::default(),
            tables: Vec::new(),
            plots: Vec::new(),
            notes,
            folios: OnceCell::new(),
            title,
            machine,
            json: setting.json,
            report: setting.report.clone(),
        })
    }

    /// Measures one row, called `name` in the progress; see [`comparison::compare`].
    pub fn compare(
        &self,
        name: &str,
        ours: &mut dyn FnMut() -> anyhow::Result<f64>,
        floor: &mut dyn FnMut() -> anyhow::Result<f64>,
    ) -> anyhow::Result<PairedComparison> {
        self.watch.show(name);
        comparison::compare(&self.plan, &self.watch, ours, floor)
    }

    /// Looks, once, how the page cache holds the pages of the ring at `home`. What cannot be known is left
    /// out.
    pub fn look_at_folios(&self, home: &Path) {
        let pages = ring::page_paths(home).unwrap_or_default();
        // Neither the one being written nor the one that is ready.
        if let Some(page) = pages.get(pages.len() / 2) {
            self.folios.get_or_init(|| folios::describe(page));
        }
    }

    fn finish(mut self) -> anyhow::Result<Outcome> {
        self.watch.clear();
        self.notes.extend(self.folios.take());
        let (met, missed) = self.sheet.verdicts();
        self.notes.push(format!("Goals met: {met}, missed: {missed}."));
        let (mut tables, rows) = self.sheet.finish();
        tables.append(&mut self.tables);
        let report = Report {
            title: self.title.to_owned(),
            command: command(),
            machine: self.machine,
            notes: self.notes,
            tables,
            plots: self.plots,
            data: json!({ "rows": rows }),
        };
        // Before anything is printed: nothing is to be left if printing is the end.
        drop(self.scratch);
        if self.json {
            report.print_json()?
        } else {
            report.print()?
        }
        if let Some(stem) = &self.report {
            for path in report.write(stem)? {
                notice!("wrote {}", path.display());
            }
        }
        Ok(Outcome::Done)
    }
}

/// Measures, and shows what came of it. Missed goals are reported and are no failure.
pub fn run(
    session: anyhow::Result<Session>,
    measure: impl FnOnce(&mut Session) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    let mut session = session?;
    match measure(&mut session) {
        Ok(()) => session.finish(),
        Err(error) => {
            session.watch.clear();
            match error.downcast_ref() {
                Some(Stopped(signal)) => Ok(Outcome::Interrupted(*signal)),
                None => Err(error),
            }
        }
    }
}

/// What else ran on the machine in the minute before.
fn load(cores: usize) -> Option<String> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = text.split(' ').next()?.parse().ok()?;
    let warning = if load > cores as f64 / 2.0 {
        ": the machine was busy with other things, trust ratios rather than times, and neither where the quarters lie \
         far apart"
    } else {
        ""
    };
    Some(format!("Load of the machine before: {load} on {cores} cores{warning}."))
}

/// The command line, to be typed again.
pub fn command() -> String {
    let quoted = |word: std::ffi::OsString| {
        let word = word.to_string_lossy().into_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:+@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    let words = std::env::args_os().skip(1).map(quoted);
    std::iter::once("waldo-suite".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
