//! Short lives, crashed at every operation with every outcome.

use super::images::{Crash, Found, Moment, Recorded};
use super::random::line;
use super::tally::{Example, Tally};
use crate::disk::simulated::{Choices, Known, Odometer, Op, Rng, State, Styled};

/// Outcomes of one crash that are tried at most. If there are more, so many are taken by chance.
const OUTCOMES_MAX: usize = 4096;
/// The same for a crash in the recovery after a crash.
const OUTCOMES_AGAIN_MAX: usize = 64;

/// How far an exhaustive run went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    /// Crash points of which every outcome was tried.
    pub(super) complete: usize,
    /// Crash points with more outcomes than are tried.
    pub(super) sampled: usize,
}

/// Every outcome of a power cut in `state`, or so many of them by chance.
fn outcomes(state: &State, max: usize, rng: &mut Rng, mut each: impl FnMut(&mut dyn Choices)) -> bool {
    let mut ways = Odometer::default();
    let mut tried = 0;
    loop {
        if tried == max {
            for n in 0..max as u64 {
                each(&mut Styled::new(rng.fork(n)));
            }
            return false;
        }
        if ways.is_large(state, max) {
            tried = max;
            continue;
        }
        each(&mut ways);
        tried += 1;
        if !ways.advance() {
            return true;
        }
    }
}

impl Odometer {
    /// Whether there are more than `max` ways.
    fn is_large(&self, state: &State, max: usize) -> bool {
        let (names, sectors) = state.at_stake();
        sectors >= usize::BITS as usize - 1
            || (names + 1).saturating_mul(1 << sectors) > max.saturating_mul(4)
    }
}

/// Crashes `recorded` before, after and between all of its operations; and each recovery too, if `again`.
pub(super) fn every_crash(recorded: &Recorded<'_>, seed: u64, again: bool, tally: &mut Tally) -> Extent {
    let mut extent = Extent::default();
    let mut rng = Rng::new(seed);
    let mut moment = recorded.begin();
    for at in 0..=recorded.journal.len() {
        let kill =
            recorded.crash(&moment, at, Crash::Kill, &mut Odometer::default(), &mut rng.fork(0), false);
        tally.count("kills");
        match kill {
            Ok((image, _, journal)) if again => {
                crash_again(recorded, &image, moment.known, &journal, at, seed, tally);
            }
            Ok(_) => {}
            Err(found) => tally.add(example(recorded, seed, found)),
        }
        let mut seen = Vec::new();
        let complete = outcomes(&moment.state, OUTCOMES_MAX, &mut rng, |choices| {
            tally.count("power cuts");
            match recorded.crash(&moment, at, Crash::Cut, choices, &mut Rng::new(0), false) {
                Ok((image, _, journal)) => {
                    // A crash in the recovery is tried once for every kind of recovery, not for every image.
                    let kind: Vec<String> = journal.iter().map(line).collect();
                    if again && !seen.contains(&kind) {
                        seen.push(kind);
                        crash_again(recorded, &image, moment.known, &journal, at, seed, tally);
                    }
                }
                Err(found) => tally.add(example(recorded, seed, found)),
            }
        });
        extent.complete += usize::from(complete);
        extent.sampled += usize::from(!complete);
        match recorded.journal.get(at) {
            Some(op) => moment.step(op),
            None => break,
        }
    }
    extent
}

/// Crashes a recovery at each of its operations.
fn crash_again(
    recorded: &Recorded<'_>,
    image: &State,
    known: Known,
    journal: &[Op],
    at: usize,
    seed: u64,
    tally: &mut Tally,
) {
    let mut moment = Moment { state: image.clone(), known };
    let mut rng = Rng::new(seed);
    for (done, op) in journal.iter().enumerate() {
        moment.step(op);
        if !matches!(op, Op::Note(_)) {
            outcomes(&moment.state, OUTCOMES_AGAIN_MAX, &mut rng, |choices| {
                tally.count("crashes in recovery");
                let outcome = recorded.crash(&moment, at, Crash::Cut, choices, &mut Rng::new(0), true);
                if let Err(mut found) = outcome {
                    let done: Vec<String> = journal[..=done].iter().map(line).collect();
                    found.crash += &format!(" again after {}", done.join("; "));
                    tally.add(example(recorded, seed, found));
                }
            });
        }
    }
}

fn example(recorded: &Recorded<'_>, seed: u64, found: Found) -> Example {
    let trace = recorded.journal[..found.at].iter().map(|op| format!("      {}\n", line(op))).collect();
    let size = found.at;
    Example {
        seed,
        regime: format!("exhaustive, ring_size {}", recorded.known.ring_size),
        found,
        trace,
        size,
    }
}
