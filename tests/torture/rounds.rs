//! Life after life of the writer, with readers that live on.

use crate::child::{Child, Said};
use crate::crew::Crew;
use crate::dice::Dice;
use crate::oracle::Oracle;
use crate::place::{Ground, Place};
use crate::plan::Plan;
use crate::points::Point;
use crate::reader::KINDS;
use nix::sys::signal::Signal;
use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// How long an opening may take before it counts as hanging.
const OPENING: Duration = Duration::from_secs(60);
/// Nobody may be blind for longer than 5 s on a machine that has time for it. This is for one that has not.
const PATIENCE_S: u64 = 20;
const BLIND: Duration = Duration::from_secs(5);
/// Between two looks at what the children say.
const LOOK: Duration = Duration::from_millis(1);
const REMEMBERED: usize = 40;
/// Of these, what is told of a wait longer than [`BLIND`].
const SLOW_HISTORY: usize = 12;
/// Descriptors of a process that has a few pages mapped. The harness and the runtime have some.
const FILES_MOST: usize = 100;

/// Numbers for people.
#[derive(Debug, Default)]
pub struct Account {
    pub kills: u64,
    /// Of these, at a point with a name.
    points: u64,
    pub lives: u64,
    pub rings: u64,
    checks: u64,
    blind_over_5_s: u64,
    blind_most: Duration,
}

pub struct Rounds<'a> {
    ground: Ground,
    place: &'a Place,
    dice: Dice,
    crew: Crew,
    oracle: Oracle,
    account: Account,
    home: PathBuf,
    seed: u64,
    patience: Duration,
    /// The ring has been moved or replaced: errors are in order until all have found it.
    disturbed: bool,
    history: VecDeque<String>,
}

