//! Rings, and what they hold.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use waldo::reader::{Cursor, Ring};
use waldo::writer::{ControlPlace, Durability, Writer, WriterOptions};

/// A place for a ring and a socket. Removed when dropped.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    pub fn home(&self) -> PathBuf {
        self.dir().join("ring")
    }

    pub fn socket(&self) -> PathBuf {
        self.dir().join("socket")
    }
}

/// How a ring acknowledges: 0 durable, 1 committed, with flushes at an interval, 2 committed.
pub fn durability(number: u64) -> Durability {
    match number {
        0 => Durability::Sync,
        1 => Durability::Interval(Duration::from_millis(20)),
        _ => Durability::PageCache,
    }
}

/// Opens the ring in `dir` for writing. Nothing is left in shared memory.
pub fn open(dir: &Path, durability: Durability) -> Writer {
    let options = WriterOptions::default()
        // More than any test fills.
        .ring_size(1024)
        .page_len(1 << 20)
        .index_capacity(256)
        .durability(durability)
        .control(ControlPlace::Path(dir.join("control")));
    Writer::open(dir.join("ring"), options).unwrap()
}

/// Every record's number and payload, from the files.
pub fn records(home: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut reader = Ring::attach(home).unwrap().reader(Cursor::Oldest).unwrap();
    let mut records = Vec::new();
    while let Some(batch) = reader.poll().unwrap() {
        records.extend(batch.iter().map(|record| (record.seq_no(), record.data().to_vec())));
    }
    records
}

/// Payload of record `number` of a producer.
pub fn payload(name: &str, number: u64) -> Vec<u8> {
    format!("{name} {number}").into_bytes()
}

/// The numbers of each producer's records, in the order of the log. Sequence numbers have no gaps.
pub fn numbers_by_producer(home: &Path) -> HashMap<String, Vec<u64>> {
    let mut found: HashMap<String, Vec<u64>> = HashMap::new();
    let records = records(home);
    for (index, (seq_no, data)) in records.iter().enumerate() {
        assert_eq!(*seq_no, 1 + index as u64);
        let text = std::str::from_utf8(data).unwrap();
        let (name, number) = text.rsplit_once(' ').unwrap();
        found.entry(name.to_owned()).or_default().push(number.parse().unwrap());
    }
    found
}

/// Nothing lost, nothing twice, in order.
pub fn assert_each_once(numbers: &[u64], last: u64, name: &str) {
    let expected: Vec<u64> = (1..=last).collect();
    assert!(numbers == expected, "{name}: {} records of {last}", numbers.len());
}
