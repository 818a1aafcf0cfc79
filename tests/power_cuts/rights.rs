//! The power goes while a ring's group and mode are changed.
//!
//! The parent looks at one file of the ring without a pause. As soon as that one changes, it stops the
//! process, or commits the journal, or both, or neither, and cuts: so each step is one after which the power
//! goes, and what is on the disk then is all of the change up to there, a part, or nothing.

use crate::child::{Child, Said};
use crate::dice::Dice;
use crate::machine::{FileSystem, Machine};
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::rounds::hear_found;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Groups that have no names, and one that is no file's.
const GROUPS: [u32; 2] = [54_322, 54_323];
const NOT_OF_ANY: u32 = 54_399;
const MODES: [u32; 4] = [0o600, 0o640, 0o604, 0o644];
/// How long an opening, or a change that is waited for, may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Cuts of one ring.
const LIVES: u64 = 20;

/// Group and permission bits.
type Rights = (u32, u32);
/// By name; `.` is the directory.
type All = BTreeMap<String, Rights>;

/// What the cuts met.
#[derive(Debug, Default)]
pub struct Met {
    pub cuts: u64,
    /// None, some, and all of the files that were to change had changed on the disk.
    pub untouched: u64,
    pub half: u64,
    pub whole: u64,
}

pub struct Changes {
    file_system: FileSystem,
    machine: Machine,
    dice: Dice,
    oracle: Oracle,
    rings: u64,
    lives: u64,
    plan: Plan,
    pub met: Met,
}

impl Changes {
    pub fn new(file_system: FileSystem, machine: Machine, seed: u64) -> Changes {
        let mut dice = Dice::new(seed ^ file_system as u64);
        let plan = Plan::of_many_pages(&mut dice);
        let (oracle, met) = Default::default();
        Changes { file_system, machine, dice, oracle, rings: 0, lives: 0, plan, met }
    }

    /// Cuts the power `cuts` times; gives what was wrong, after which a new ring is begun.
    pub fn run(&mut self, cuts: u64) -> Vec<String> {
        let mut findings = Vec::new();
        self.mount();
        while self.met.cuts < cuts {
            let new = self.lives.is_multiple_of(LIVES);
            let begun = if new { self.begin() } else { Ok(()) };
            if let Err(what) = begun.and_then(|()| self.change()) {
                let ring = format!("{}, ring {}, life {}", self.file_system.name(), self.rings, self.lives);
                eprintln!("FINDING {ring}: {what}");
                findings.push(format!("{ring}: {what}"));
                self.lives = 0;
            }
        }
        self.machine.unmount();
        findings
    }

    fn home(&self) -> PathBuf {
        self.machine.top().join(format!("ring-{}", self.rings))
    }

    fn mount(&mut self) {
        let options = self.dice.pick(self.file_system.mount_options());
        self.machine.mount(options).unwrap();
    }

    /// Names a life in its payloads, never the same twice.
    fn life(&self) -> u64 {
        self.rings * 1000 + self.lives
    }

    /// A new ring, which is full of records that are durable.
    fn begin(&mut self) -> Result<(), String> {
        self.machine.unmount();
        self.machine.make_file_system().unwrap();
        self.mount();
        (self.rings, self.lives) = (self.rings + 1, 1);
        self.oracle = Oracle::default();
        self.oracle.opens(self.plan.ring_size);
        let group = self.dice.pick(&GROUPS);
        let args = self.plan.args(&self.home(), self.life());
        let child = Child::start("life", &args.with("mode", self.dice.pick(&MODES)).with("group", group));
        self.oracle.judge(&hear_found(&child)?, true)?;
        self.oracle.begins(self.life(), None);
        let deadline = Instant::now() + PATIENCE;
        let home = self.home();
        let pages = || fs::read_dir(&home).unwrap().count();
        while pages() < self.plan.ring_size as usize {
            let said = child.hear(deadline).ok_or("the ring does not fill")?;
            self.oracle.note(&said)?;
        }
        child.kill().iter().try_for_each(|said| self.oracle.note(said))?;
        self.open_again(None)
    }

