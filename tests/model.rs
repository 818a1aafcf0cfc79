//! A ring against a plain list: whatever is done to it, a reader sees what the list holds.
#![allow(clippy::unwrap_used, reason = "a test, helpers included, fails by panicking")]

use proptest::prelude::*;
use proptest::test_runner::Config;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use waldo::protocol::link::Link;
use waldo::protocol::{Log, names};
use waldo::reader::{
    AttachOptions, Batch, Cursor, Integrity, ReadError, Reader, ReaderOptions, Ring, Wakeup, WriterStatus,
    verify,
};
use waldo::writer::{
    AppendError, Appended, Durability, GeometryChange, Io, OpenReport, SharedWriter, Ticket, Writer,
    WriterOptions,
};

/// Longest that anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// One step. Numbers are taken modulo what makes sense at that moment.
#[derive(Clone, Debug)]
enum Step {
    /// Records with these payload lengths; before each, so many numbers are left out.
    Append(Vec<(u16, u8)>),
    /// Records that the writer numbers.
    AppendNumbered(Vec<u16>),
    /// An append that does not continue the log.
    AppendWrong(u8),
    Sync,
    Reopen {
        ring_size: u32,
    },
    Seek(Seek),
    Poll,
    /// Everything up to the end.
    Drain,
}

#[derive(Clone, Copy, Debug)]
enum Seek {
    Tip,
    Trim,
    After(u32),
    From(u32),
    Since,
    Resume,
}

/// A record of the model.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    seq_no: u64,
    prev: u64,
    data: Vec<u8>,
}

fn lens() -> impl Strategy<Value = u16> {
    prop_oneof![2 => Just(0u16), 6 => 0..200u16, 3 => 200..3000u16, 1 => 3000..7000u16]
}

fn large() -> impl Strategy<Value = u16> {
    prop_oneof![4 => 1500..7000u16, 1 => 0..1600u16]
}

fn step() -> impl Strategy<Value = Step> {
    let seek = prop_oneof![
        Just(Seek::Tip),
        Just(Seek::Trim),
        any::<u32>().prop_map(Seek::After),
        any::<u32>().prop_map(Seek::From),
        Just(Seek::Since),
        Just(Seek::Resume),
    ];
    let gap = prop_oneof![4 => Just(0u8), 1 => any::<u8>()];
    prop_oneof![
        6 => prop::collection::vec((lens(), gap.clone()), 0..40).prop_map(Step::Append),
        4 => prop::collection::vec(lens(), 0..60).prop_map(Step::AppendNumbered),
        // So many bytes that payloads are written from where they are.
        1 => prop::collection::vec(large(), 30..60).prop_map(Step::AppendNumbered),
        1 => prop::collection::vec((large(), gap.clone()), 30..60).prop_map(Step::Append),
        1 => any::<u8>().prop_map(Step::AppendWrong),
        1 => Just(Step::Sync),
        1 => (1..5u32).prop_map(|ring_size| Step::Reopen { ring_size }),
        4 => seek.prop_map(Step::Seek),
        6 => Just(Step::Poll),
        3 => Just(Step::Drain),
    ]
}

/// What is fixed for one case.
#[derive(Clone, Debug)]
struct Case {
    io: Io,
    sync: bool,
    page_len: u64,
    ring_size: u32,
    batch_bytes: usize,
    remove_control: bool,
    prepare_ahead: bool,
    /// Through a [`SharedWriter`].
    shared: bool,
    steps: Vec<Step>,
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop_oneof![Just(Io::Pwrite), Just(Io::Uring), Just(Io::Auto)],
        any::<bool>(),
        prop_oneof![Just(16u64 << 10), Just(32 << 10)],
        1..5u32,
        prop_oneof![Just(1usize), Just(2000), Just(256 << 10)],
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::collection::vec(step(), 1..40),
    )
        .prop_map(
            |(io, sync, page_len, ring_size, batch_bytes, remove_control, prepare_ahead, shared, steps)| {
                Case {
                    io,
                    sync,
                    page_len,
                    ring_size,
                    batch_bytes,
                    remove_control,
                    prepare_ahead,
                    shared,
                    steps,
                }
            },
        )
}

/// What appends.
enum Front {
    Own(Box<Writer>),
    Shared(SharedWriter),
}

impl Front {
    fn open(home: &Path, case: &Case) -> (Front, OpenReport) {
        let writer = Writer::open(home, options(case)).unwrap();
        let opened = writer.open_report().clone();
        (
            if case.shared { Front::Shared(SharedWriter::new(writer)) } else { Front::Own(Box::new(writer)) },
            opened,
        )
    }

