//! Where readers write their reports, and where the reports are read.

use super::ReportError;
use super::files::{OpenFiles, ReportFiles};
use super::process::{ProcessState, ReaderProcess};
use super::report::ReaderReport;
use super::reporter::Reporter;
use crate::reader::Reader;
use nix::unistd::geteuid;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;
use waldo_shm_protocol::RingId;

/// A tmpfs that every user may write to, but where no user may remove another user's files.
const BASE: &str = "/dev/shm";
/// How long a report stays after the death of its process.
const KEPT: Duration = Duration::from_secs(3600);
/// How long it stays if that cannot be told: the process may be waiting for records all the while.
const KEPT_IN_DOUBT: Duration = Duration::from_secs(24 * 3600);
/// Most files of one user and ring that are read. No user has more readers on a machine.
const FILES_MAX: usize = 100_000;
/// Files that a new reader looks at, to remove what dead ones have left: not all, or thirty thousand readers
/// that are started together look at each other's.
const SWEPT_AT_START_MAX: usize = 64;

/// Where readers write their reports, and where the reports are read: `/dev/shm` by default.
///
/// Both sides have to use the same place. Another place should be a tmpfs, with the mode of `/tmp` if readers
/// of several users share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportDirectory {
    base: PathBuf,
}

/// What [`ReportDirectory::reports`] has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderReports {
    /// The reports, by name.
    pub reports: Vec<ReaderReport>,
    /// Files that are not reports, and directories that do not belong to the user in their name.
    pub unusable: u64,
    /// Whether a user has more files than are read.
    pub cut_short: bool,
}

/// Reports of one ring's readers, of this user, that [`ReportDirectory::reports`] leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOverReports {
    /// The directory of the reports.
    pub path: PathBuf,
    /// How many there are.
    pub files: u64,
}

/// Users with reports, and the process that reads them.
#[derive(Clone, Debug)]
pub struct ReportUsers {
    users: Vec<u32>,
    here: ReaderProcess,
}

impl Default for ReportDirectory {
    fn default() -> ReportDirectory {
        ReportDirectory::at(BASE)
    }
}

impl ReportDirectory {
    /// Below `base`.
    pub fn at(base: impl Into<PathBuf>) -> ReportDirectory {
        ReportDirectory { base: base.into() }
    }

