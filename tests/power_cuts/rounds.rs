//! Life after life of one ring, each ended by a power cut, or a kill.

use crate::args::Args;
use crate::child::{Child, Said};
use crate::counts::Table;
use crate::dice::Dice;
use crate::machine::{FileSystem, Machine};
use crate::oracle::{self, Found, Oracle};
use crate::plan::Plan;
use crate::points::Point;
use crate::writeback::Writeback;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long an opening, with all that is read then, may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(120);
/// Lives of one ring, at most.
const LIVES: u64 = 12;
/// Events of a ring that are told when something is wrong with it.
const REMEMBERED: usize = 12;

/// Something that must not be.
#[derive(Debug)]
pub struct Finding(pub String);

/// What ended a life.
enum End {
    Cut,
    Killed,
}

/// A file system, and the ring that lives on it.
pub struct Rounds<'a> {
    file_system: FileSystem,
    machine: Machine,
    dice: Dice,
    seed: u64,
    table: &'a mut Table,
    oracle: Oracle,
    lives: u64,
    rings: u64,
    history: VecDeque<String>,
    /// The life that ended last.
    ended: Option<Plan>,
    /// When the last cut was done.
    cut_at_us: u64,
}

impl<'a> Rounds<'a> {
    pub fn new(file_system: FileSystem, machine: Machine, seed: u64, table: &'a mut Table) -> Rounds<'a> {
        let mut dice = Dice::new(seed ^ file_system as u64);
        dice.next();
        let (oracle, history) = Default::default();
        Rounds {
            file_system,
            machine,
            dice,
            seed,
            table,
            oracle,
            lives: 0,
            rings: 0,
            history,
            ended: None,
            cut_at_us: 0,
        }
    }

    /// Cuts the power `cuts` times; gives what was wrong. After something wrong a new ring is begun.
    pub fn run(&mut self, cuts: u64) -> Vec<Finding> {
        let mut findings = Vec::new();
        let before = self.table.cuts();
        self.mount();
        while self.table.cuts() - before < cuts {
            if self.lives == 0 {
                self.begin();
            }
            let outcome = self.life().and_then(|()| self.look());
            self.lives += 1;
            if let Err(what) = outcome {
                findings.push(self.finding(what));
                if let Some(plan) = &self.ended {
                    self.table.row(self.file_system, plan).findings += 1;
                }
                self.lives = 0;
            }
            if self.lives >= self.dice.within(1..=LIVES) {
                self.lives = 0;
            }
            let done = self.table.cuts() - before;
            if done > 0 && done.is_multiple_of(100) {
                eprintln!("{}: {done} of {cuts} cuts, {} findings", self.file_system.name(), findings.len());
            }
        }
        self.machine.unmount();
        findings
    }

    /// Names a life in its payloads, never the same twice.
    fn life_number(&self) -> u64 {
        self.rings * 1000 + self.lives + 1
    }

    fn home(&self) -> PathBuf {
        self.machine.top().join(format!("ring-{}", self.rings))
    }

    /// A new ring, now and then on a new file system.
    fn begin(&mut self) {
        if self.rings.is_multiple_of(10) {
            self.machine.unmount();
            self.machine.make_file_system().unwrap();
            self.mount();
        } else {
            // As much as a writer that has ended may leave behind.
            let _ = fs::remove_dir_all(self.home());
        }
        self.rings += 1;
        self.oracle = Oracle::default();
        self.history.clear();
    }

    fn mount(&mut self) {
        let options = self.dice.pick(self.file_system.mount_options());
        self.remember(format!("mounted with {options}"));
        self.machine.mount(options).unwrap();
    }

    fn cut(&mut self) {
        self.machine.cut();
        self.cut_at_us = oracle::now_us();
    }

    /// Cuts the power while `child` runs; what it had still said. What it says of durability after the cut
    /// has begun does not count: XFS takes back what waits for its journal when it is shut down, and a flush
    /// that looks for something that waits, at that very moment, finds nothing and returns as if all were
    /// done. A machine without power says nothing.
    fn cut_under(&mut self, child: Child) -> Vec<Said> {
        let mut heard: Vec<Said> = child.hear_now().collect();
        self.cut();
        let after = child.kill().into_iter().filter(|said| !matches!(&*said.word, "durable" | "seen"));
        heard.extend(after);
        heard
    }

    /// After a cut: the machine starts again.
    fn start_again(&mut self) {
        self.machine.unmount();
        // A segment that has stayed is what a file system that shuts down by itself leaves.
        if !self.dice.chance(25) {
            self.machine.empty_shared_memory();
        }
        self.mount();
    }

    /// Opens the ring, lets the writer write, and ends it.
    fn life(&mut self) -> Result<(), String> {
        let plan = Plan::throw(&mut self.dice);
        self.oracle.opens(plan.ring_size);
        let life = self.life_number();
        self.remember(format!("life {life}: {plan:?}"));
        self.ended = Some(plan.clone());
        let mut args = plan.args(&self.home(), life);
        if self.dice.chance(20) {
            let point = self.dice.pick(&Point::ALL);
            // In its opening, or while it runs.
            let longest = self.dice.pick(&[0, 3, 30]);
            let delay = self.dice.time(Duration::from_millis(longest));
            args = args.with("die_at", point.number()).with("die_after_us", delay.as_micros());
            self.remember(format!("  dies at {point:?}, from {delay:?} on"));
            return self.cut_at_point(Child::start("life", &args), &plan);
        }
        let child = Child::start("life", &args);
        if self.dice.chance(20) {
            return self.cut_in_opening(child, &plan);
        }
        self.judge_opening(&child, &plan)?;
        self.oracle.begins(life, plan.cache());
        let writeback = self.dice.chance(50).then(|| Writeback::start(&self.home(), self.dice.next()));
        let longest = self.dice.pick(&[5, 30, 120, 300]);
        let deadline = Instant::now() + self.dice.time(Duration::from_millis(longest));
        let mut heard = Vec::new();
        while let Some(said) = child.hear(deadline) {
            heard.push(said);
        }
        let end = if self.dice.chance(15) { End::Killed } else { End::Cut };
        match end {
            End::Cut => heard.extend(self.cut_under(child)),
            End::Killed => heard.extend(child.kill()),
        }
        drop(writeback);
        heard.iter().try_for_each(|said| self.oracle.note(said))?;
        let failed: Vec<&Said> = heard.iter().filter(|said| said.word == "failed").collect();
        self.remember(format!("  {} lines heard, {failed:?}", heard.len()));
        let row = self.table.row(self.file_system, &plan);
        match end {
            End::Cut => row.cuts += 1,
            End::Killed => row.kills += 1,
        }
        if let End::Killed = end {
            self.remember("  killed".into());
            if let Some(failed) = failed.first() {
                return Err(format!("an append failed without a cut: {}", failed.rest));
            }
            return self.judge_again(&plan, false);
        }
        self.remember("  cut".into());
        self.start_again();
        self.judge_again(&plan, true)
    }

    /// The power goes somewhere between the start of the process and its first append.
    fn cut_in_opening(&mut self, child: Child, plan: &Plan) -> Result<(), String> {
        let opening = Instant::now() + PATIENCE;
        while let Some(said) = child.hear(opening)
            && said.word != "opening"
        {}
        let until = Instant::now() + self.dice.time(Duration::from_millis(20));
        let mut heard = Vec::new();
        while let Some(said) = child.hear(until) {
            heard.push(said);
        }
        heard.extend(self.cut_under(child));
        self.table.row(self.file_system, plan).cuts_in_opening += 1;
        let last = heard.last().map(|said| said.word.clone());
        self.remember(format!("  cut in opening, after {last:?}"));
        self.start_again();
        // It may have come as far as to append.
        self.note_life(&heard, plan)?;
        self.judge_again(plan, true)
    }

    /// The writer dies at a point by itself, and the power goes then.
    fn cut_at_point(&mut self, child: Child, plan: &Plan) -> Result<(), String> {
        let until = Instant::now() + self.dice.time(Duration::from_millis(200)) + Duration::from_millis(50);
        let mut heard = Vec::new();
        while let Some(said) = child.hear(until) {
            heard.push(said);
        }
        let died = child.is_silent();
        heard.extend(self.cut_under(child));
        let row = self.table.row(self.file_system, plan);
        match died {
            true => row.cuts_at_points += 1,
            false => row.cuts += 1,
        }
        self.remember(format!("  cut, at the point: {died}"));
        self.start_again();
        self.note_life(&heard, plan)?;
        self.judge_again(plan, true)
    }

    /// Takes in what a life has said that may have ended before it began.
    fn note_life(&mut self, heard: &[Said], plan: &Plan) -> Result<(), String> {
        // What it read then may have failed because of the cut; what it found is known from the opening
        // before.
        let Some(at) = heard.iter().position(|said| said.word == "ready") else { return Ok(()) };
        self.oracle.begins(self.life_number(), plan.cache());
        heard[at..].iter().filter(|said| said.word != "wrong").try_for_each(|said| self.oracle.note(said))
    }

    /// Waits until the child has opened the ring and read it, and judges what it found. The oracle has been
    /// told of the loss by the opening before, so nothing may be gone.
    fn judge_opening(&mut self, child: &Child, plan: &Plan) -> Result<(), String> {
        let found = hear_found(child)?;
        self.table.row(self.file_system, plan).torn += u64::from(found.cut > 0);
        self.oracle.judge(&found, true).map(drop)
    }

    /// Opens the ring after a cut or a kill, with other options half of the time, and judges.
    fn judge_again(&mut self, ended: &Plan, after_cut: bool) -> Result<(), String> {
        let plan = if self.dice.chance(50) { ended.clone() } else { Plan::throw(&mut self.dice) };
        self.oracle.opens(plan.ring_size);
        let found = self.open_and_look(&plan)?;
        self.remember(format!(
            "  found {}..{}, {} pages, {} cut",
            found.first, found.last, found.pages, found.cut
        ));
        let passed = self.oracle.judge(&found, after_cut)?;
        let row = self.table.row(self.file_system, ended);
        row.torn += u64::from(found.cut > 0);
        row.lost_most = row.lost_most.max(passed.lost);
        if let (true, Some(since)) = (after_cut, passed.lost_since_us) {
            row.lost_oldest_us = row.lost_oldest_us.max(self.cut_at_us.saturating_sub(since));
        }
        row.pages += passed.pages;
        Ok(())
    }

    /// One more opening, after one that closed or did not: it must find the same.
    fn look(&mut self) -> Result<(), String> {
        if !self.dice.chance(40) {
            return Ok(());
        }
        let plan = Plan::throw(&mut self.dice);
        self.oracle.opens(plan.ring_size);
        let held = self.oracle.held;
        let found = self.open_and_look(&plan)?;
        self.remember(format!("  looked: {}..{}, {} pages", found.first, found.last, found.pages));
        self.oracle.judge(&found, true)?;
        // Fewer pages at the beginning if this ring is smaller; never more, and the same end.
        if found.last != held.1 || found.first < held.0 {
            return Err(format!("a second opening found {}..{}, not {held:?}", found.first, found.last));
        }
        Ok(())
    }

    fn open_and_look(&mut self, plan: &Plan) -> Result<Found, String> {
        let close = self.dice.chance(30);
        let args: Args = plan.args(&self.home(), 0).with("look", 1).with("close", u8::from(close));
        let child = Child::start("life", &args);
        let found = hear_found(&child)?;
        // To its end, closing included.
        while child.hear(Instant::now() + PATIENCE).is_some() {}
        match child.is_silent() {
            true => Ok(found),
            false => Err("the process does not end".into()),
        }
    }

    fn remember(&mut self, event: String) {
        self.history.push_back(event);
        while self.history.len() > REMEMBERED * 3 {
            self.history.pop_front();
        }
    }

    /// Keeps the ring as it is, for people.
    fn finding(&mut self, what: String) -> Finding {
        let name = format!("power-cut-{}-{}-{}", self.file_system.name(), self.seed, self.rings);
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let copied =
            copy(&self.home(), &kept).map_or_else(|error| format!("not kept: {error}"), |()| "kept".into());
        let history: Vec<String> = self.history.drain(..).collect();
        let text = format!(
            "{}: {what}\n  seed {}, ring {}; its files, {copied}: {}\n  {}",
            self.file_system.name(),
            self.seed,
            self.rings,
            kept.display(),
            history.join("\n  ")
        );
        eprintln!("FINDING {text}");
        Finding(text)
    }
}

/// What a child that opens finds; an error if it does not come to an end with it.
pub fn hear_found(child: &Child) -> Result<Found, String> {
    let deadline = Instant::now() + PATIENCE;
    let mut found = Found::default();
    let mut last = String::from("nothing");
    while let Some(said) = child.hear(deadline) {
        if said.word == "refused" {
            return Err(format!("the ring does not open: {}", said.rest));
        }
        if found.note(&said) {
            return Ok(found);
        }
        last = said.word;
    }
    Err(match child.is_silent() {
        true => format!("the process ended in opening, having said {last} last"),
        false => format!("the opening hangs, having said {last} last"),
    })
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
