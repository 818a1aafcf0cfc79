//! The readers of a ring, and where they are.

use super::standing::{Fit, Standing};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use waldo::reader::{Checkpoint, ProcessState, ReaderReport, ReportDirectory, Ring};

/// Those of one ring.
#[derive(Debug)]
pub struct RingReaders {
    /// Its directory.
    pub home: PathBuf,
    /// Its newest record.
    pub tip: Option<u64>,
    /// Each reader, and each checkpoint file.
    pub rows: Vec<ReaderRow>,
    /// Files that are no reports.
    pub unusable: u64,
    /// Not all files have been looked at.
    pub cut_short: bool,
}

/// A reader or a checkpoint file.
#[derive(Debug)]
pub struct ReaderRow {
    /// What it calls itself; the path of the file.
    pub name: String,
    /// The last record that it has dealt with; 0 if there is none, or it has not said.
    pub position: u64,
    /// How that stands to the ring.
    pub standing: Standing,
    /// When it said so.
    pub reported: Option<SystemTime>,
    /// Its process; `None` for a file.
    pub process: Option<ReaderOrigin>,
}

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub struct ReaderOrigin {
    /// Whether it still runs.
    pub state: ProcessState,
    /// The number of the process.
    pub pid: u32,
    /// The user.
    pub user: u32,
}

/// Looks for the readers of `ring`, and for these checkpoint files.
///
/// # Errors
/// If the reports cannot be listed, or the ring cannot be read.
pub fn look<'c>(
    ring: &Ring,
    directory: &ReportDirectory,
    files: impl Iterator<Item = (&'c PathBuf, &'c Checkpoint)>,
) -> anyhow::Result<RingReaders> {
    let found = directory.reports(&ring.ring_id())?;
    let files: Vec<_> = files.collect();
    // Read last, so that no reader is ahead of it.
    let tip = ring.status()?.tip_seq_no;
    // Most readers of a crowd stand in the same few places.
    let mut known = HashMap::new();
    let mut standing = |position: &Checkpoint| {
        let key = (position.seq_no, position.epoch, position.checksum);
        *known.entry(key).or_insert_with(|| Standing::of(ring, tip, position))
    };
    let rows = found.reports.into_iter().map(|report| {
        let known = report.position.seq_no > 0;
        let standing = if known { standing(&report.position) } else { Standing::lost(Fit::Unknown) };
        ReaderRow::of_report(report, standing)
    });
    let mut rows: Vec<_> = rows.collect();
    rows.extend(files.into_iter().map(|(path, checkpoint)| ReaderRow {
        name: path.display().to_string(),
        position: checkpoint.seq_no,
        // Number 0 is the beginning of the ring.
        standing: standing(checkpoint),
        reported: path.metadata().and_then(|stat| stat.modified()).ok(),
        process: None,
    }));
    let (unusable, cut_short) = (found.unusable, found.cut_short);
    Ok(RingReaders { home: ring.home().to_path_buf(), tip, rows, unusable, cut_short })
}

impl ReaderRow {
    fn of_report(report: ReaderReport, standing: Standing) -> ReaderRow {
        let ReaderReport { name, user, pid, process: state, position, time, .. } = report;
        let process = Some(ReaderOrigin { state, pid, user });
        ReaderRow { name, position: position.seq_no, standing, reported: Some(time), process }
    }

    /// A word for how it is.
    pub fn state(&self) -> &'static str {
        match (self.standing.fit, &self.process) {
            (Fit::Overtaken, _) => "overtaken",
            (Fit::Rewound, _) => "rewound",
            (Fit::Diverged, _) => "diverged",
            (_, None) => "saved",
            (_, Some(process)) => process.word(),
        }
    }

    /// How long ago it said so.
    pub fn age(&self) -> Option<Duration> {
        self.reported.map(|time| time.elapsed().unwrap_or_default())
    }
}

impl ReaderOrigin {
    /// A word for how it is.
    pub fn word(&self) -> &'static str {
        match self.state {
            ProcessState::Live => "live",
            ProcessState::Dead => "dead",
            _ => "unknown",
        }
    }
}
