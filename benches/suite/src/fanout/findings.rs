//! The results of the measurement, as they come in, and the final report.

mod account;

use super::note::Note;
use super::sum::{Load, Sum};
use super::{Args, Mode};
use std::path::Path;
use std::time::Duration;
use waldo_harness::results::histogram::Latency;
use waldo_harness::results::machine::Machine;
use waldo_harness::results::report::Report;
use waldo_terminal::failure::Outcome;
use waldo_terminal::notice;

/// Failures that are told one by one.
const FAILURES_SHOWN: usize = 10;

/// Memory of one process in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Its own pages.
    pub private: u64,
    /// Page tables.
    pub tables: u64,
    /// What the kernel has taken more than before (page tables included), for each process.
    pub kernel: u64,
    /// What the machine has less, for each process.
    pub available: u64,
}

/// What is known of one reader.
#[derive(Clone, Debug, Default)]
enum Fate {
    #[default]
    Started,
    Attached,
    Done(Box<Sum>),
    Failed(String),
}

/// All results.
pub struct Findings {
    /// Readers that take part.
    pub readers: usize,
    /// Records the writer has said it has appended.
    pub written: u64,
    /// Time until all readers were attached.
    pub start_time: Duration,
    /// Time from the load's first record until every reader had its last one.
    pub follow_time: Duration,
    /// What a process costs that does nothing.
    pub idle_process: Cost,
    /// What a reader process costs.
    pub reader_process: Cost,
    mode: Mode,
    size: u64,
    machine: Machine,
    fates: Vec<Fate>,
    attach: Latency,
    loads: Vec<Load>,
    flushes: Vec<(String, Latency)>,
}

impl Findings {
    /// Nothing yet.
    pub fn new(args: &Args, readers: usize, place: &Path) -> Findings {
        Findings {
            readers,
            written: 0,
            start_time: Duration::ZERO,
            follow_time: Duration::ZERO,
            idle_process: Cost::default(),
            reader_process: Cost::default(),
            mode: args.mode,
            size: args.size,
            machine: Machine::here(place),
            fates: vec![Fate::Started; readers],
            attach: Latency::new(),
            loads: Vec::new(),
            flushes: Vec::new(),
        }
    }

    /// Goes on with this many readers.
    pub fn cut(&mut self, readers: usize) {
        self.readers = readers;
        self.fates.truncate(readers);
    }

    /// Takes in a note that is about figures.
    pub fn take(&mut self, note: Note) -> anyhow::Result<()> {
        match note {
            Note::Written { records } => self.written = records,
            Note::Load(load) => self.loads.push(load),
            Note::Flushes { name, latency } => self.flushes.push((name, Latency::parse(&latency)?)),
            Note::Attached { reader, took_ns } => {
                self.attach.record_ns(took_ns);
                self.settle(reader, Fate::Attached);
            }
            Note::Done { reader, sum } => self.settle(reader, Fate::Done(Box::new(sum))),
            Note::Failed { reader: Some(reader), error } => self.settle(reader, Fate::Failed(error)),
            _ => {}
        }
        Ok(())
    }

    fn settle(&mut self, reader: usize, fate: Fate) {
        if let Some(slot) = self.fates.get_mut(reader) {
            *slot = fate;
        }
    }

    /// A process has ended.
    pub fn ended(&mut self, reader: usize, how: &str) {
        let theirs = match self.mode {
            Mode::Processes => reader..reader + 1,
            Mode::Streams => 0..self.fates.len(),
        };
        for fate in self.fates.get_mut(theirs).unwrap_or_default() {
            if matches!(fate, Fate::Started | Fate::Attached) {
                *fate = Fate::Failed(format!("the process {how}"));
            }
        }
    }

    /// Readers that are attached.
    pub fn attached(&self) -> usize {
        self.fates.iter().filter(|fate| matches!(fate, Fate::Attached)).count()
    }

    /// Readers that have seen the end.
    pub fn done(&self) -> usize {
        self.fates.iter().filter(|fate| matches!(fate, Fate::Done(_))).count()
    }

    /// Readers that have given up.
    pub fn failed(&self) -> usize {
        self.fates.iter().filter(|fate| matches!(fate, Fate::Failed(_))).count()
    }

    /// What came of that part.
    pub fn load(&self, name: &str) -> Option<&Load> {
        self.loads.iter().find(|load| load.name == name)
    }

    /// Whether that part's flushes have been timed.
    pub fn has_flushes(&self, name: &str) -> bool {
        self.flushes(name).is_some()
    }

    fn flushes(&self, name: &str) -> Option<&Latency> {
        self.flushes.iter().find(|(of, _)| of == name).map(|(_, latency)| latency)
    }

    /// Says it all.
    pub fn tell(&self, args: &Args) -> anyhow::Result<Outcome> {
        let account = account::Account::of(self)?;
        let report = account.report(self, args)?;
        if args.json {
            report.print_json()?
        } else {
            report.print()?
        };
        if let Some(stem) = &args.report {
            for path in Report::write(&report, stem)? {
                notice!("waldo: written {}", path.display());
            }
        }
        for failure in account.failures.iter().take(FAILURES_SHOWN) {
            notice!("waldo: {failure}");
        }
        if let Some(more) = account.failures.len().checked_sub(FAILURES_SHOWN + 1) {
            notice!("waldo: and {} more", more + 1);
        }
        Ok(if account.failures.is_empty() { Outcome::Done } else { Outcome::Bad })
    }
}