    /// One change, one cut, and what is there then.
    fn change(&mut self) -> Result<(), String> {
        self.lives += 1;
        // What is looked at now is what a power cut leaves: an older link, say, could come back with the
        // rights of a change that was cut before.
        self.commit();
        let before = self.look();
        let to = loop {
            let to = (self.dice.pick(&GROUPS), self.dice.pick(&MODES));
            if before["ring.meta"] != to {
                break to;
            }
        };
        self.oracle.opens(self.plan.ring_size);
        let args = self.plan.args(&self.home(), self.life()).with("group", to.0).with("mode", to.1);
        let child = Child::start("life", &args);
        let mut heard = self.wait_for_a_step(&child, &before, to);
        if let Some(refused) = heard.iter().find(|said| said.word == "refused") {
            return Err(format!("the change is refused: {}", refused.rest));
        }
        heard.extend(self.cut_under(child));
        self.machine.unmount();
        self.machine.empty_shared_memory();
        self.mount();
        self.met.cuts += 1;
        self.count(&before, to);
        self.judge(&before, to)?;
        // What it read may have failed because of the cut.
        if let Some(at) = heard.iter().position(|said| said.word == "ready") {
            self.oracle.begins(self.life(), None);
            let mut said = heard[at..].iter().filter(|said| said.word != "wrong");
            said.try_for_each(|said| self.oracle.note(said))?;
        }
        self.open_again(None)?;
        self.judge(&before, to)?;
        if self.dice.chance(30) {
            self.open_again(Some(to))?;
            self.judge_finished(to)?;
        }
        Ok(())
    }

    /// Hears what the child says until one of the files changes, and does what is to be done then.
    fn wait_for_a_step(&mut self, child: &Child, before: &All, to: Rights) -> Vec<Said> {
        let home = self.home();
        let differing = of_readers(before).filter(|(_, rights)| **rights != to);
        let home_differs = before.get_key_value(".").filter(|(_, rights)| **rights != of_directory(to));
        let names: Vec<&String> = differing.chain(home_differs).map(|(name, _)| name).collect();
        let name = names[self.dice.within(0..=names.len() as u64 - 1) as usize];
        let mut heard = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        let changed = || rights_of(&home.join(name)) != Some(before[name]);
        while !changed() && Instant::now() < deadline && !child.is_silent() {
            heard.extend(child.hear(Instant::now()));
        }
        match self.dice.within(0..=4) {
            0 => {}
            1 => self.commit(),
            2 => {
                child.signal(Signal::SIGSTOP);
                self.commit();
            }
            3 => {
                child.signal(Signal::SIGSTOP);
                self.commit();
                child.signal(Signal::SIGCONT);
                std::thread::sleep(self.dice.time(Duration::from_millis(2)));
            }
            _ => std::thread::sleep(self.dice.time(Duration::from_millis(20))),
        }
        heard
    }

    /// Makes all that has been done so far durable.
    fn commit(&self) {
        File::open(self.home()).and_then(|dir| Ok(nix::unistd::syncfs(&dir)?)).unwrap();
    }

    /// Cuts the power while `child` runs; what it had still said. What it says of durability once the cut has
    /// begun does not count.
    fn cut_under(&mut self, child: Child) -> Vec<Said> {
        let mut heard: Vec<Said> = child.hear_now().collect();
        self.machine.cut();
        let after = child.kill().into_iter().filter(|said| !matches!(&*said.word, "durable" | "seen"));
        heard.extend(after);
        heard
    }

    fn look(&self) -> All {
        let home = self.home();
        let names =
            fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let all = names.chain([".".to_owned()]);
        all.filter_map(|name| Some((name.clone(), rights_of(&home.join(&name))?))).collect()
    }

    fn count(&mut self, before: &All, to: Rights) {
        let now = self.look();
        let names = of_readers(before).filter(|(_, rights)| **rights != to);
        let changed: Vec<bool> = names.filter_map(|(name, _)| Some(*now.get(name)? == to)).collect();
        match changed.iter().filter(|changed| **changed).count() {
            0 => self.met.untouched += 1,
            all if all == changed.len() => self.met.whole += 1,
            _ => self.met.half += 1,
        }
    }

