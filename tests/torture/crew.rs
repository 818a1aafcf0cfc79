//! The readers, as the parent sees them.

use crate::args::Args;
use crate::child::{Child, Said};
use crate::dice::Dice;
use crate::oracle::Oracle;
use nix::sys::signal::Signal;
use std::path::Path;

/// A reader process.
pub struct Member {
    pub name: String,
    pub kind: &'static str,
    child: Child,
    /// The newest record it has told of: the life that appended it, and its number.
    pub at: (u64, u64),
    pub stopped: bool,
}

/// All of them, and what they have said.
#[derive(Default)]
pub struct Crew {
    pub members: Vec<Member>,
    started: u64,
    pub lapses: u64,
    pub records: u64,
    /// Errors that told a reader to begin anew.
    pub errors: Vec<String>,
}

impl Crew {
    pub fn start(&mut self, kind: &'static str, home: &Path, dice: &mut Dice) {
        self.started += 1;
        let name = format!("reader {} ({kind})", self.started);
        let args = Args::new().with("home", home.display()).with("kind", kind).with("seed", dice.next());
        let child = Child::start("reader", &args);
        self.members.push(Member { name, kind, child, at: (0, 0), stopped: false });
    }

    pub fn stop(&mut self, number: usize) {
        self.members[number].child.signal(Signal::SIGSTOP);
        self.members[number].stopped = true;
    }

    pub fn resume(&mut self, number: usize) {
        self.members[number].child.signal(Signal::SIGCONT);
        self.members[number].stopped = false;
    }

    /// Kills one; another takes its place.
    pub fn replace(&mut self, number: usize, home: &Path, dice: &mut Dice) {
        let Member { name, kind, child, .. } = self.members.swap_remove(number);
        // What it said last goes unheard: it is nothing that was promised to anybody.
        drop((name, child));
        self.start(kind, home, dice);
    }

    pub fn replace_all(&mut self, home: &Path, dice: &mut Dice) {
        for member in std::mem::take(&mut self.members) {
            self.start(member.kind, home, dice);
        }
    }

    pub fn pids(&self) -> impl Iterator<Item = (&str, u32)> {
        self.members.iter().map(|member| (member.name.as_str(), member.child.pid()))
    }

    /// Takes in what has been said; the first thing that must not be.
    pub fn listen(&mut self, oracle: &mut Oracle) -> Result<(), String> {
        for member in &mut self.members {
            for Said { word, rest } in member.child.hear_now() {
                match word.as_str() {
                    "run" => {
                        let numbers: Vec<u64> =
                            rest.split(' ').filter_map(|word| word.parse().ok()).collect();
                        let [life, first, last] = numbers[..] else { continue };
                        oracle.seen(&member.name, life, first, last);
                        // Whoever seeks also goes back.
                        member.at = member.at.max((life, last));
                        self.records += last - first + 1;
                    }
                    "lapped" => self.lapses += 1,
                    "error" => self.errors.push(format!("{}: {rest}", member.name)),
                    "wrong" => return Err(format!("{}: {rest}", member.name)),
                    _ => {}
                }
            }
            if member.child.is_silent() {
                return Err(format!("{} has ended by itself", member.name));
            }
        }
        Ok(())
    }
}
