//! The readers of a ring that make themselves seen, with the worst first.

use crate::lag::readers::{ReaderRow, look};
use std::cmp::Reverse;
use waldo::reader::{ReportDirectory, Ring};
use waldo_terminal::units;

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
    pub fn of(ring: &Ring, directory: &ReportDirectory) -> RankedReaders {
        match look(ring, directory, std::iter::empty()) {
            Ok(found) => RankedReaders::sorted(found.rows, found.unusable, found.cut_short),
            Err(error) => RankedReaders { trouble: Some(format!("{error:#}")), ..RankedReaders::default() },
        }
    }

    /// These, in order.
    pub fn sorted(mut rows: Vec<ReaderRow>, unusable: u64, cut_short: bool) -> RankedReaders {
        // Stable: of those that are as far behind as each other, `waldo lag` has the order.
        rows.sort_by_key(|row| Reverse((row.standing.is_lost(), row.standing.behind)));
        RankedReaders { rows, unusable, cut_short, trouble: None }
    }

    /// How far behind the worst is; a word if it has lost its place.
    pub fn worst(&self) -> Option<String> {
        let worst = self.rows.first()?;
        match worst.standing.behind {
            Some(behind) if !worst.standing.is_lost() => Some(units::count(behind)),
            _ if worst.standing.is_lost() => Some(worst.state().to_owned()),
            _ => None,
        }
    }

    /// To sort rings by.
    pub fn rank(&self) -> (bool, u64) {
        let standing = self.rows.first().map(|row| row.standing);
        standing.map_or((false, 0), |standing| (standing.is_lost(), standing.behind.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lag::standing::{Fit, Standing};

    fn reader(name: &str, fit: Fit, behind: Option<u64>) -> ReaderRow {
        let standing = Standing { fit, behind, waiting: None };
        ReaderRow { name: name.to_owned(), position: 1, standing, reported: None, process: None }
    }

    fn names(readers: &RankedReaders) -> Vec<&str> {
        readers.rows.iter().map(|row| row.name.as_str()).collect()
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
