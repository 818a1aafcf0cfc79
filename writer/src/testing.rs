//! What the tests of several modules need: a home that cleans up after itself, and the ring's content read
//! from the files alone.

pub(crate) mod dam;

pub(crate) use crate::engine::EngineOverride;
use crate::{Durability, Io, Writer, WriterOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::page::PageHeader;
use waldo_shm_protocol::scan::{PageScan, PayloadCheck, Step};
use waldo_shm_protocol::{names, record::RecordFault};

/// A home directory; goes with its control segment when dropped.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn page(&self, id: u64) -> PathBuf {
        self.path().join(names::page(id))
    }

    pub(crate) fn open(&self, options: &WriterOptions) -> Writer {
        Writer::open(self.path(), options.clone()).unwrap()
    }

    /// Makes `target` a copy of the files as they are now.
    pub(crate) fn copy_to(&self, target: &Home) {
        for entry in std::fs::read_dir(self.path()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            // The copy has a control segment of its own.
            if name != names::LINK {
                // A writer that runs may just be naming its next page.
                match std::fs::copy(entry.path(), target.path().join(name)) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    other => drop(other.unwrap()),
                }
            }
        }
    }

    /// Names and contents of everything but lock and link.
    pub(crate) fn content(&self) -> Vec<(String, Vec<u8>)> {
        let mut content: Vec<_> = std::fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name() != names::LINK && entry.file_name() != names::LOCK)
            .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
            .collect();
        content.sort();
        content
    }

    /// The names in the directory, in order. A writer that runs may take any of them away at once.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn page_ids(&self) -> Vec<u64> {
        self.names().iter().filter_map(|name| names::parse_page(name)).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let link = std::fs::read(self.path().join(names::LINK)).ok();
        match link.and_then(|content| Link::parse(&content).ok()) {
            Some(Link::Posix(name)) => drop(nix::sys::mman::shm_unlink(name.as_str())),
            Some(Link::Path(path)) => drop(std::fs::remove_file(path)),
            None => {}
        }
    }
}

/// Small pages, so that every corner is met soon.
pub(crate) fn small(io: Io, durability: Durability) -> WriterOptions {
    WriterOptions {
        ring_size: 4,
        page_len: 32 << 10,
        index_capacity: 16,
        index_sparse_bytes: 1024,
        index_sparse_count: 8,
        buffer_len: 4096,
        buffers: 4,
        queue_depth: 4,
        durability,
        io,
        ..WriterOptions::default()
    }
}

/// A flush only when it is asked for.
pub(crate) const LAZY: Durability = Durability::Interval(Duration::from_secs(3600));

/// Options to test with. Each is told to the engines that this thread opens as it is taken, until the next
/// one is: to be used in a loop that opens its writers on its own thread.
pub(crate) struct Regimes(std::vec::IntoIter<(WriterOptions, Option<EngineOverride>)>);

impl Regimes {
    fn only(self, wanted: impl Fn(&WriterOptions, Option<EngineOverride>) -> bool) -> Regimes {
        let mut all: Vec<_> = self.0.clone().collect();
        all.retain(|(options, engine)| wanted(options, *engine));
        Regimes(all.into_iter())
    }
}

impl Iterator for Regimes {
    type Item = WriterOptions;

    fn next(&mut self) -> Option<WriterOptions> {
        let next = self.0.next();
        EngineOverride::set(next.as_ref().and_then(|(_, engine)| *engine));
        next.map(|(options, _)| options)
    }
}

impl Drop for Regimes {
    fn drop(&mut self) {
        EngineOverride::set(None);
    }
}

/// Every engine in both modes, with pages made ahead and at the rotation; and as it would be on other
/// machines.
pub(crate) fn regimes() -> Regimes {
    let mut all = Vec::new();
    for durability in [Durability::Sync, LAZY] {
        for io in Io::ALL {
            for prepare_ahead in [true, false] {
                all.push((WriterOptions { prepare_ahead, ..small(io, durability) }, None));
            }
        }
        all.extend(EngineOverride::ALL.map(|engine| (small(Io::Uring, durability), Some(engine))));
    }
    Regimes(all.into_iter())
}

/// The regimes of which every write and flush goes through [`DiskFile`](crate::disk::DiskFile), where a
/// [`FaultyDisk`](crate::disk::faulty::FaultyDisk) can let it fail. What it does to the others is in
/// `writer/tests/in_flight.rs`.
pub(crate) fn regimes_in_place() -> Regimes {
    regimes().only(|options, engine| options.io == Io::Pwrite || engine == Some(EngineOverride::AllInPlace))
}

/// The regimes of which everything but lone small pieces goes through the ring.
pub(crate) fn regimes_in_flight() -> Regimes {
    regimes().only(|options, engine| options.io == Io::Uring && engine != Some(EngineOverride::AllInPlace))
}

/// The payload of record `seq_no`: its length and bytes follow from its number.
pub(crate) fn payload(seq_no: u64) -> Vec<u8> {
    let len = (seq_no * 7919) % 1500;
    (0..len).map(|i| (seq_no.wrapping_mul(31).wrapping_add(i * 7)) as u8).collect()
}

pub(crate) fn payloads(range: std::ops::RangeInclusive<u64>) -> Vec<Vec<u8>> {
    range.map(payload).collect()
}

/// A record's number and payload.
pub(crate) type Numbered = (u64, Vec<u8>);

/// Every record that the page files hold, with all checks; what ended each page, but for its seal, is told
/// too.
pub(crate) fn read_all(home: &Path) -> (Vec<Numbered>, Vec<(u64, RecordFault)>) {
    let mut ids: Vec<u64> = std::fs::read_dir(home)
        .unwrap()
        .filter_map(|entry| names::parse_page(entry.unwrap().file_name().to_str()?))
        .collect();
    ids.sort_unstable();
    let (mut records, mut faults, mut prev) = (Vec::new(), Vec::new(), None);
    for id in ids {
        let bytes = match std::fs::read(home.join(names::page(id))) {
            // A writer that runs has just trimmed it, and all before it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                (records, faults, prev) = (Vec::new(), Vec::new(), None);
                continue;
            }
            read => read.unwrap(),
        };
        let header = PageHeader::check_any(&bytes, bytes.len() as u64).unwrap();
        let mut scan = PageScan::new(&header, prev, 0, PayloadCheck::Verify);
        loop {
            match scan.step(&bytes, 0) {
                Step::Record { offset, record } => {
                    let start = offset as usize + 48;
                    records.push((record.seq_no(), bytes[start..start + record.payload_len()].to_vec()));
                    prev = Some(record.seq_no());
                }
                Step::Seal { .. } => break,
                Step::Fault { fault, .. } => {
                    faults.push((id, fault));
                    break;
                }
                Step::More { .. } => unreachable!("the window is the page"),
            }
        }
    }
    (records, faults)
}

/// Asserts that the files hold an unbroken run of records up to `last`, each as it was made by [`payload`].
pub(crate) fn assert_run(home: &Path, last: u64) {
    let (records, _) = read_all(home);
    let first = last + 1 - records.len() as u64;
    for (record, seq_no) in records.iter().zip(first..) {
        assert_eq!(record.0, seq_no);
        assert_eq!(record.1, payload(seq_no), "payload of record {seq_no}");
    }
    assert_eq!(records.last().map(|record| record.0), Some(last));
}
