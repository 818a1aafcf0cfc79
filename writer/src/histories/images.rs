//! Crash images: what a crash before, in or after each operation of a life leaves, and what recovery makes of
//! it.

use super::oracle::{Broken, Held, Owed, describe, does_not_open};
use super::recovery::recover;
use super::truth::Truth;
use crate::Durability;
use crate::disk::simulated::{Choices, Faults, Known, Lie, Op, Rng, SimDisk, State, Styled};
use waldo_shm_protocol::names;

/// A life that was recorded, to be ended anywhere.
pub(super) struct Recorded<'a> {
    pub(super) truth: &'a Truth,
    pub(super) start: &'a State,
    pub(super) journal: &'a [Op],
    /// What was known before it.
    pub(super) known: Known,
    /// What its writer promises, and the next one's.
    pub(super) durability: Durability,
    /// What the disk does not do in a recovery.
    pub(super) lie: Lie,
}

/// A broken rule, and how the ring came there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) broken: Broken,
    /// Operations of the journal that were carried out.
    pub(super) at: usize,
    /// "cut", "kill", or one of them and "again" after so many operations of the recovery.
    pub(super) crash: String,
    pub(super) files: String,
}

/// One way to crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    /// The machine loses power.
    Cut,
    /// The process is killed.
    Kill,
}

/// A place in a recorded life.
pub(super) struct Moment {
    pub(super) state: State,
    pub(super) known: Known,
}

impl Recorded<'_> {
    /// Where it begins.
    pub(super) fn begin(&self) -> Moment {
        Moment { state: self.start.clone(), known: self.known }
    }

    pub(super) fn owed(&self, known: Known, power: bool) -> Owed<'_> {
        Owed { truth: self.truth, known, power }
    }

    /// Recovers `image`, checks what comes out, and that doing it again changes nothing. Returns the
    /// recovery's own journal.
    pub(super) fn try_image(
        &self,
        image: State,
        known: Known,
        power: bool,
    ) -> Result<Vec<Op>, (Broken, String)> {
        let owed = self.owed(known, power);
        let disk = SimDisk::new(image.clone(), Faults { lie: self.lie, ..Faults::none() });
        let wrong = |broken| (broken, describe(&image));
        let Some(found) = recover(&disk, self.durability).map_err(|error| wrong(does_not_open(&error)))?
        else {
            let nothing = owed.check_log(&image, &[]).map_err(wrong)?;
            debug_assert_eq!(nothing, Held::default());
            return Ok(Vec::new());
        };
        let (after, journal) = (disk.state(), disk.take_journal());
        let held = owed.check(&image, &after, &found).map_err(wrong)?;
        // Recovery is done, so everything is durable, and there is nothing more to do.
        let cut = after.cut(&mut Styled::of_style(Rng::new(0), crate::disk::simulated::Style::Oldest));
        let again = SimDisk::new(cut, Faults { lie: self.lie, ..Faults::none() });
        let second = recover(&again, self.durability)
            .map_err(|error| wrong(Broken { rule: "does not open again", how: error.to_string() }))?;
        let Some(second) = second else {
            return Err(wrong(Broken { rule: "does not open again", how: "no ring".into() }));
        };
        let floor = if held.first == 0 { held.tip + 1 } else { held.first };
        let known = Known {
            committed: held.tip,
            durable: held.tip,
            epoch: found.epoch,
            floor,
            order_only: false,
            closed: false,
            ..known
        };
        let second_held = self.owed(known, true).check(&after, &again.state(), &second).map_err(wrong)?;
        // After a flush that failed, the page cache hides from recovery what the disk still has behind the
        // end of the log.
        let hidden = image.flush_failed();
        if (second.cut.is_some() && !hidden) || second_held != held || !same_pages(&found, &second) {
            let how = format!("{held:?}, then {second_held:?}, cut {:?}", second.cut);
            return Err(wrong(Broken { rule: "second opening changes something", how }));
        }
        Ok(journal)
    }

    /// Recovers `image` on a disk with `faults`. Whatever comes of it, another recovery afterwards finds all
    /// that is owed.
    pub(super) fn try_failing(
        &self,
        image: &State,
        known: Known,
        power: bool,
        faults: Faults,
        rng: &mut Rng,
    ) -> Result<(), (Broken, String)> {
        let disk = SimDisk::new(image.clone(), faults);
        let outcome = recover(&disk, self.durability);
        let state = disk.state();
        let known = match outcome {
            // It was seen, and from now on it owes what it found.
            Ok(Some(found)) => Known { epoch: found.epoch, ..known },
            _ => known,
        };
        let closed = known.closed && !state.flush_failed();
        let (after, cut) = match rng.one_in(2) {
            true => (state.kill(rng), state.flush_failed()),
            false => (state.cut(&mut Styled::new(rng.fork(3))), true),
        };
        self.try_image(after, Known { closed, ..known }, power || cut).map(drop)
    }

    /// Recovers `image` with the `ring.meta` that there was when this life began, as if it came from a
    /// backup. The writer may refuse that. If it does not, nothing may be lost.
    pub(super) fn try_restored(
        &self,
        image: &State,
        known: Known,
        power: bool,
    ) -> Result<bool, (Broken, String)> {
        let (Some(old), Some(_)) = (self.start.content(names::META), image.content(names::META)) else {
            return Ok(false);
        };
        let mut restored = image.clone();
        restored.restore(names::META, old);
        let disk = SimDisk::new(restored.clone(), Faults::none());
        let Ok(Some(found)) = recover(&disk, self.durability) else { return Ok(false) };
        // The epochs of lives that have left no record are not known any more.
        let known = Known { epoch: 0, closed: false, ..known };
        match self.owed(known, power).check(&restored, &disk.state(), &found) {
            Ok(_) => Ok(true),
            Err(broken) => Err((Broken { rule: restored_rule(broken.rule), ..broken }, describe(&restored))),
        }
    }

    /// Crashes at `moment`, with the choices made by `choices`, and recovers. `power_before` says that what
    /// was only committed may have been lost before. Returns the image, whether that may be lost in it, and
    /// what recovery did.
    pub(super) fn crash(
        &self,
        moment: &Moment,
        at: usize,
        crash: Crash,
        choices: &mut dyn Choices,
        rng: &mut Rng,
        power_before: bool,
    ) -> Result<(State, bool, Vec<Op>), Found> {
        let strayed = moment.state.flush_failed() || power_before;
        let (image, power) = match crash {
            Crash::Cut => (moment.state.cut(choices), true),
            Crash::Kill => (moment.state.kill(rng), strayed),
        };
        match self.try_image(image.clone(), moment.known, power) {
            Ok(journal) => Ok((image, power, journal)),
            Err((broken, files)) => Err(Found { broken, at, crash: format!("{crash:?}"), files }),
        }
    }
}