    fn append(&mut self, logs: &[Log<'_>]) -> Result<Appended, AppendError> {
        match self {
            Front::Own(writer) => writer.append(logs),
            Front::Shared(writer) => in_flight(logs, |logs| writer.try_append(logs), || writer.append(logs)),
        }
    }

    fn append_payloads(&mut self, payloads: &[Vec<u8>]) -> Result<Appended, AppendError> {
        match self {
            Front::Own(writer) => writer.append_payloads(payloads),
            Front::Shared(writer) => in_flight(
                payloads,
                |payloads| writer.try_append_payloads(payloads),
                || writer.append_payloads(payloads),
            ),
        }
    }

    fn tip(&self) -> Option<u64> {
        match self {
            Front::Own(writer) => writer.tip(),
            Front::Shared(writer) => writer.tip(),
        }
    }

    fn sync(&mut self) -> Result<(), AppendError> {
        match self {
            Front::Own(writer) => writer.sync(),
            Front::Shared(writer) => writer.sync(),
        }
    }

    fn close(self) -> Result<(), AppendError> {
        match self {
            Front::Own(writer) => writer.close(),
            Front::Shared(writer) => writer.close(),
        }
    }
}

/// Appends many records in parts that are all queued before the first one is answered, few as they are.
fn in_flight<T>(
    items: &[T],
    queue: impl Fn(&[T]) -> Result<Ticket, AppendError>,
    whole: impl FnOnce() -> Result<Appended, AppendError>,
) -> Result<Appended, AppendError> {
    const PARTS: usize = 5;
    if items.len() < PARTS {
        return whole();
    }
    let tickets: Vec<_> = items.chunks(items.len().div_ceil(PARTS)).map(queue).collect();
    let mut sum: Option<Appended> = None;
    for ticket in tickets {
        let part = ticket?.wait()?;
        let before = sum.unwrap_or(Appended { records: 0, ..part });
        if let Some(sum) = sum {
            assert_eq!(part.first_seq_no > sum.last_seq_no, part.records > 0);
        }
        sum = Some(Appended {
            first_seq_no: before.first_seq_no,
            records: before.records + part.records,
            ..part
        });
    }
    Ok(sum.unwrap())
}

struct World {
    case: Case,
    home: TempDir,
    writer: Option<Front>,
    ring: Ring,
    reader: Reader,
    /// Everything ever appended.
    log: Vec<Entry>,
    /// How many of them come before the reader's place; `None` if that cannot be told.
    place: Option<usize>,
}

impl World {
    fn new(case: Case) -> World {
        let home = tempfile::Builder::new().prefix("waldo-model-").tempdir().unwrap();
        let (writer, _) = Front::open(home.path(), &case);
        let options = AttachOptions::default().check_interval(Duration::from_millis(5));
        let ring = Ring::attach_with(home.path(), options).unwrap();
        let reader = ring.reader_with(Cursor::Oldest, reader_options(&case)).unwrap();
        World { case, home, writer: Some(writer), ring, reader, log: Vec::new(), place: Some(0) }
    }

    fn tip(&self) -> u64 {
        self.log.last().map_or(0, |entry| entry.seq_no)
    }

    fn writer(&mut self) -> &mut Front {
        self.writer.as_mut().unwrap()
    }

    /// How many records come before the first with a number above `seq_no`.
    fn after(&self, seq_no: u64) -> usize {
        self.log.partition_point(|entry| entry.seq_no <= seq_no)
    }

    fn append(&mut self, records: &[(u16, u8)]) {
        let mut entries: Vec<Entry> = Vec::new();
        let mut prev = self.tip();
        for (len, gap) in records {
            let seq_no = prev + 1 + u64::from(*gap);
            entries.push(Entry { seq_no, prev, data: data(seq_no, *len) });
            prev = seq_no;
        }
        let logs: Vec<Log<'_>> =
            entries.iter().map(|entry| Log::new_borrowed(entry.seq_no, entry.prev, &entry.data)).collect();
        let appended = self.writer().append(&logs).unwrap();
        assert_eq!((appended.records, appended.last_seq_no), (entries.len(), prev));
        self.log.extend(entries);
    }

