//! Rings that were not named on the command line: those that control segments name, and that exist.
//!
//! Segments are in memory, and reading them takes no time. But whether a ring is where its segment says has
//! to be read from the ring's disk. Each ring is a separate job, so that a disk that does not answer hides no
//! other ring.

use super::crew::{Crew, Delay, JobProgress};
use super::turn::Turn;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use waldo::writer::segments::{self, RingClaim};

/// Time between two searches of this machine for rings, at least.
const SEARCH: Duration = Duration::from_secs(2);

/// Segments that name a ring, by its directory.
pub type Claims = BTreeMap<PathBuf, Vec<RingClaim>>;

/// What a thread has found.
pub enum Discovered {
    /// What segments name.
    Claims { claims: Result<Claims, String>, begun: Instant, ended: Instant },
    /// Whether the ring is there.
    Home { home: PathBuf, is_there: bool },
}

/// The search for rings.
pub struct Discovery {
    turn: Turn,
    is_searching: bool,
    has_searched: bool,
    is_done: bool,
    trouble: Option<String>,
    /// Rings of which it is not known yet whether they exist.
    sought: BTreeMap<PathBuf, Arc<JobProgress>>,
}

impl Discovery {
    /// Nothing has been looked for.
    pub fn new() -> Discovery {
        Discovery {
            turn: Turn::new(SEARCH),
            is_searching: false,
            has_searched: false,
            is_done: false,
            trouble: None,
            sought: BTreeMap::new(),
        }
    }

    /// When there is to be another search; `None` while there is one.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        (!self.is_searching).then(|| self.turn.due(now))
    }

    /// Looks for rings if it is time.
    pub fn search<R: From<Discovered> + Send + 'static>(&mut self, now: Instant, crew: &Crew<R>) {
        if self.due(now).is_some_and(|due| now >= due) {
            self.is_searching = true;
            crew.add(|| search().into());
        }
    }

    /// Takes what a search has found. Gives that, unless it failed.
    pub fn take(&mut self, claims: Result<Claims, String>, begun: Instant, ended: Instant) -> Option<Claims> {
        (self.is_searching, self.has_searched) = (false, true);
        self.turn.note(begun, ended);
        self.trouble = claims.as_ref().err().cloned();
        claims.ok()
    }

    /// Has a ring looked for that segments name.
    pub fn seek<R>(&mut self, home: PathBuf, claims: Vec<RingClaim>, crew: &Crew<R>)
    where
        R: From<Discovered> + Send + 'static,
    {
        self.sought.entry(home).or_insert_with_key(|home| {
            let home = home.clone();
            crew.add(move || {
                let is_there = claims.iter().any(|claim| !claim.is_gone());
                Discovered::Home { home, is_there }.into()
            })
        });
    }

    /// Takes note that there is an answer.
    pub fn end_seeking(&mut self, home: &Path) {
        self.sought.remove(home);
        self.note_done();
    }

    /// To be called when something that was looked for has been found, and after every search.
    pub fn note_done(&mut self) {
        self.is_done |= self.has_searched && self.sought.is_empty();
    }

    /// Rings that have not been found yet, and what they wait for.
    pub fn delayed(&self, patience: Duration) -> impl Iterator<Item = (&PathBuf, Delay)> {
        self.sought.iter().filter_map(move |(home, job)| Some((home, job.delay(patience)?)))
    }

    /// Whether something is looked for.
    pub fn is_under_way(&self) -> bool {
        self.is_searching || !self.sought.is_empty()
    }

    /// Why rings cannot be looked for.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether all rings have been found that there were at the first search. Later ones ask again for what
    /// left-over segments name.
    pub fn is_done(&self) -> bool {
        self.is_done
    }
}

fn search() -> Discovered {
    let begun = Instant::now();
    let claims = segments::claims()
        .map(|found| {
            let mut claims = Claims::new();
            found.into_iter().for_each(|claim| claims.entry(claim.home().into()).or_default().push(claim));
            claims
        })
        .map_err(|error| format!("cannot look for rings: cannot read /dev/shm: {error}"));
    Discovered::Claims { claims, begun, ended: Instant::now() }
}
