//! The rings that are shown: found, looked at in turn, and forgotten when they have gone.

use super::crew::Crew;
use super::figures::Figures;
use super::turn::Turn;
use super::watched::Watched;
use crate::machine::homes;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waldo::reader::ReportDirectory;
use waldo::writer::segments;

/// Time between two searches of this machine for rings, at least.
const SEARCH: Duration = Duration::from_secs(2);

/// How long a ring that was found, and that a search does not find any more, is shown: closed, or removed.
const REMEMBERED: Duration = Duration::from_secs(10);

/// A look that takes longer than this, and longer than two intervals, is shown as such.
const SILENCE: Duration = Duration::from_secs(2);

/// A ring, as it is shown.
#[derive(Clone, Debug)]
pub struct RingRow {
    /// Its directory.
    pub home: PathBuf,
    /// What the last look has found; `None` before the first.
    pub figures: Option<Arc<Figures>>,
    /// How long the present look has taken, if that is long.
    pub silent: Option<Duration>,
}

/// All of them.
pub struct Rings {
    lines: BTreeMap<PathBuf, Line>,
    crew: Crew<Found>,
    directory: ReportDirectory,
    interval: Duration,
    /// `None`: the rings were named.
    search: Option<Turn>,
    searching: bool,
    trouble: Option<String>,
    searched: bool,
}

#[derive(Default)]
struct Line {
    /// Not while it is being looked at.
    watched: Option<Box<Watched>>,
    asked: Option<Instant>,
    figures: Option<Arc<Figures>>,
    /// Since when no search has found it.
    gone: Option<Instant>,
}

/// What a thread has done.
enum Found {
    Ring(Box<Watched>, Box<Figures>),
    Rings { homes: Result<BTreeSet<PathBuf>, String>, begun: Instant, ended: Instant },
}

impl Rings {
    /// These rings, or if none is named those of this machine.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn new(named: &[PathBuf], directory: ReportDirectory, interval: Duration) -> anyhow::Result<Rings> {
        let mut rings = Rings {
            lines: BTreeMap::new(),
            crew: Crew::start()?,
            directory,
            interval,
            search: named.is_empty().then(|| Turn::new(SEARCH)),
            searching: false,
            trouble: None,
            searched: false,
        };
        named
            .iter()
            .for_each(|home| rings.watch(std::path::absolute(home).unwrap_or_else(|_| home.clone()), false));
        Ok(rings)
    }

    fn watch(&mut self, home: PathBuf, was_found: bool) {
        self.lines.entry(home).or_insert_with_key(|home| Line {
            watched: Some(Box::new(Watched::new(home.clone(), was_found))),
            ..Line::default()
        });
    }

    /// Has every ring looked at that is not being looked at, and other rings be looked for if it is time.
    pub fn ask(&mut self) {
        let now = Instant::now();
        if !self.searching && self.search.as_ref().is_some_and(|turn| turn.is_due(now)) {
            self.searching = true;
            self.crew.add(search);
        }
        self.lines.retain(|_, line| !line.is_over(self.search.is_some()));
        for line in self.lines.values_mut() {
            line.ask(&self.crew, &self.directory);
        }
    }

    /// Readable when there is something for [`Rings::take`].
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.crew.bell()
    }

    /// Takes what has been found. Gives whether there was anything.
    pub fn take(&mut self) -> bool {
        let results = self.crew.results();
        let any = !results.is_empty();
        for found in results {
            match found {
                Found::Ring(watched, figures) => self.take_ring(watched, figures),
                Found::Rings { homes, begun, ended } => {
                    (self.searching, self.searched) = (false, true);
                    self.search.iter_mut().for_each(|turn| turn.note(begun, ended));
                    self.trouble = homes.as_ref().err().cloned();
                    homes.into_iter().for_each(|homes| self.take_homes(homes));
                }
            }
        }
        any
    }

    fn take_ring(&mut self, watched: Box<Watched>, figures: Box<Figures>) {
        let line = self.lines.entry(watched.home().to_path_buf()).or_default();
        line.figures = Some(Arc::from(figures));
        (line.watched, line.asked) = (Some(watched), None);
    }

    /// What is new is looked at without waiting for the next turn.
    fn take_homes(&mut self, homes: BTreeSet<PathBuf>) {
        for (home, line) in &mut self.lines {
            line.gone = (!homes.contains(home)).then(|| line.gone.unwrap_or_else(Instant::now));
        }
        for home in homes {
            if !self.lines.contains_key(&home) {
                self.watch(home.clone(), true);
                self.lines.get_mut(&home).into_iter().for_each(|line| line.ask(&self.crew, &self.directory));
            }
        }
    }

    /// The rings as they are to be shown, by path.
    pub fn rows(&self) -> Vec<RingRow> {
        let patience = SILENCE.max(self.interval * 2);
        let row = |(home, line): (&PathBuf, &Line)| RingRow {
            home: home.clone(),
            figures: line.figures.clone(),
            silent: line.asked.map(|asked| asked.elapsed()).filter(|time| *time >= patience),
        };
        self.lines.iter().map(row).collect()
    }

    /// Whether a look is under way.
    pub fn is_looking(&self) -> bool {
        self.searching || self.lines.values().any(|line| line.asked.is_some())
    }

    /// Why rings cannot be looked for.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether a search has been made to its end, or none was asked for.
    pub fn has_searched(&self) -> bool {
        self.searched || self.search.is_none()
    }
}

impl Line {
    fn ask(&mut self, crew: &Crew<Found>, directory: &ReportDirectory) {
        let Some(mut watched) = self.watched.take() else { return };
        let directory = directory.clone();
        self.asked = Some(Instant::now());
        crew.add(move || {
            let figures = watched.look(&directory);
            Found::Ring(watched, Box::new(figures))
        });
    }

    /// Whether it need not be shown any more. One that was named is shown whatever happens.
    fn is_over(&self, was_found: bool) -> bool {
        let gone = |since: Instant| since.elapsed() >= REMEMBERED;
        was_found && self.watched.is_some() && self.gone.is_some_and(gone)
    }
}

fn search() -> Found {
    let begun = Instant::now();
    let homes = segments::list()
        .map(|segments| homes(&segments, &[]).homes)
        .map_err(|error| format!("cannot look for rings: cannot read /dev/shm: {error}"));
    Found::Rings { homes, begun, ended: Instant::now() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_and_has_gone_is_shown_for_a_while() {
        let watched = || Some(Box::new(Watched::new("/ring".into(), true)));
        let gone =
            |age| Line { watched: watched(), gone: Instant::now().checked_sub(age), ..Line::default() };
        assert!(gone(REMEMBERED).is_over(true) && !gone(REMEMBERED).is_over(false));
        assert!(!gone(Duration::ZERO).is_over(true));
        assert!(!Line { watched: watched(), ..Line::default() }.is_over(true));
        // Somebody looks at it, and will bring it back.
        assert!(!Line { watched: None, ..gone(REMEMBERED) }.is_over(true));
    }
}
