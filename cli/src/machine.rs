//! The rings of this machine, found by their control segments and by looking into directories.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use waldo::protocol::names;
use waldo::reader::{Cursor, ReadError, ReaderOptions, Ring, RingStatus, WriterStatus};
use waldo::writer::segments::SegmentEntry;

/// How far below a directory rings are looked for.
const DEPTH_MAX: u32 = 8;

/// What a search for rings has found.
#[derive(Debug, Default)]
pub struct Search {
    /// Their directories.
    pub homes: BTreeSet<PathBuf>,
    /// What could not be looked into, and why: rings may be there.
    pub unread: Vec<String>,
}

/// The directories of rings: those that segments name, and those in and below `dirs`.
pub fn homes(segments: &[SegmentEntry], dirs: &[PathBuf]) -> Search {
    let mut found = homes_below(dirs);
    let contents = segments.iter().filter_map(|segment| segment.content.as_ref());
    found.homes.extend(contents.filter(|content| !content.is_gone).map(|content| content.home.clone()));
    found
}

/// Those in and below `dirs` alone.
pub fn homes_below(dirs: &[PathBuf]) -> Search {
    let mut found = Search::default();
    for dir in dirs {
        match dir.canonicalize() {
            Ok(dir) => found.look(&dir, DEPTH_MAX),
            Err(error) => found.pass_over(dir, &error),
        }
    }
    found
}

impl Search {
    /// Links are not followed: a ring has one place, and a search an end.
    fn look(&mut self, dir: &Path, depth: u32) {
        match std::fs::symlink_metadata(dir.join(names::META)) {
            Ok(stat) if stat.is_file() => {
                self.homes.insert(dir.to_path_buf());
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.pass_over(dir, &error);
                return;
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            // It has gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.pass_over(dir, &error),
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.look(&entry.path(), depth - 1);
            }
        }
    }

    fn pass_over(&mut self, dir: &Path, error: &io::Error) {
        self.unread.push(format!("{}: cannot look for rings there: {error}", dir.display()));
    }
}

/// The word for a writer's state, as `waldo stat --json` has it.
pub fn state(status: &RingStatus) -> &'static str {
    match status.writer {
        WriterStatus::Live => "live",
        WriterStatus::Recovering => "recovering",
        WriterStatus::Closed => "closed",
        WriterStatus::Failed { .. } => "failed",
        WriterStatus::Stalled { .. } => "stalled",
        WriterStatus::Restarted { .. } => "restarted",
        WriterStatus::Absent => "absent",
        _ => "unknown",
    }
}

/// When the newest record was appended, in nanoseconds since 1970; `None` if there is none.
///
/// # Errors
/// What reading meets.
pub fn newest_time(ring: &Ring, status: &RingStatus) -> anyhow::Result<Option<u64>> {
    status.tip_seq_no.map_or(Ok(None), |tip| Ok(time_of(ring, tip)?))
}

/// When the record with this number, or the next one that there is, was appended, in nanoseconds since 1970;
/// `None` if there is none.
///
/// # Errors
/// What reading meets.
pub fn time_of(ring: &Ring, seq_no: u64) -> Result<Option<u64>, ReadError> {
    let mut reader = ring.reader_with(Cursor::From(seq_no), ReaderOptions::default().batch_bytes(1))?;
    Ok(reader.poll()?.and_then(|batch| batch.iter().next().map(|record| record.time_ns())))
}

/// What the directory's files take on the disk.
pub fn disk_bytes(home: &Path) -> u64 {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| entry.metadata().ok()).filter(|stat| stat.is_file());
    stats.map(|stat| stat.blocks() * 512).sum()
}