    fn append_numbered(&mut self, lens: &[u16]) {
        let tip = self.tip();
        let payloads: Vec<Vec<u8>> = lens.iter().zip(tip + 1..).map(|(len, n)| data(n, *len)).collect();
        let appended = self.writer().append_payloads(&payloads).unwrap();
        assert_eq!((appended.records, appended.last_seq_no), (lens.len(), tip + lens.len() as u64));
        let entries = payloads.into_iter().zip(tip + 1..);
        self.log.extend(entries.map(|(data, seq_no)| Entry { seq_no, prev: seq_no - 1, data }));
    }

    fn append_wrong(&mut self, how: u8) {
        let tip = self.tip();
        let good = Log::new_borrowed(tip + 1, tip, b"good");
        let (bad, size) = match how % 3 {
            // In an empty ring any predecessor will do, so the second record is the wrong one.
            0 => (Log::new_borrowed(tip + 9, tip + 7, b"bad"), false),
            1 => (Log::new_borrowed(tip + 1, tip + 1, b"bad"), false),
            _ => (Log::new_owned(tip + 2, tip + 1, vec![0; 40 << 10]), true),
        };
        match self.writer().append(&[good, bad]) {
            Err(AppendError::TooLarge { .. }) => assert!(size),
            Err(AppendError::Sequence { .. } | AppendError::NotIncreasing { .. }) => assert!(!size),
            other => panic!("{other:?}"),
        }
    }

    fn reopen(&mut self, ring_size: u32) {
        if self.case.remove_control {
            while self.read() {}
        }
        self.writer.take().unwrap().close().unwrap();
        self.case.ring_size = ring_size;
        let (writer, opened) = Front::open(self.home.path(), &self.case);
        assert!(opened.clean && opened.cut.is_none(), "{opened:?}");
        assert_eq!(opened.tip.unwrap_or(0), self.tip());
        self.writer = Some(writer);
        if self.case.remove_control {
            // A reader notices while it waits that the control segment is another one now.
            while let Wakeup::Writer(WriterStatus::Closed) | Wakeup::TimedOut =
                self.reader.wait(Some(DEADLINE)).unwrap()
            {}
        }
    }

    fn seek(&mut self, seek: Seek) {
        let tip = self.tip();
        // Also a little beyond the end.
        let number = |any: u32| u64::from(any) % (tip + 20);
        let (outcome, place) = match seek {
            Seek::Tip => (self.reader.seek(Cursor::Tip), Some(self.log.len())),
            Seek::Trim => (self.reader.seek(Cursor::Oldest), None),
            Seek::After(any) => (self.reader.seek(Cursor::After(number(any))), Some(self.after(number(any)))),
            Seek::From(any) => {
                (self.reader.seek(Cursor::From(number(any))), Some(self.after(number(any).saturating_sub(1))))
            }
            Seek::Since => (self.reader.seek(Cursor::Since(std::time::UNIX_EPOCH)), None),
            Seek::Resume => {
                let Some(checkpoint) = self.reader.checkpoint() else { return };
                match self.ring.resume(&checkpoint, reader_options(&self.case)) {
                    Ok(reader) => {
                        self.reader = reader;
                        (Ok(()), Some(self.after(checkpoint.seq_no)))
                    }
                    Err(error) => (Err(error), Some(self.after(checkpoint.seq_no))),
                }
            }
        };
        match outcome {
            Ok(()) => {
                // Numbers beyond the end name the first record above them, wherever that will be.
                self.place = match seek {
                    Seek::After(any) if number(any) > tip => None,
                    Seek::From(any) if number(any) > tip + 1 => None,
                    Seek::Resume => place,
                    _ => place,
                };
                if self.place.is_none() {
                    self.settle(seek);
                }
            }
            Err(ReadError::Lapped { oldest, .. }) => {
                let place = place.expect("only a number can have been trimmed");
                let there = self.after(oldest - 1);
                assert_eq!(self.log[there].seq_no, oldest);
                assert!(place < there, "{seek:?}: lapped, but the record asked for is there");
                self.reader.seek(Cursor::Oldest).unwrap();
                self.settle(Seek::Trim);
            }
            Err(error) => panic!("{seek:?}: {error}"),
        }
    }

    /// After a seek whose place the list does not tell: goes on with the first record that comes.
    fn settle(&mut self, seek: Seek) {
        if let Seek::Trim | Seek::Since = seek {
            match self.poll() {
                Some(batch) => {
                    let first = batch.first_seq_no();
                    let place = self.after(first - 1);
                    self.place = Some(place);
                    self.compare(&batch);
                }
                None => assert!(self.log.is_empty(), "nothing at the oldest record"),
            }
        } else {
            // Beyond the end: the reader passes over what is appended below that. Not followed up here.
            self.reader.seek(Cursor::Tip).unwrap();
            self.place = Some(self.log.len());
        }
    }