impl<'a> Rounds<'a> {
    pub fn new(ground: Ground, place: &'a Place, seed: u64) -> Rounds<'a> {
        let patience =
            std::env::var("WALDO_TORTURE_PATIENCE").map_or(PATIENCE_S, |text| text.parse().unwrap());
        let home = place.top().join("ring-0");
        Rounds {
            ground,
            place,
            dice: Dice::new(seed ^ ground as u64),
            crew: Crew::default(),
            oracle: Oracle::default(),
            account: Account::default(),
            home,
            seed,
            patience: Duration::from_secs(patience),
            disturbed: false,
            history: VecDeque::new(),
        }
    }

    pub fn account(&self) -> String {
        let Account { kills, points, lives, rings, checks, blind_over_5_s, blind_most } = &self.account;
        format!(
            "{kills} kills ({points} at named points), {lives} lives of writers on {rings} rings, {} records read, {} lapses; {checks} times all \
             readers were waited for, the longest {:.2} s, {blind_over_5_s} over 5 s",
            self.crew.records,
            self.crew.lapses,
            blind_most.as_secs_f64()
        )
    }

    /// Goes on until so many processes have been killed. After something wrong it all begins anew.
    pub fn run(&mut self, kills: u64) -> Vec<String> {
        let mut findings = Vec::new();
        let mut told = 0;
        self.begin();
        while self.account.kills < kills {
            if let Err(what) = self.life() {
                let history: Vec<String> = self.history.drain(..).collect();
                let name = self.ground.name();
                let seed = self.seed;
                let text = format!("{name}, seed {seed}: {what}\n  {}", history.join("\n  "));
                eprintln!("FINDING {text}");
                findings.push(text);
                self.begin();
            }
            if self.account.kills / 500 > told {
                told = self.account.kills / 500;
                eprintln!("{}: {}, {} findings", self.ground.name(), self.account(), findings.len());
            }
        }
        self.crew.members.clear();
        findings
    }

    /// A new ring in a new place, and new readers.
    fn begin(&mut self) {
        self.crew.members.clear();
        self.crew.errors.clear();
        self.oracle = Oracle::default();
        let _ = fs::remove_dir_all(&self.home);
        self.account.rings += 1;
        self.home = self.place.top().join(format!("ring-{}", self.account.rings));
        self.disturbed = false;
        for kind in KINDS {
            self.crew.start(kind, &self.home, &mut self.dice);
        }
    }

    /// One life of the writer, and what happens to it and to the readers meanwhile.
    fn life(&mut self) -> Result<(), String> {
        self.between()?;
        self.account.lives += 1;
        let life = self.account.lives;
        let plan = Plan::throw(&mut self.dice);
        let load_ms = self.dice.within(1..=60);
        let mut args = plan
            .args(&self.home, life)
            .with("load_ms", load_ms)
            .with("pause_us", self.dice.pick(&[0, 200, 2000]));
        let control = self.dice.within(0..=9);
        match control {
            0 => args = args.with("private_shm", 1),
            1 | 2 => {
                // Each ring its own: a segment of another ring is not taken.
                let name = format!("control-{}", self.account.rings);
                args = args.with("control", self.place.other().join(name).display());
            }
            _ => {}
        }
        self.remember(format!("life {life}, control {control}, {load_ms} ms: {plan:?}"));
        let point = self.dice.chance(30).then(|| self.dice.pick(&Point::ALL));
        if let Some(point) = point {
            // In its opening, or while it runs.
            let longest = self.dice.pick(&[0, 3, 30]);
            let delay = self.dice.time(Duration::from_millis(longest));
            args = args.with("die_at", point.number()).with("die_after_us", delay.as_micros());
            self.remember(format!("  dies at {point:?}, from {delay:?} on"));
        }
        let hidden = control == 0;
        let mut writer = Life { child: Child::start("writer", &args), life, live: false, idle: None, hidden };
        let ended = match point {
            Some(_) => self.until_it_dies(&mut writer),
            None => self.through(&mut writer),
        };
        let opening = !writer.live;
        let rest = writer.child.kill();
        self.account.kills += 1;
        for said in &rest {
            hear(&mut self.oracle, life, said)?;
        }
        self.remember(format!("  killed{}", if opening { " in opening, or soon after" } else { "" }));
        ended?;
        self.listen()
    }

    /// A writer that dies by itself; if it does not come to that point, it is killed once it is idle.
    fn until_it_dies(&mut self, writer: &mut Life) -> Result<(), String> {
        let deadline = Instant::now() + OPENING;
        while !writer.child.is_silent() && writer.idle.is_none() {
            self.listen()?;
            self.hear_writer(writer)?;
            thread::sleep(LOOK);
            if Instant::now() > deadline {
                return Err("the writer neither dies nor comes to the end of its load".into());
            }
        }
        self.account.points += u64::from(writer.child.is_silent());
        Ok(())
    }

    fn through(&mut self, writer: &mut Life) -> Result<(), String> {
        if self.dice.chance(20) {
            // Somewhere in its opening, or soon after.
            self.wait_for_word(writer, "opening")?;
            let moment = self.dice.time(Duration::from_millis(12));
            thread::sleep(moment);
            return Ok(());
        }
        self.wait_for_word(writer, "live")?;
        let check = self.dice.chance(35);
        let until = Instant::now() + self.dice.time(Duration::from_millis(80));
        while Instant::now() < until {
            self.listen()?;
            self.hear_writer(writer)?;
            self.mishap(writer);
            thread::sleep(LOOK);
        }
        for number in 0..self.crew.members.len() {
            self.crew.resume(number);
        }
        if check { self.all_must_see(writer) } else { Ok(()) }
    }

    /// Something that happens to one of them.
    fn mishap(&mut self, writer: &Life) {
        let number = self.dice.within(0..=self.crew.members.len() as u64 - 1) as usize;
        match self.dice.within(0..=199) {
            0..=3 => {
                self.crew.replace(number, &self.home, &mut self.dice);
                self.account.kills += 1;
            }
            4..=8 => self.crew.stop(number),
            9..=20 => self.crew.resume(number),
            21..=22 => {
                writer.child.signal(Signal::SIGSTOP);
                let pause = self.dice.time(Duration::from_millis(20));
                thread::sleep(pause);
                writer.child.signal(Signal::SIGCONT);
            }
            _ => {}
        }
    }

    /// With no writer there: the ring is moved, or made anew, or its shared memory goes.
    fn between(&mut self) -> Result<(), String> {
        if !self.home.exists() {
            return Ok(());
        }
        match self.dice.within(0..=99) {
            0..=2 => {
                let to = self.place.top().join(format!("moved-{}", self.account.lives));
                fs::rename(&self.home, &to).map_err(|error| error.to_string())?;
                self.remember(format!("moved to {}", to.display()));
                self.home = to;
                // Those who look for it at its old place cannot find it there.
                self.crew.replace_all(&self.home, &mut self.dice);
            }
            3..=5 => {
                let _ = fs::remove_dir_all(&self.home);
                self.remember("removed, to be made anew".into());
                self.account.rings += 1;
                self.oracle.new_ring();
                self.disturbed = true;
            }
            6..=9 => {
                for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
                    let _ = fs::remove_file(entry.path());
                }
                self.remember("shared memory removed".into());
            }
            _ => {}
        }
        Ok(())
    }