/// Names what is broken with an old `ring.meta` apart from what is broken without.
fn restored_rule(rule: &'static str) -> &'static str {
    match rule {
        "durable lost" => "durable lost with an old ring.meta",
        "committed lost" => "committed lost with an old ring.meta",
        "removed in silence" => "removed in silence with an old ring.meta",
        "epoch repeated" => "epoch repeated with an old ring.meta",
        "trimmed too early" => "trimmed too early with an old ring.meta",
        _ => "broken with an old ring.meta",
    }
}

fn same_pages(a: &super::recovery::Recovered, b: &super::recovery::Recovered) -> bool {
    let full = |pages: &[super::recovery::Kept]| -> Vec<super::recovery::Kept> {
        pages.iter().filter(|page| page.records > 0).copied().collect()
    };
    full(&a.pages) == full(&b.pages)
}

impl Moment {
    /// Goes on by one operation.
    pub(super) fn step(&mut self, op: &Op) {
        if let Op::Note(known) = op {
            self.known = *known;
        }
        self.state.apply(op);
    }
}

/// `op` as far as it got when the process was killed in it; `None` if that is all or nothing.
pub(super) fn part_of(op: &Op, rng: &mut Rng) -> Option<Op> {
    match op {
        Op::Write { inode, offset, bytes, .. } if bytes.len() > 1 => {
            let len = 1 + rng.below(bytes.len() as u64 - 1) as usize;
            Some(Op::Write { inode: *inode, offset: *offset, bytes: bytes[..len].into(), durable: false })
        }
        _ => None,
    }
}