    /// Reports `reader` under this name, which other readers may use as well. The first report is written at
    /// once.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn reporter(&self, reader: &Reader, name: &str) -> Result<Reporter, ReportError> {
        let reporter = Reporter::new(self.clone(), reader, name)?;
        self.sweep_some(&reader.ring.meta.ring_id, SWEPT_AT_START_MAX);
        Ok(reporter)
    }

    /// The reports of the readers of a ring: of every user, as far as they may be read.
    ///
    /// Those of dead processes are left out if they are more than an hour old, or if a live reader of the
    /// same user has taken the name.
    ///
    /// # Errors
    /// [`ReportError::Io`] if the directory cannot be read.
    pub fn reports(&self, ring_id: &RingId) -> Result<ReaderReports, ReportError> {
        Ok(self.reports_of(&self.users()?, ring_id))
    }

    /// The users with reports, for [`ReportDirectory::reports_of`].
    ///
    /// # Errors
    /// [`ReportError::Io`] if the directory cannot be read.
    pub fn users(&self) -> Result<ReportUsers, ReportError> {
        let users = ReportFiles::users(&self.base)
            .map_err(|source| ReportError::Io { path: self.base.clone(), source })?;
        Ok(ReportUsers { users, here: ReaderProcess::this() })
    }

    /// As [`ReportDirectory::reports`], for these users only: a caller that looks at many rings need not list
    /// everything in `/dev/shm` for each.
    pub fn reports_of(&self, users: &ReportUsers, ring_id: &RingId) -> ReaderReports {
        let mut found = ReaderReports::default();
        for user in users.users.iter().copied() {
            let place = match ReportFiles::new(&self.base, user, ring_id).open() {
                Ok(place) => place,
                Err(ReportError::Unsafe { .. }) => {
                    found.unusable += 1;
                    continue;
                }
                // None of this ring, or not for us.
                Err(_) => continue,
            };
            let mut files = place.files(FILES_MAX + 1);
            found.cut_short |= files.len() > FILES_MAX;
            files.truncate(FILES_MAX);
            for name in files.iter().filter(|name| !OpenFiles::is_scratch(name)) {
                match place.read(name, ring_id, &users.here) {
                    Ok(report) => found.reports.extend(report),
                    Err(_) => found.unusable += 1,
                }
            }
        }
        let live = live_names(found.reports.iter());
        found.reports.retain(|report| !is_over(report, &live));
        found.reports.sort_by(|a, b| (&a.name, a.user, a.pid).cmp(&(&b.name, b.user, b.pid)));
        found
    }

    /// Removes the reports of this user that [`ReportDirectory::reports`] leaves out. Returns how many.
    pub fn sweep(&self, ring_id: &RingId) -> u64 {
        self.sweep_some(ring_id, FILES_MAX)
    }

    /// The rings for which this user has reports, whether or not they still exist. Readers do not sweep the
    /// reports of a removed ring, because it has no readers any more.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn rings(&self) -> Result<Vec<RingId>, ReportError> {
        ReportFiles::rings(&self.base, geteuid().as_raw())
    }

    /// The reports of this user that [`ReportDirectory::sweep`] would remove. `None` if there are none.
    ///
    /// # Errors
    /// [`ReportError`], if the directory of the ring's reports cannot be trusted or read.
    pub fn left_over(&self, ring_id: &RingId) -> Result<Option<LeftOverReports>, ReportError> {
        let place = self.own(ring_id);
        let open = match place.open() {
            Ok(open) => open,
            // The last reader has ended meanwhile.
            Err(ReportError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let files = over(&open, ring_id, FILES_MAX).len() as u64;
        Ok((files > 0).then(|| LeftOverReports { path: place.path().to_path_buf(), files }))
    }

    fn sweep_some(&self, ring_id: &RingId, files_max: usize) -> u64 {
        let place = self.own(ring_id);
        let Ok(open) = place.open() else { return 0 };
        let names = over(&open, ring_id, files_max);
        let removed = names.iter().filter(|name| open.remove(name)).count();
        place.remove_if_empty();
        removed as u64
    }

    pub(super) fn put(&self, ring_id: &RingId, name: &str, bytes: &[u8]) -> Result<(), ReportError> {
        self.own(ring_id).put(name, bytes)
    }

    pub(super) fn take_away(&self, ring_id: &RingId, name: &str) {
        let place = self.own(ring_id);
        if let Ok(open) = place.open() {
            open.remove(name);
        }
        place.remove_if_empty();
    }

    fn own(&self, ring_id: &RingId) -> ReportFiles {
        ReportFiles::new(&self.base, geteuid().as_raw(), ring_id)
    }
}

/// The names of those files, of the first `files_max`, from which nothing is to be learned any more.
fn over(open: &OpenFiles, ring_id: &RingId, files_max: usize) -> Vec<String> {
    let here = ReaderProcess::this();
    let (mut names, mut reports) = (Vec::new(), Vec::new());
    for name in open.files(files_max) {
        let report = if OpenFiles::is_scratch(&name) { None } else { open.read(&name, ring_id, &here).ok() };
        match report {
            Some(report) => reports.extend(report.map(|report| (name, report))),
            // Not a whole report. One that is being written at this moment is not that old.
            None if open.is_older(&name, KEPT) => names.push(name),
            None => {}
        }
    }
    let live = live_names(reports.iter().map(|(_, report)| report));
    let over = reports.iter().filter(|(_, report)| is_over(report, &live));
    names.extend(over.map(|(name, _)| name.clone()));
    names
}

fn live_names<'r>(reports: impl Iterator<Item = &'r ReaderReport>) -> HashSet<(u32, String)> {
    let live = reports.filter(|report| report.process == ProcessState::Live);
    live.map(|report| (report.user, report.name.clone())).collect()
}

/// Whether nothing is to be learned from a report any more.
fn is_over(report: &ReaderReport, live: &HashSet<(u32, String)>) -> bool {
    match report.process {
        ProcessState::Live => false,
        ProcessState::Dead => report.age() > KEPT || live.contains(&(report.user, report.name.clone())),
        ProcessState::Unknown => report.age() > KEPT_IN_DOUBT,
    }
}
