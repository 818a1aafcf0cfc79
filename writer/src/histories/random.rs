//! Histories by chance: lives one after the other, each ended anywhere, many times.

use super::images::{Crash, Found, Moment, Recorded, part_of};
use super::life::{Life, Lived, Regime};
use super::tally::{Example, Tally};
use super::truth::Truth;
use crate::disk::simulated::{Faults, Known, Lie, Op, Rng, State, Styled};
use crate::testing::LAZY;
use crate::{ControlPlace, Durability, GeometryChange, Io, OnFull, WriterOptions};
use std::path::Path;
use std::time::Duration;
use waldo_shm_protocol::names;

/// The control segment, a file beside the lock.
pub(super) const CONTROL: &str = "control";

/// One seed of so many is for a history with threads.
const THREADED: u64 = 4;

/// What is tried in a history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// Crashes of each life.
    pub(super) images: u64,
    /// In one history of four the writer has threads that make pages ahead, flush, or take appends of others:
    /// then a seed does not lead to the same history each time. All others are the same each time.
    pub(super) threads: bool,
    /// Rings that promise to survive SIGKILL only are among them.
    pub(super) page_cache: bool,
    /// An old `ring.meta` is put back in some images.
    pub(super) old_meta: bool,
    /// Calls fail in one life of so many; in none at 0.
    pub(super) faults: u64,
    /// In these, a flush of so many fails; any number of them at 0.
    pub(super) flush: u64,
    /// What the disk does not do once a ring is open, and while it is opened.
    pub(super) lie: Lie,
    pub(super) lie_opening: Lie,
}

/// The options of a ring.
fn options(rng: &mut Rng, home: &Path, scope: &Scope) -> WriterOptions {
    let durability = match rng.below(10) {
        0..=3 => Durability::Sync,
        4..=6 if scope.threads && rng.one_in(3) => Durability::Interval(Duration::from_millis(1)),
        7..=9 if scope.page_cache => Durability::PageCache,
        _ => LAZY,
    };
    WriterOptions {
        ring_size: rng.of(&[1, 2, 2, 3, 4, 7]),
        page_len: rng.of(&[16 << 10, 16 << 10, 16 << 10, 20 << 10, 32 << 10]),
        page_records_max: rng.of(&[u64::MAX, u64::MAX, u64::MAX, 4]),
        index_capacity: rng.of(&[1, 4, 16]),
        index_sparse_bytes: 1024,
        index_sparse_count: 8,
        geometry_change: rng.of(&[GeometryChange::Keep, GeometryChange::Grow, GeometryChange::Apply]),
        durability,
        io: Io::Pwrite,
        buffers: 4,
        buffer_len: rng.of(&[4096, 16 << 10]),
        control: ControlPlace::Path(home.join(CONTROL)),
        prepare_ahead: scope.threads && rng.one_in(2),
        on_full: rng.fork(3).of(&[OnFull::Stop, OnFull::Stop, OnFull::DropOldest]),
        // All that is complete is too old at the next look at the clock.
        keep_for: rng.fork(4).of(&[None, None, None, None, Some(Duration::from_nanos(1))]),
        ..WriterOptions::default()
    }
}

fn regime(rng: &mut Rng, options: WriterOptions, scope: &Scope) -> Regime {
    let mut faults = Faults { rng: rng.fork(1), lie: scope.lie_opening, ..Faults::none() };
    faults.mapped = rng.of(&[0, 0, 0, 1, 3]);
    faults.short = rng.of(&[0, 0, 0, 4]);
    faults.interrupt = rng.of(&[0, 0, 0, 5]);
    let faulty = rng.one_in(scope.faults);
    if faulty {
        faults.io = rng.of(&[0, 0, 100, 400]);
        faults.space = rng.of(&[0, 0, 20, 100]);
        faults.flush = if scope.flush > 0 { scope.flush } else { rng.of(&[0, 10, 40, 200]) };
    }
    Regime {
        options,
        shared: rng.one_in(6),
        several: scope.threads,
        steps: 2 + rng.below(20),
        payload_max: rng.of(&[100, 1500, 4000, 9000]),
        faults,
        lie: scope.lie,
        faulty,
    }
}