    /// Nobody may read a file who might read neither it nor the ring before, nor after; and `ring.meta` says
    /// what new files get, so that one is not changed before the others are.
    fn judge(&self, before: &All, to: Rights) -> Result<(), String> {
        let now = self.look();
        // What new files got, and those that are made anew: a change that was cut before this one has left
        // others with rights of their own.
        let ring = before["ring.meta"];
        for (name, found) in &now {
            // A page that was trimmed meanwhile has the rights that it had.
            let page = name.strip_prefix("scratch-trim-").map(|id| format!("page-{id}"));
            let before = before.get(name).or_else(|| before.get(&page?)).unwrap_or(&ring);
            for group in [GROUPS[0], GROUPS[1], NOT_OF_ANY] {
                let of_ring = match name.as_str() {
                    "writer.lock" => false,
                    // It is never made anew, so that it has what it had, or what it is to have.
                    "." => may_read(of_directory(to), group),
                    _ => may_read(ring, group) || may_read(to, group),
                };
                let allowed = may_read(*before, group) || of_ring;
                if may_read(*found, group) && !allowed {
                    return Err(format!(
                        "{name}: {before:?} to {to:?} became {found:?}, in a ring of {ring:?}: {group} may read it"
                    ));
                }
            }
        }
        if before["ring.meta"] != now["ring.meta"] {
            // The change of its own group and mode can have been cut, too.
            let others = of_readers(&now).filter(|(name, _)| *name != "ring.meta");
            let late: Vec<_> = others.filter(|(_, found)| **found != to).collect();
            if !late.is_empty() {
                return Err(format!("ring.meta was changed to {to:?}, and {late:?} not"));
            }
        }
        Ok(())
    }

    /// The next opening that asks for the same does the rest.
    fn judge_finished(&self, to: Rights) -> Result<(), String> {
        let directory = of_directory(to);
        let now = self.look();
        let other = of_readers(&now).find(|(_, found)| **found != to);
        match other.or_else(|| now.get_key_value(".").filter(|(_, found)| **found != directory)) {
            Some((name, found)) => {
                Err(format!("{name} is {found:?} after a change to {to:?} was carried out again"))
            }
            None => Ok(()),
        }
    }

    /// Everything durable is there.
    fn open_again(&mut self, to: Option<Rights>) -> Result<(), String> {
        self.oracle.opens(self.plan.ring_size);
        let mut args = self.plan.args(&self.home(), 0).with("look", 1);
        args = args.with("close", u8::from(self.dice.chance(50)));
        if let Some((group, mode)) = to {
            args = args.with("group", group).with("mode", mode);
        }
        let child = Child::start("life", &args);
        let found = hear_found(&child)?;
        while child.hear(Instant::now() + PATIENCE).is_some() {}
        self.oracle.judge(&found, true).map(drop)
    }
}

/// What the directory has where the files have `files`.
fn of_directory(files: Rights) -> Rights {
    (files.0, 0o2700 | files.1 & 0o044 | (files.1 & 0o044) >> 2)
}

/// What nobody but the owner can open, whatever the ring's rights are.
fn is_the_writer_s(name: &str) -> bool {
    name == "writer.lock" || name.starts_with("scratch-")
}

/// The files that have the ring's rights.
fn of_readers(all: &All) -> impl Iterator<Item = (&String, &Rights)> {
    all.iter().filter(|(name, _)| *name != "." && !is_the_writer_s(name))
}

/// `None` for what has gone meanwhile.
fn rights_of(path: &Path) -> Option<Rights> {
    fs::symlink_metadata(path).ok().map(|stat| (stat.gid(), stat.mode() & 0o7777))
}

/// Whether somebody who has only `group` may read a file.
fn may_read((file_group, mode): Rights, group: u32) -> bool {
    mode & if group == file_group { 0o040 } else { 0o004 } != 0
}
