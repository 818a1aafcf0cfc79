//! The readers of a ring, and where they are.

use super::standing::{Fit, Standing};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use waldo::reader::{
    Checkpoint, ProcessState, ReadError, ReaderReport, ReaderReports, ReportDirectory, Ring, WriterStatus,
};

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
    look_at(ring, directory.reports(&ring.ring_id())?, files)
}

/// The same, for reports that have been looked for.
///
/// # Errors
/// If the ring cannot be read.
pub fn look_at<'c>(
    ring: &Ring,
    found: ReaderReports,
    files: impl Iterator<Item = (&'c PathBuf, &'c Checkpoint)>,
) -> anyhow::Result<RingReaders> {
    // Read last, so that no reader is ahead of it.
    let status = ring.status()?;
    let tip = status.tip_seq_no;
    let is_opened = status.writer == WriterStatus::Recovering;
    // Most readers of a crowd stand in the same few places.
    let mut known = HashMap::new();
    let mut standing = |position: &Checkpoint| {
        let key = (position.seq_no, position.epoch, position.checksum);
        if is_opened {
            // Nothing says now where the log ends.
            return Ok(Standing::lost(Fit::Unknown));
        }
        Ok::<_, ReadError>(match known.entry(key) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(Standing::of(ring, tip, position)?),
        })
    };
    let mut rows = Vec::with_capacity(found.reports.len());
    for report in found.reports {
        let known = report.position.seq_no > 0;
        let standing = if known { standing(&report.position)? } else { Standing::lost(Fit::Unknown) };
        rows.push(ReaderRow::of_report(report, standing));
    }
    for (path, checkpoint) in files {
        rows.push(ReaderRow {
            name: path.display().to_string(),
            position: checkpoint.seq_no,
            // Number 0 is the beginning of the ring.
            standing: standing(checkpoint)?,
            reported: path.metadata().and_then(|stat| stat.modified()).ok(),
            process: None,
        });
    }
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

    /// Greater than that of another row if this reader is worse off: those that have lost their place are,
    /// and then those that are further behind.
    pub fn rank(&self) -> (bool, Option<u64>) {
        (self.standing.is_lost(), self.standing.behind)
    }

    /// A word for how it is, if it has lost its place.
    pub fn lost(&self) -> Option<&'static str> {
        self.standing.is_lost().then(|| self.state())
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
