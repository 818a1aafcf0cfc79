//! The rings that are shown: found, looked at in turn, and forgotten when they are gone.

use super::crew::{Crew, Delay, JobProgress};
use super::discovery::{Claims, Discovered, Discovery};
use super::figures::Figures;
use super::readers::ReportLook;
use super::turn::Turn;
use super::watched::Watched;
use crate::stat::readers::ReadingRights;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use waldo::reader::ReportDirectory;

/// How long a ring that was found, and that a search does not find any more, is shown: closed, or removed.
const REMEMBERED: Duration = Duration::from_secs(10);

/// A look that takes longer than this, and longer than two intervals, is shown as such.
const SILENCE: Duration = Duration::from_secs(2);

/// Time between two looks at who may read the ring whose pane is open.
const RIGHTS_LOOK: Duration = Duration::from_secs(5);

/// A ring, as it is shown.
#[derive(Clone, Debug)]
pub struct RingRow {
    /// Its directory.
    pub home: PathBuf,
    /// What the last look has found; `None` before the first.
    pub figures: Option<Arc<Figures>>,
    /// Who may read it. Only known while its pane is open.
    pub rights: Option<Arc<ReadingRights>>,
    /// What the present look waits for, if it has for long.
    pub delay: Option<Delay>,
}

/// All of them.
pub struct Rings {
    lines: BTreeMap<PathBuf, Line>,
    crew: Crew<Found>,
    directory: ReportDirectory,
    /// Users with reports, as of the last look or search.
    reports: ReportLook,
    patience: Duration,
    /// `None`: the rings were named.
    discovery: Option<Discovery>,
    opened: Option<Opened>,
    /// Rings of which somebody finds out who may read them: each keeps no more than one thread.
    rights_asked: BTreeSet<PathBuf>,
}

#[derive(Default)]
struct Line {
    /// Not while it is being looked at.
    watched: Option<Box<Watched>>,
    look: Option<Arc<JobProgress>>,
    figures: Option<Arc<Figures>>,
    /// Since when no search has found it.
    gone: Option<Instant>,
}

/// The ring whose pane is open.
struct Opened {
    home: PathBuf,
    rights: Option<Arc<ReadingRights>>,
    turn: Turn,
}

/// What a thread has done.
enum Found {
    Ring(Box<Watched>, Box<Figures>),
    Rights { home: PathBuf, rights: Option<ReadingRights>, begun: Instant, ended: Instant },
    Discovered(Discovered),
}

impl From<Discovered> for Found {
    fn from(discovered: Discovered) -> Found {
        Found::Discovered(discovered)
    }
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
            reports: ReportLook::new(&directory),
            directory,
            patience: SILENCE.max(interval * 2),
            discovery: named.is_empty().then(Discovery::new),
            opened: None,
            rights_asked: BTreeSet::new(),
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

    /// Has every ring looked at that is not being looked at.
    pub fn ask(&mut self) {
        self.reports = ReportLook::new(&self.directory);
        for line in self.lines.values_mut() {
            line.ask(&self.crew, &self.reports);
        }
    }

    /// Has other rings be looked for if it is time.
    pub fn search(&mut self) {
        if let Some(discovery) = &mut self.discovery {
            discovery.search(Instant::now(), &self.crew);
        }
    }

    /// When there is to be another search; `None` if there is one, or none is asked for.
    pub fn search_due(&self) -> Option<Instant> {
        self.discovery.as_ref().and_then(|discovery| discovery.due(Instant::now()))
    }

