//! The readers of a ring that report themselves, the worst first.

use crate::lag::readers::{ReaderRow, look_at};
use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};
use waldo::reader::{ReportDirectory, ReportUsers, Ring};
use waldo_terminal::units;

/// One look at the reports of readers, of all rings. Who reports at all is found out once: that is a list of
/// everything in /dev/shm, where each ring has something.
#[derive(Clone, Debug)]
pub struct ReportLook {
    directory: ReportDirectory,
    users: Arc<OnceLock<Result<ReportUsers, String>>>,
}

impl ReportLook {
    /// Nothing is looked at yet.
    pub fn new(directory: &ReportDirectory) -> ReportLook {
        ReportLook { directory: directory.clone(), users: Arc::default() }
    }

    fn users(&self) -> Result<&ReportUsers, String> {
        let users = self.users.get_or_init(|| self.directory.users().map_err(|error| error.to_string()));
        users.as_ref().map_err(Clone::clone)
    }
}

/// What `waldo lag` shows of a ring.
#[derive(Debug, Default)]
pub struct RankedReaders {
    /// Those that have lost their place first, then by how far they are behind.
    pub rows: Vec<ReaderRow>,
    /// Files that are no reports.
    pub unusable: u64,
    /// Not all files have been looked at.
    pub cut_short: bool,
    /// Why they cannot be told.
    pub trouble: Option<String>,
}

impl RankedReaders {
    /// Looks for those of `ring`.
    pub fn of(ring: &Ring, reports: &ReportLook) -> RankedReaders {
        let users = match reports.users() {
            Ok(users) => users,
            Err(trouble) => return RankedReaders { trouble: Some(trouble), ..RankedReaders::default() },
        };
        let found = reports.directory.reports_of(users, &ring.ring_id());
        if found.reports.is_empty() {
            // Nothing has to be compared with the ring. Of many rings, most have no readers that are seen.
            return RankedReaders::sorted(Vec::new(), found.unusable, found.cut_short);
        }
        match look_at(ring, found, std::iter::empty()) {
            Ok(found) => RankedReaders::sorted(found.rows, found.unusable, found.cut_short),
            Err(error) => RankedReaders { trouble: Some(format!("{error:#}")), ..RankedReaders::default() },
        }
    }

    /// These, in order.
    pub fn sorted(mut rows: Vec<ReaderRow>, unusable: u64, cut_short: bool) -> RankedReaders {
        // Stable: of those that are as far behind as each other, `waldo lag` has the order.
        rows.sort_by_key(|row| Reverse(row.rank()));
        RankedReaders { rows, unusable, cut_short, trouble: None }
    }

    /// How far behind the worst is; a word if it has lost its place.
    pub fn worst(&self) -> Option<String> {
        let worst = self.rows.first()?;
        let lost = worst.lost().map(str::to_owned);
        lost.or_else(|| worst.standing.behind.map(units::count))
    }

    /// To sort rings by.
    pub fn rank(&self) -> (bool, u64) {
        let (is_lost, behind) = self.rows.first().map(ReaderRow::rank).unwrap_or_default();
        (is_lost, behind.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lag::standing::{Fit, Standing};
    use waldo::writer::{Writer, WriterOptions};

    fn reader(name: &str, fit: Fit, behind: Option<u64>) -> ReaderRow {
        let standing = Standing { fit, behind, waiting: None };
        ReaderRow { name: name.to_owned(), position: 1, standing, reported: None, process: None }
    }

    fn names(readers: &RankedReaders) -> Vec<&str> {
        readers.rows.iter().map(|row| row.name.as_str()).collect()
    }

    /// With many rings, everything in /dev/shm would be listed once for each.
    #[test]
    fn who_reports_is_found_out_once_a_look() {
        let place = tempfile::Builder::new().prefix("waldo-top-").tempdir().unwrap();
        let home = place.path().join("ring");
        let options = WriterOptions::default().page_len(1 << 20).ring_size(4).remove_control(true);
        Writer::open(&home, options).unwrap().close().unwrap();
        let ring = Ring::attach(&home).unwrap();
        let base = place.path().join("reports");
        std::fs::create_dir(&base).unwrap();
        let directory = ReportDirectory::at(&base);
        let look = ReportLook::new(&directory);
        assert_eq!(RankedReaders::of(&ring, &look).trouble, None);
        std::fs::remove_dir(&base).unwrap();
        assert_eq!(RankedReaders::of(&ring, &look.clone()).trouble, None);
        let trouble = RankedReaders::of(&ring, &ReportLook::new(&directory)).trouble.unwrap();
        assert!(trouble.contains("reports"), "{trouble}");
    }

    #[test]
    fn the_worst_comes_first() {
        let rows = vec![
            reader("new", Fit::Unknown, None),
            reader("near", Fit::Good, Some(0)),
            reader("lost", Fit::Rewound, None),
            reader("far", Fit::Good, Some(7000)),
            reader("overtaken", Fit::Overtaken, Some(9)),
        ];
        let mut readers = RankedReaders::sorted(rows, 0, false);
        assert_eq!(names(&readers), ["overtaken", "lost", "far", "near", "new"]);
        assert_eq!((readers.worst().as_deref(), readers.rank()), (Some("overtaken"), (true, 9)));
        readers.rows.drain(..2);
        assert_eq!((readers.worst().as_deref(), readers.rank()), (Some("7,000"), (false, 7000)));
        readers.rows.drain(..2);
        assert_eq!((readers.worst(), readers.rank()), (None, (false, 0)));
    }
}