/// A disk on which a recovery probably fails.
fn failing(rng: &mut Rng) -> Faults {
    let mut faults = Faults { rng: rng.fork(2), ..Faults::none() };
    faults.io = rng.of(&[0, 0, 10, 40]);
    faults.space = rng.of(&[0, 0, 5, 20]);
    faults.flush = rng.of(&[0, 2, 5, 20]);
    faults.short = rng.of(&[0, 0, 3]);
    faults.interrupt = rng.of(&[0, 0, 3]);
    faults
}

/// One history and its variations.
pub(super) fn history(seed: u64, home: &Path, scope: &Scope, tally: &mut Tally) {
    let scope = &Scope { threads: scope.threads && seed.is_multiple_of(THREADED), ..*scope };
    let mut rng = Rng::new(seed);
    let mut base = options(&mut rng, home, scope);
    let (mut truth, mut state, mut power) = (Truth::default(), State::default(), false);
    let mut known = Known { floor: 1, ring_size: base.ring_size, ..Known::default() };
    for number in 1..=1 + rng.of(&[0, 1, 2, 3, 3, 7]) {
        if number > 1 && rng.one_in(3) {
            base = options(&mut rng, home, scope);
        }
        if power || state.find(names::META).is_none() {
            // It lives in memory, and comes after the metadata.
            let _ = std::fs::remove_file(home.join(CONTROL));
        }
        let regime = regime(&mut rng, base.clone(), scope);
        let life = Life::new(home, &mut truth, number, known, rng.fork(u64::from(number)));
        let lived = life.live(state.clone(), power, &regime);
        tally.count("lives");
        let recorded = Recorded {
            truth: &truth,
            start: &state,
            journal: &lived.journal,
            known,
            lie: scope.lie_opening,
            durability: regime.options.durability,
        };
        let run = Run { seed, recorded: &recorded, regime: &regime, number, old_meta: scope.old_meta };
        if let Err(broken) = &lived.outcome {
            let files = super::oracle::describe(&state);
            tally.count("reopened");
            tally.add(run.example(Found { broken: broken.clone(), at: 0, crash: "open".into(), files }));
            return;
        }
        tally.count("reopened");
        let next = run.crashes(&lived, scope.images, rng.fork(1 << 32 | u64::from(number)), power, tally);
        let Some((image, known_then, power_then)) = next else { return };
        (state, known, power) = (image, known_then, power_then);
    }
}

struct Run<'a> {
    seed: u64,
    recorded: &'a Recorded<'a>,
    regime: &'a Regime,
    number: u32,
    old_meta: bool,
}

