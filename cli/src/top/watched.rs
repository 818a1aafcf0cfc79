//! A ring that is looked at again and again. It is attached to once, and again only where necessary.

use super::figures::Figures;
use super::growth::Meter;
use super::readers::{RankedReaders, ReportLook};
use super::turn::Turn;
use crate::machine::{disk_bytes, state, time_of};
use crate::stat::counter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use waldo::protocol::RingId;
use waldo::reader::{AttachError, ReadError, Ring, RingStatus};

/// How long a new ring at the same path is shown as new.
const NEWS: Duration = Duration::from_secs(30);

/// Time between two looks at the lengths of a ring's files, where nobody counts them.
const DISK_LOOK: Duration = Duration::from_secs(5);

/// A ring at a path, or none.
#[derive(Debug)]
pub struct Watched {
    home: PathBuf,
    ring: Option<Ring>,
    /// The ring that was there last, also if it is not there any more.
    last_id: Option<RingId>,
    /// There has been a ring.
    was_there: bool,
    /// When another ring was found in its place.
    anew: Option<Instant>,
    meter: Meter,
    oldest: Known,
    newest: Known,
    readers: Option<Arc<RankedReaders>>,
    readers_turn: Turn,
    disk: u64,
    disk_turn: Turn,
}

/// When a record was appended. A record's time never changes, so that is read once.
#[derive(Debug, Default)]
struct Known(Option<(u64, u64)>);

/// Why there are no figures.
enum NoFigures {
    Removed,
    Unreadable(String),
}

impl Watched {
    /// Nothing is looked at yet. Where somebody has found a ring there was one.
    pub fn new(home: PathBuf, was_found: bool) -> Watched {
        Watched {
            home,
            ring: None,
            last_id: None,
            was_there: was_found,
            anew: None,
            meter: Meter::default(),
            oldest: Known::default(),
            newest: Known::default(),
            readers: None,
            readers_turn: Turn::new(Duration::ZERO),
            disk: 0,
            disk_turn: Turn::new(DISK_LOOK),
        }
    }

    /// Its path.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Looks at it. Whatever is the matter with it is among the figures.
    pub fn look(&mut self, reports: &ReportLook) -> Figures {
        let found = self.attached().and_then(|ring| match ring.status() {
            Err(ReadError::Replaced { .. }) => {
                self.ring = None;
                let ring = self.attached()?;
                let status = ring.status().map_err(NoFigures::of_reading)?;
                Ok((ring, status))
            }
            other => Ok((ring, other.map_err(NoFigures::of_reading)?)),
        });
        match found.and_then(|found| self.still_there().map(|()| found)) {
            Ok((ring, status)) => self.figures(&ring, status, reports),
            Err(trouble) => {
                // What is wrong with an attachment may be right with the next one. None is kept of a ring
                // that is gone: its pages and segment would stay for as long.
                self.ring = None;
                self.readers = None;
                match trouble {
                    NoFigures::Removed => Figures::without_status("removed", None),
                    NoFigures::Unreadable(why) => Figures::without_status("unreadable", Some(why)),
                }
            }
        }
    }

    /// An attachment follows a directory that is moved, and does without metadata that is spoilt. What is
    /// watched is the path: who attaches there now would find nothing.
    fn still_there(&self) -> Result<(), NoFigures> {
        Ring::metadata(&self.home).map(|_| ()).map_err(|error| self.without(&error))
    }

    fn without(&self, error: &AttachError) -> NoFigures {
        match error {
            AttachError::NotARing { .. } if self.was_there => NoFigures::Removed,
            error => NoFigures::Unreadable(error.to_string()),
        }
    }

    fn attached(&mut self) -> Result<Ring, NoFigures> {
        if let Some(ring) = &self.ring {
            return Ok(ring.clone());
        }
        let ring = Ring::attach(&self.home).map_err(|error| self.without(&error))?;
        if self.last_id != Some(ring.ring_id()) {
            self.anew = self.last_id.map(|_| Instant::now());
            (self.last_id, self.was_there) = (Some(ring.ring_id()), true);
            (self.meter, self.oldest, self.newest) = Default::default();
            self.readers = None;
            self.readers_turn.hasten();
            self.disk_turn.hasten();
        }
        Ok(self.ring.insert(ring).clone())
    }

    fn figures(&mut self, ring: &Ring, status: RingStatus, reports: &ReportLook) -> Figures {
        let now = Instant::now();
        self.meter.note(now, &status);
        let newest = self.newest.of(ring, status.tip_seq_no);
        let oldest = self.oldest.of(ring, status.oldest_seq_no);
        if self.readers_turn.is_due(now) {
            self.readers = Some(Arc::new(RankedReaders::of(ring, reports)));
            self.readers_turn.note(now, Instant::now());
        }
        let counted = counter(&status, "disk_bytes");
        if counted > 0 {
            self.disk = counted;
        } else if self.disk_turn.is_due(now) {
            self.disk = disk_bytes(&self.home);
            self.disk_turn.note(now, Instant::now());
        }
        let damage = newest.as_ref().err().or(oldest.as_ref().err()).cloned();
        let anew = self.anew.filter(|anew| anew.elapsed() < NEWS);
        let anew = anew.map(|_| "another ring is here now: it was removed and made anew".to_owned());
        Figures {
            state: state(&status),
            note: damage.or(anew),
            growth: self.meter.growth(),
            disk_bytes: self.disk,
            oldest_ns: oldest.ok().flatten(),
            newest_ns: newest.ok().flatten(),
            readers: self.readers.clone(),
            status: Some(status),
        }
    }
}

impl NoFigures {
    fn of_reading(error: ReadError) -> NoFigures {
        match error {
            ReadError::Gone { .. } => NoFigures::Removed,
            error => NoFigures::Unreadable(error.to_string()),
        }
    }
}

impl Known {
    /// The time of the record with this number. What is wrong with the record is told, but for what is over
    /// by the next look: the writer has dropped the record meanwhile, say.
    fn of(&mut self, ring: &Ring, seq_no: Option<u64>) -> Result<Option<u64>, String> {
        let Some(seq_no) = seq_no else { return Ok(None) };
        if let Some((known, time_ns)) = self.0
            && known == seq_no
        {
            return Ok(Some(time_ns));
        }
        match time_of(ring, seq_no) {
            Ok(time_ns) => {
                self.0 = time_ns.map(|time_ns| (seq_no, time_ns));
                Ok(time_ns)
            }
            Err(error) if passes(&error) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn passes(error: &ReadError) -> bool {
    use ReadError::{Gone, Lapped, Replaced, Rewound};
    matches!(error, Lapped { .. } | Rewound { .. } | Replaced { .. } | Gone { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use waldo::reader::ReportDirectory;

    /// One that is removed before the first look has gone, and is no riddle that stays on the screen.
    #[test]
    fn what_was_found_and_is_not_there_was_removed() {
        let place = tempfile::Builder::new().prefix("waldo-top-").tempdir().unwrap();
        let reports = ReportLook::new(&ReportDirectory::at(place.path()));
        for (was_found, state) in [(true, "removed"), (false, "unreadable")] {
            let figures = Watched::new(place.path().join("none"), was_found).look(&reports);
            assert_eq!((figures.state, figures.note.is_some()), (state, !was_found));
        }
    }
}
