//! Rings as a writer leaves them, kept in memory, to be damaged.

use crate::payload::{self, Origin};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
use waldo::protocol::names;
use waldo::writer::{ControlPlace, Durability, Io, Writer, WriterOptions};

/// The segment's file, beside the ring's own.
pub const CONTROL: &str = "control";

pub struct Sample {
    /// The ring's files, the segment among them.
    pub files: BTreeMap<String, Vec<u8>>,
    pub last: u64,
    /// It was closed: every record is durable, and `ring.meta` says so.
    pub closed: bool,
}

/// What writers of samples and of damaged rings are opened with. The control segment is in the ring's
/// directory.
pub fn options(home: &Path, ring_size: u32, page_len: u64) -> WriterOptions {
    WriterOptions::default()
        .ring_size(ring_size)
        .page_len(page_len)
        .index_capacity(16)
        .index_sparse_bytes(1024)
        .index_sparse_count(8)
        .durability(Durability::Interval(Duration::from_secs(3600)))
        .io(Io::Pwrite)
        .buffers(2)
        .buffer_len(8 << 10)
        .control(ControlPlace::Path(home.join(CONTROL)))
}

/// All of them.
pub fn all() -> &'static [Sample] {
    static ALL: OnceLock<Vec<Sample>> = OnceLock::new();
    ALL.get_or_init(|| vec![make(120, 1, true), make(120, 1, false), make(300, 3, true), make(9, 2, false)])
}

/// A ring of 3 pages whose writers have appended `records` each, `lives` times.
fn make(records: u64, lives: u64, close: bool) -> Sample {
    let root = room();
    let home = root.path().join("ring");
    for life in 1..=lives {
        let mut writer = Writer::open(&home, options(&home, 3, 16 << 10)).unwrap();
        let first = writer.tip().unwrap_or(0) + 1;
        for seq_no in first..first + records {
            writer.append_payloads(&[payload::make(Origin { seq_no, life: 1 }, 300)]).unwrap();
        }
        if life == lives && !close {
            return taken(&home, writer.tip().unwrap_or(0), false);
        }
        writer.close().unwrap();
    }
    taken(&home, lives * records, true)
}

fn taken(home: &Path, last: u64, closed: bool) -> Sample {
    let files = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let files = files
        .filter(|path| path.file_name().unwrap() != names::LOCK)
        // A preparer may be at it.
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), fs::read(&path).ok()?)))
        .collect();
    Sample { files, last, closed }
}

/// A directory in memory, where there is one.
pub fn room() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    let prefix = prefix();
    let builder = builder.prefix(&prefix);
    builder.tempdir_in(SHM).or_else(|_| builder.tempdir()).unwrap()
}

const SHM: &str = "/dev/shm";

fn prefix() -> String {
    format!("waldo-fuzz-{}-", std::process::id())
}

/// Removes what this process has in memory, before it is aborted.
pub fn clear() {
    for entry in fs::read_dir(SHM).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