    /// The writer has appended all it will: every reader must come to see the end of it.
    fn all_must_see(&mut self, writer: &mut Life) -> Result<(), String> {
        let deadline = Instant::now() + OPENING;
        while writer.idle.is_none() {
            self.listen()?;
            self.hear_writer(writer)?;
            thread::sleep(LOOK);
            if Instant::now() > deadline {
                return Err("the writer does not come to the end of its load".into());
            }
        }
        let Some(tip) = writer.idle else { return Ok(()) };
        let since = Instant::now();
        let mut told = String::new();
        loop {
            self.listen()?;
            let blind = self.crew.members.iter().find(|member| {
                let excused = writer.hidden && member.kind == "durable";
                !excused && (member.at.0 != writer.life || member.at.1 < tip)
            });
            let Some(blind) = blind else { break };
            if since.elapsed() > BLIND && told != blind.name {
                told = blind.name.clone();
                let (at, life) = (blind.at, writer.life);
                eprintln!("SLOW {told} is at (life, record) {at:?}, the writer at ({life}, {tip}) since 5 s");
            }
            if since.elapsed() > self.patience {
                let (name, at) = (&blind.name, blind.at);
                return Err(format!(
                    "{name} is blind: at (life, record) {at:?}, the writer at ({}, {tip}) for {:?}; errors: {:?}",
                    writer.life,
                    since.elapsed(),
                    self.crew.errors
                ));
            }
            thread::sleep(LOOK);
        }
        self.account.checks += 1;
        self.account.blind_most = self.account.blind_most.max(since.elapsed());
        self.remember(format!("  all have seen {tip} after {:?}", since.elapsed()));
        if since.elapsed() > BLIND {
            self.account.blind_over_5_s += 1;
            let before = self.history.len().saturating_sub(SLOW_HISTORY);
            let history: Vec<_> = self.history.iter().skip(before).map(String::as_str).collect();
            eprintln!("SLOW {}\n  {}", self.ground.name(), history.join("\n  "));
        }
        if !writer.hidden {
            // Whoever was excused has not seen yet that the ring has moved, and may say so later.
            self.disturbed = false;
            self.crew.errors.clear();
        }
        self.look_for_leaks(writer)
    }

    fn look_for_leaks(&mut self, writer: &Life) -> Result<(), String> {
        let all = self.crew.pids().map(|(name, pid)| (name.to_owned(), pid));
        for (name, pid) in all.chain([("the writer".to_owned(), writer.child.pid())]) {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
            if files > FILES_MOST {
                return Err(format!("{name} has {files} descriptors"));
            }
        }
        let names: Vec<_> = fs::read_dir(&self.home).into_iter().flatten().flatten().collect();
        if names.len() > FILES_MOST {
            return Err(format!("{} files in the ring", names.len()));
        }
        // Of each ring that was removed, one stays until the next writer of that directory comes.
        let shared = fs::read_dir("/dev/shm").map_or(0, Iterator::count) as u64;
        if shared > self.account.rings + 1 {
            return Err(format!("{shared} objects in /dev/shm, of {} rings", self.account.rings));
        }
        Ok(())
    }

    fn wait_for_word(&mut self, writer: &mut Life, word: &str) -> Result<(), String> {
        let deadline = Instant::now() + OPENING;
        while let Some(said) = writer.child.hear(deadline) {
            hear(&mut self.oracle, writer.life, &said)?;
            writer.take(&said);
            if said.word == word {
                return Ok(());
            }
        }
        match writer.child.is_silent() {
            true => Err(format!("the writer ended before it was {word}")),
            false => Err(format!("the writer hangs before it is {word}")),
        }
    }

    fn hear_writer(&mut self, writer: &mut Life) -> Result<(), String> {
        let heard: Vec<Said> = writer.child.hear_now().collect();
        for said in heard {
            hear(&mut self.oracle, writer.life, &said)?;
            writer.take(&said);
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<(), String> {
        self.crew.listen(&mut self.oracle)?;
        self.oracle.judge(false)?;
        if !self.disturbed
            && let Some(error) = self.crew.errors.first()
        {
            return Err(format!("nothing is wrong, but {error}"));
        }
        Ok(())
    }

    fn remember(&mut self, event: String) {
        self.history.push_back(event);
        if self.history.len() > REMEMBERED {
            self.history.pop_front();
        }
    }
}

/// A writer process.
struct Life {
    child: Child,
    life: u64,
    live: bool,
    idle: Option<u64>,
    /// Its segment is where readers cannot see it. What they know of durable records is then as old as its
    /// last append, so that those who want no others may have to wait for the next one.
    hidden: bool,
}

impl Life {
    fn take(&mut self, said: &Said) {
        self.live |= said.word == "live";
        if said.word == "idle" {
            self.idle = said.numbers().first().copied();
        }
    }
}

/// Takes in a line of the writer of `life`.
fn hear(oracle: &mut Oracle, life: u64, said: &Said) -> Result<(), String> {
    let number = said.numbers().first().copied().unwrap_or(0);
    match said.word.as_str() {
        "live" => oracle.live(life, number)?,
        "acked" => oracle.acked(number),
        "refused" | "failed" => return Err(format!("life {life}: {} {}", said.word, said.rest)),
        _ => {}
    }
    Ok(())
}