    /// Of the ring whose pane is open, has looked at who may read it: of many rings, that takes longer than
    /// all the rest.
    pub fn open(&mut self, home: Option<&Path>) {
        if self.opened.as_ref().map(|opened| opened.home.as_path()) != home {
            self.opened = home.map(Opened::new);
        }
        let Some(opened) = &self.opened else { return };
        if opened.turn.is_due(Instant::now()) && self.rights_asked.insert(opened.home.clone()) {
            let home = opened.home.clone();
            self.crew.add(move || {
                let begun = Instant::now();
                let rights = ReadingRights::of(&home);
                Found::Rights { home, rights, begun, ended: Instant::now() }
            });
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
                Found::Rights { home, rights, begun, ended } => self.take_rights(&home, rights, begun, ended),
                Found::Discovered(Discovered::Claims { claims, begun, ended }) => {
                    let discovery = self.discovery.as_mut();
                    let claims = discovery.and_then(|discovery| discovery.take(claims, begun, ended));
                    claims.into_iter().for_each(|claims| self.take_claims(claims));
                }
                Found::Discovered(Discovered::Home { home, is_there }) => self.take_home(home, is_there),
            }
        }
        any
    }

    fn take_ring(&mut self, watched: Box<Watched>, figures: Box<Figures>) {
        // A ring that is being looked at is not forgotten.
        if let Some(line) = self.lines.get_mut(watched.home()) {
            line.figures = Some(Arc::from(figures));
            (line.watched, line.look) = (Some(watched), None);
        }
    }

    fn take_rights(&mut self, home: &Path, rights: Option<ReadingRights>, begun: Instant, ended: Instant) {
        self.rights_asked.remove(home);
        if let Some(opened) = self.opened.as_mut().filter(|opened| opened.home == home) {
            opened.rights = rights.map(Arc::new);
            opened.turn.note(begun, ended);
        }
    }

    /// What has gone is looked at without waiting for the next turn, and forgotten soon: if the ring is
    /// removed, its memory is free when that has been noticed.
    fn take_claims(&mut self, claims: Claims) {
        self.lines.retain(|_, line| !line.is_over());
        self.reports = ReportLook::new(&self.directory);
        for (home, line) in &mut self.lines {
            let is_gone = !claims.contains_key(home) || line.is_removed();
            if is_gone {
                line.ask(&self.crew, &self.reports);
            }
            line.gone = is_gone.then(|| line.gone.unwrap_or_else(Instant::now));
        }
        for (home, claims) in claims {
            if let Some(discovery) = self.discovery.as_mut().filter(|_| !self.lines.contains_key(&home)) {
                discovery.seek(home, claims, &self.crew);
            }
        }
        self.discovery.iter_mut().for_each(Discovery::note_done);
    }

    /// So is what is new.
    fn take_home(&mut self, home: PathBuf, is_there: bool) {
        self.discovery.iter_mut().for_each(|discovery| discovery.end_seeking(&home));
        if is_there && !self.lines.contains_key(&home) {
            self.watch(home.clone(), true);
            self.lines.get_mut(&home).into_iter().for_each(|line| line.ask(&self.crew, &self.reports));
        }
    }

    /// The rings as they are to be shown.
    pub fn rows(&self) -> Vec<RingRow> {
        let rights = |home: &Path| self.opened.as_ref().filter(|opened| opened.home == home)?.rights.clone();
        let watched = self.lines.iter().map(|(home, line)| RingRow {
            home: home.clone(),
            figures: line.figures.clone(),
            rights: rights(home),
            delay: line.look.as_ref().and_then(|look| look.delay(self.patience)),
        });
        let delayed = self.discovery.iter().flat_map(|discovery| discovery.delayed(self.patience));
        let sought = delayed.map(|(home, delay)| RingRow {
            home: home.clone(),
            figures: None,
            rights: rights(home),
            delay: Some(delay),
        });
        watched.chain(sought).collect()
    }

    /// Whether a look is under way.
    pub fn is_looking(&self) -> bool {
        self.discovery.as_ref().is_some_and(Discovery::is_under_way)
            || self.lines.values().any(|line| line.look.is_some())
    }

    /// Why rings cannot be looked for.
    pub fn trouble(&self) -> Option<&str> {
        self.discovery.as_ref().and_then(Discovery::trouble)
    }

    /// Whether a search has been made to its end, or none was asked for.
    pub fn has_searched(&self) -> bool {
        self.discovery.as_ref().is_none_or(Discovery::is_done)
    }
}

impl Opened {
    fn new(home: &Path) -> Opened {
        Opened { home: home.to_path_buf(), rights: None, turn: Turn::new(RIGHTS_LOOK) }
    }
}

impl Line {
    fn ask(&mut self, crew: &Crew<Found>, reports: &ReportLook) {
        let Some(mut watched) = self.watched.take() else { return };
        let reports = reports.clone();
        self.look = Some(crew.add(move || {
            let figures = watched.look(&reports);
            Found::Ring(watched, Box::new(figures))
        }));
    }

    /// A segment may outlive its ring.
    fn is_removed(&self) -> bool {
        self.figures.as_ref().is_some_and(|figures| figures.state == "removed")
    }

    /// Whether it need not be shown any more. One that was named never goes.
    fn is_over(&self) -> bool {
        let gone = |since: Instant| since.elapsed() >= REMEMBERED;
        self.watched.is_some() && self.gone.is_some_and(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waldo::writer::{Writer, WriterOptions};

    #[test]
    fn what_was_found_and_has_gone_is_shown_for_a_while() {
        let watched = || Some(Box::new(Watched::new("/ring".into(), true)));
        let gone =
            |age| Line { watched: watched(), gone: Instant::now().checked_sub(age), ..Line::default() };
        assert!(gone(REMEMBERED).is_over() && !gone(Duration::ZERO).is_over());
        assert!(!Line { watched: watched(), ..Line::default() }.is_over());
        // A thread looks at the ring, and will bring it back.
        assert!(!Line { watched: None, ..gone(REMEMBERED) }.is_over());
    }

    fn ring(home: &Path) {
        let options = WriterOptions::default().page_len(1 << 20).ring_size(4).remove_control(true);
        Writer::open(home, options).unwrap().close().unwrap();
    }

    /// With hundreds of rings, their pages and directories would be looked at all the time.
    #[test]
    fn who_may_read_is_found_out_of_the_open_ring_alone() {
        let place = tempfile::Builder::new().prefix("waldo-top-").tempdir().unwrap();
        let homes = ["one", "two"].map(|name| place.path().join(name));
        homes.iter().for_each(|home| ring(home));
        let directory = ReportDirectory::at(place.path());
        let mut rings = Rings::new(&homes, directory, Duration::from_secs(3600)).unwrap();
        let until = |rings: &mut Rings, done: &dyn Fn(&[RingRow]) -> bool| {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !done(&rings.rows()) {
                assert!(Instant::now() < deadline, "waited in vain: {:?}", rings.rows());
                std::thread::sleep(Duration::from_millis(5));
                rings.take();
            }
        };
        let known = |rows: &[RingRow]| rows.iter().map(|row| row.rights.is_some()).collect::<Vec<_>>();
        rings.open(None);
        rings.ask();
        until(&mut rings, &|rows| rows.iter().all(|row| row.figures.is_some()));
        assert_eq!(known(&rings.rows()), [false, false]);
        // Without waiting for the next look.
        for (n, expected) in [(1, [false, true]), (0, [true, false])] {
            rings.open(Some(&homes[n]));
            until(&mut rings, &|rows| rows[n].rights.is_some());
            assert_eq!(known(&rings.rows()), expected);
        }
        rings.open(None);
        assert_eq!(known(&rings.rows()), [false, false]);
    }
}
