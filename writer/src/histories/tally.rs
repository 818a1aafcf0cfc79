//! What a run came to: how many histories of which kind, and which rules were broken, with the shortest
//! example.

use super::images::Found;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// An example of a broken rule.
#[derive(Clone, Debug)]
pub(super) struct Example {
    pub(super) seed: u64,
    pub(super) regime: String,
    pub(super) found: Found,
    /// The last operations before the crash.
    pub(super) trace: String,
    /// Rules the examples are compared by: shorter is better.
    pub(super) size: usize,
}

pub(super) struct Tally {
    begun: Instant,
    told: Instant,
    kinds: BTreeMap<&'static str, u64>,
    broken: BTreeMap<String, (u64, Example)>,
    loud: bool,
}

impl Tally {
    pub(super) fn new(loud: bool) -> Tally {
        let now = Instant::now();
        Tally { begun: now, told: now, kinds: BTreeMap::new(), broken: BTreeMap::new(), loud }
    }

    pub(super) fn count(&mut self, kind: &'static str) {
        *self.kinds.entry(kind).or_default() += 1;
        if self.loud && self.told.elapsed() > Duration::from_secs(5) {
            self.told = Instant::now();
            eprintln!("{self}");
        }
    }

    /// Histories: openings after a crash that were checked.
    pub(super) fn histories(&self) -> u64 {
        self.kinds.iter().filter(|(kind, _)| **kind != "lives").map(|(_, count)| count).sum()
    }

    pub(super) fn bad(&self) -> u64 {
        self.broken.values().map(|(count, _)| count).sum()
    }

    pub(super) fn add(&mut self, example: Example) {
        let key = example.found.broken.rule.to_owned();
        if self.loud && !self.broken.contains_key(&key) {
            eprintln!("new after {:.1?}: {example}", self.begun.elapsed());
        }
        let entry = self.broken.entry(key).or_insert_with(|| (0, example.clone()));
        entry.0 += 1;
        if example.size < entry.1.size {
            entry.1 = example;
        }
    }

    /// Rules that were broken.
    pub(super) fn rules(&self) -> Vec<&str> {
        self.broken.keys().map(String::as_str).collect()
    }

    pub(super) fn assert_none(&self) {
        assert!(self.broken.is_empty(), "{self}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = self.histories() as f64 / seconds;
        write!(
            f,
            "{} histories in {seconds:.1} s ({rate:.0} a second), {} bad;",
            self.histories(),
            self.bad()
        )?;
        for (kind, count) in &self.kinds {
            write!(f, " {kind} {count}")?;
        }
        for (rule, (count, example)) in &self.broken {
            write!(f, "\n--- {rule}: {count} times, for example {example}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { broken, at, crash, files } = &self.found;
        writeln!(f, "WALDO_HISTORIES_SEED={:#x}: {crash} after operation {at}: {}", self.seed, broken.rule)?;
        writeln!(f, "    {}", broken.how)?;
        writeln!(f, "    {}", self.regime)?;
        write!(f, "{files}    last operations:\n{}", self.trace)
    }
}
