//! The rings of this machine, found by their control segments and by looking into directories.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use waldo::protocol::names;
use waldo::reader::{Cursor, ReaderOptions, Ring, RingStatus, WriterStatus};
use waldo::writer::segments::SegmentEntry;

/// How far below a directory rings are looked for.
const DEPTH_MAX: u32 = 8;

/// The directories of rings: those that segments name, and those in and below `dirs`.
///
/// # Errors
/// If one of `dirs` cannot be read. What lies below and cannot be read is passed over.
pub fn homes(segments: &[SegmentEntry], dirs: &[PathBuf]) -> io::Result<BTreeSet<PathBuf>> {
    let contents = segments.iter().filter_map(|segment| segment.content.as_ref());
    let mut found: BTreeSet<PathBuf> =
        contents.filter(|content| !content.is_gone).map(|content| content.home.clone()).collect();
    found.append(&mut homes_below(dirs)?);
    Ok(found)
}

/// Those in and below `dirs` alone.
///
/// # Errors
/// As [`homes`].
pub fn homes_below(dirs: &[PathBuf]) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for dir in dirs {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
        let dir = dir.canonicalize().map_err(named)?;
        std::fs::read_dir(&dir).map_err(named)?;
        search(&dir, DEPTH_MAX, &mut found);
    }
    Ok(found)
}

/// Links are not followed: a ring has one place, and a search an end.
fn search(dir: &Path, depth: u32, found: &mut BTreeSet<PathBuf>) {
    if std::fs::symlink_metadata(dir.join(names::META)).is_ok_and(|stat| stat.is_file()) {
        found.insert(dir.to_path_buf());
        return;
    }
    let entries = if depth > 0 { std::fs::read_dir(dir).ok() } else { None };
    for entry in entries.into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            search(&entry.path(), depth - 1, found);
        }
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
    let Some(tip) = status.tip_seq_no else { return Ok(None) };
    let mut reader = ring.reader_with(Cursor::From(tip), ReaderOptions::default().batch_bytes(1))?;
    Ok(reader.poll()?.and_then(|batch| batch.iter().next().map(|record| record.time_ns())))
}