    /// The next batch. A reader that is lapped goes on at the oldest record, which must be where it is said.
    fn poll(&mut self) -> Option<Batch> {
        loop {
            match self.reader.poll() {
                Ok(batch) => return batch,
                Err(ReadError::Lapped { requested, oldest, lost }) => {
                    let there = self.after(oldest - 1);
                    assert_eq!(self.log[there].seq_no, oldest);
                    if let Some(place) = self.place {
                        if place > 0 {
                            // A cursor may name a number in the gap behind the record before it.
                            let before = self.log[place - 1].seq_no;
                            let next = self.log.get(place).map_or(u64::MAX, |log| log.seq_no);
                            assert!((before..next).contains(&requested), "{requested}: {before} to {next}");
                        }
                        assert!(there >= place);
                        assert!(lost.is_none_or(|lost| lost == (there - place) as u64), "{lost:?}");
                    }
                    self.reader
                        .seek(Cursor::From(oldest))
                        .or_else(|_| self.reader.seek(Cursor::Oldest))
                        .unwrap();
                    self.place = None;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Compares a batch with the list from the reader's place on.
    fn compare(&mut self, batch: &Batch) {
        let place = match self.place {
            Some(place) => place,
            None => self.after(batch.first_seq_no() - 1),
        };
        let want = &self.log[place..place + batch.len()];
        for (record, entry) in batch.iter().zip(want) {
            assert_eq!((record.seq_no(), record.prev_seq_no()), (entry.seq_no, entry.prev));
            assert!(record.data() == entry.data, "payload of record {}", entry.seq_no);
        }
        self.place = Some(place + batch.len());
    }

    fn read(&mut self) -> bool {
        match self.poll() {
            Some(batch) => {
                self.compare(&batch);
                true
            }
            None => {
                let place = self.place.unwrap_or(self.log.len());
                assert_eq!(place, self.log.len(), "the reader sees less than there is");
                false
            }
        }
    }

    fn run(&mut self) {
        for step in std::mem::take(&mut self.case.steps) {
            match step {
                Step::Append(records) => self.append(&records),
                Step::AppendNumbered(lens) => self.append_numbered(&lens),
                Step::AppendWrong(how) => self.append_wrong(how),
                Step::Sync => self.writer().sync().unwrap(),
                Step::Reopen { ring_size } => self.reopen(ring_size),
                Step::Seek(seek) => self.seek(seek),
                Step::Poll => drop(self.read()),
                Step::Drain => while self.read() {},
            }
            assert_eq!(self.writer().tip().unwrap_or(0), self.tip());
        }
        while self.read() {}
        self.writer.take().unwrap().close().unwrap();
        verify::verify(self.home.path(), &mut |_| {}).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Before its directory goes, in which it may be making a page at this moment.
        drop(self.writer.take());
        let link = std::fs::read(self.home.path().join(names::LINK)).ok();
        if let Some(Ok(Link::Posix(name))) = link.map(|link| Link::parse(&link)) {
            // Nothing is left in shared memory, whatever happens to the test.
            let _ = nix::sys::mman::shm_unlink(name.as_str());
        }
    }
}

fn options(case: &Case) -> WriterOptions {
    WriterOptions::default()
        .ring_size(case.ring_size)
        .page_len(case.page_len)
        .index_capacity(16)
        .index_sparse_bytes(512)
        .index_sparse_count(7)
        .geometry_change(GeometryChange::Apply)
        .durability(match case.sync {
            true => Durability::Sync,
            false => Durability::Interval(Duration::from_millis(5)),
        })
        .io(case.io)
        .buffers(3)
        .buffer_len(4096)
        .remove_control(case.remove_control)
        .prepare_ahead(case.prepare_ahead)
}

fn reader_options(case: &Case) -> ReaderOptions {
    ReaderOptions::default().integrity(Integrity::Payloads).batch_bytes(case.batch_bytes)
}

fn data(seq_no: u64, len: u16) -> Vec<u8> {
    (0..len).map(|at| (seq_no.wrapping_mul(0x9e37_79b9).wrapping_add(u64::from(at) * 7) >> 3) as u8).collect()
}

#[test]
fn a_ring_holds_what_a_list_holds() {
    // PROPTEST_CASES asks for more; a failure is shrunk and printed, not kept in a file.
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { 48 };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    proptest!(config, |(case in case())| World::new(case).run());
}