impl Run<'_> {
    /// Crashes the life in many places. Returns one image to go on with.
    fn crashes(
        &self,
        lived: &Lived,
        images: u64,
        mut rng: Rng,
        power_before: bool,
        tally: &mut Tally,
    ) -> Option<(State, Known, bool)> {
        let journal = &lived.journal;
        let names: Vec<usize> = (0..journal.len())
            .filter(|n| matches!(journal[*n], Op::Rename(..) | Op::Remove(_) | Op::SyncDir))
            .collect();
        let mut places: Vec<usize> = (0..images)
            .map(|_| match rng.one_in(3) && !names.is_empty() {
                true => (rng.of(&names) + rng.below(3) as usize).min(journal.len()),
                false => rng.below(journal.len() as u64 + 1) as usize,
            })
            .collect();
        places.sort_unstable();
        // Where the next life begins: one time in five where this one has ended.
        let chosen = if rng.one_in(5) { images as usize } else { rng.below(images) as usize };
        places.push(journal.len());
        let mut next = None;
        let mut moment = self.recorded.begin();
        let mut at = 0;
        // Until the ring is open, what was lost before it may still be lost.
        let mut opened = false;
        for (n, place) in places.into_iter().enumerate() {
            while at < place {
                opened |= matches!(&journal[at], Op::Note(known) if known.epoch > self.recorded.known.epoch);
                moment.step(&journal[at]);
                at += 1;
            }
            let outcome = self.crash(&moment, at, &mut rng, power_before && !opened, tally);
            if n == chosen {
                next = outcome;
            }
        }
        next
    }

    /// One crash, and perhaps another one in the recovery after it.
    fn crash(
        &self,
        moment: &Moment,
        at: usize,
        rng: &mut Rng,
        power_before: bool,
        tally: &mut Tally,
    ) -> Option<(State, Known, bool)> {
        let kills = if moment.state.flush_failed() { 2 } else { 4 };
        let crash = if rng.one_in(kills) { Crash::Kill } else { Crash::Cut };
        let part = self.recorded.journal.get(at).filter(|_| rng.one_in(3)).and_then(|op| part_of(op, rng));
        let stopped = part.map(|op| {
            let mut moment = Moment { state: moment.state.clone(), known: moment.known };
            moment.step(&op);
            moment
        });
        let moment = stopped.as_ref().unwrap_or(moment);
        tally.count(match crash {
            Crash::Cut => "power cuts",
            Crash::Kill => "kills",
        });
        let style = rng.fork(at as u64);
        let outcome = self.recorded.crash(moment, at, crash, &mut Styled::new(style), rng, power_before);
        let (image, power, journal) = match outcome {
            Ok(recovered) => recovered,
            Err(found) => {
                tally.add(self.example(found));
                return None;
            }
        };
        if self.old_meta && rng.one_in(20) {
            tally.count("old ring.meta");
            if let Err((broken, files)) = self.recorded.try_restored(&image, moment.known, power) {
                tally.add(self.example(Found { broken, at, crash: format!("{crash:?}"), files }));
            }
        }
        if rng.one_in(8) {
            tally.count("failures of recovery");
            let faults = failing(rng);
            if let Err((broken, files)) = self.recorded.try_failing(&image, moment.known, power, faults, rng)
            {
                let crash = format!("{crash:?}, and then a recovery that fails,");
                tally.add(self.example(Found { broken, at, crash, files }));
                return None;
            }
        }
        if rng.one_in(4) && !journal.is_empty() {
            tally.count("crashes in recovery");
            self.crash_again(&image, moment.known, &journal, at, power, rng, tally)?;
        }
        Some((image, moment.known, power))
    }

    #[allow(clippy::too_many_arguments, reason = "a crash within a crash has that many circumstances")]
    fn crash_again(
        &self,
        image: &State,
        known: Known,
        journal: &[Op],
        at: usize,
        power: bool,
        rng: &mut Rng,
        tally: &mut Tally,
    ) -> Option<()> {
        let mut moment = Moment { state: image.clone(), known };
        let steps = rng.below(journal.len() as u64 + 1) as usize;
        journal[..steps].iter().for_each(|op| moment.step(op));
        let crash = if rng.one_in(4) { Crash::Kill } else { Crash::Cut };
        let style = rng.fork(steps as u64);
        match self.recorded.crash(&moment, at, crash, &mut Styled::new(style), rng, power) {
            Ok(_) => Some(()),
            Err(mut found) => {
                let done: Vec<String> = journal[..steps].iter().map(line).collect();
                found.crash +=
                    &format!(" again after these of the recovery's operations: {}", done.join("; "));
                tally.add(self.example(found));
                None
            }
        }
    }

    fn example(&self, found: Found) -> Example {
        let journal = &self.recorded.journal[..found.at];
        let shown = if std::env::var_os(super::SEED).is_some() { usize::MAX } else { 25 };
        let trace = journal[journal.len().saturating_sub(shown)..]
            .iter()
            .map(|op| format!("      {}\n", line(op)))
            .collect();
        let Regime { options, shared, faulty, faults, .. } = self.regime;
        let regime = format!(
            "life {}, ring_size {}, page_len {}, {:?}, ahead {}, on full {}, keep for {:?}, shared {shared}, faults {faulty}, \
             mapped {}",
            self.number,
            options.ring_size,
            options.page_len,
            options.durability,
            options.prepare_ahead,
            options.on_full,
            options.keep_for,
            faults.mapped,
        );
        let size = found.at + 1000 * self.number as usize;
        Example { seed: self.seed, regime, found, trace, size }
    }
}

/// An operation in a line.
pub(super) fn line(op: &Op) -> String {
    match op {
        Op::Write { inode, offset, bytes, durable } => {
            format!(
                "write file {inode}, {offset} + {}{}",
                bytes.len(),
                if *durable { ", durable" } else { "" }
            )
        }
        other => format!("{other:?}"),
    }
}
