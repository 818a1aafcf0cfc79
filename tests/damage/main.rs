//! Damage, anywhere in a ring: `verify` and `repair` have to agree about whether it is damage, and after a
//! repair all is in order.
//!
//! `repair` called a ring "in order" that `verify` called damaged, because no record followed the bad one, or
//! none stood before it: each had ways of its own to find damage.
#![allow(clippy::unwrap_used, reason = "a test, helpers included, fails by panicking")]

mod twice;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use waldo::protocol::limits::{INDEX_ENTRY_LEN, PAGE_FOOTER_LEN, RECORD_HEADER_LEN};
use waldo::protocol::names;
use waldo::protocol::page::{IndexEntry, PageFooter, PageHeader};
use waldo::protocol::scan::{PageScan, PayloadCheck, Step};
use waldo::reader::{AttachOptions, Cursor, Ring, verify};
use waldo::writer::repair::{self, Keep, Repair};
use waldo::writer::{ControlPlace, Durability, Io, Writer, WriterOptions};
use zerocopy::IntoBytes;

const PAGE_LEN: usize = 16 << 10;
/// So large that little is left for records.
const INDEX_CAPACITY: usize = 470;
const RECORDS_LIMIT: usize = PAGE_LEN - PAGE_FOOTER_LEN - INDEX_CAPACITY * INDEX_ENTRY_LEN;
/// Bytes between two that are damaged where nothing is written.
const SPARSE: usize = 509;

fn options(place: &Path) -> WriterOptions {
    WriterOptions::default()
        .ring_size(8)
        .page_len(PAGE_LEN as u64)
        .index_capacity(INDEX_CAPACITY as u32)
        .durability(Durability::Sync)
        .io(Io::Pwrite)
        .control(ControlPlace::Path(place.join("segment")))
        .remove_control(true)
}

fn payload(seq_no: u64) -> Vec<u8> {
    (0..40 + seq_no % 9).map(|i| (seq_no * 31 + i) as u8 | 1).collect()
}

/// A ring in a directory of its own, beside which backups and segments have room.
struct Scene {
    place: tempfile::TempDir,
}

impl Scene {
    /// A ring of `records`, each start of a writer with as many as `starts` says, the last of which is closed
    /// or killed.
    fn new(starts: &[u64], closed: bool) -> Scene {
        Scene::with(starts, closed, Durability::Sync)
    }

    fn with(starts: &[u64], closed: bool, durability: Durability) -> Scene {
        let place = tempfile::Builder::new().prefix("waldo-damage-").tempdir().unwrap();
        let (made, home) = (place.path().join("made"), place.path().join("ring"));
        fs::create_dir(&home).unwrap();
        for (n, records) in starts.iter().enumerate() {
            let options = options(place.path()).durability(durability);
            let mut writer = Writer::open(&made, options).unwrap();
            for _ in 0..*records {
                let next = writer.tip().unwrap_or(0) + 1;
                writer.append_payloads(&[payload(next)]).unwrap();
            }
            if n + 1 < starts.len() || closed {
                writer.close().unwrap();
                copy(&made, &home);
            } else {
                copy_of_running(&made, &home, writer.committed().page());
            }
        }
        Scene { place }
    }

    fn home(&self) -> std::path::PathBuf {
        self.place.path().join("ring")
    }

    /// Whether verification calls the ring damaged; what a repair would do.
    fn looked_at(&self) -> (Option<String>, Repair) {
        let verified = verify::verify(self.home(), &mut |_| {}).err().map(|error| error.to_string());
        (verified, repair::plan(self.home(), Keep::Longest).unwrap())
    }
}

/// Copies what belongs to the ring, but what names the writer's segment.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        let known = name.to_str().unwrap();
        if known == names::META || names::parse_page(known).is_some() {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// Copies a ring whose writer has got to page `active`, once all pages before that have their footers and the
/// one behind it is ready: from then on nothing changes.
fn copy_of_running(from: &Path, to: &Path, active: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let has_footer = |id: u64| {
        let bytes = fs::read(from.join(names::page(id))).unwrap();
        let header = PageHeader::check_any(&bytes, bytes.len() as u64).unwrap();
        PageFooter::check(&bytes[bytes.len() - PAGE_FOOTER_LEN..], &header)
            .is_ok_and(|footer| footer.check_index(&index_of(&bytes, &footer)).is_ok())
    };
    while !(from.join(names::page(active + 1)).exists() && (1..active).all(has_footer)) {
        assert!(Instant::now() < deadline, "the pages are not complete");
        std::thread::yield_now();
    }
    copy(from, to);
}

fn index_of(page: &[u8], footer: &PageFooter) -> Vec<u8> {
    let end = page.len() - PAGE_FOOTER_LEN;
    page[end - footer.index_len() as usize * INDEX_ENTRY_LEN..end].to_vec()
}

/// What a byte of a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Meta,
    Header,
    /// Header or payload of a record of the log.
    Record,
    Seal,
    Index,
    Footer,
    /// What nobody reads: padding, and what nothing was written to.
    Nothing,
}

/// The bytes of the files that are damaged one by one, and what they belong to: each byte that is written,
/// and some of the others.
fn places(home: &Path) -> Vec<(String, usize, Part)> {
    let mut places = Vec::new();
    let mut file_names: Vec<String> =
        fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    file_names.sort();
    for name in file_names {
        let bytes = fs::read(home.join(&name)).unwrap();
        let parts = parts(&name, &bytes);
        let wanted = |at: &usize| parts[*at] != Part::Nothing || bytes[*at] != 0 || at.is_multiple_of(SPARSE);
        places.extend((0..bytes.len()).filter(wanted).map(|at| (name.clone(), at, parts[at])));
    }
    places
}

fn parts(name: &str, bytes: &[u8]) -> Vec<Part> {
    let mut parts = vec![Part::Nothing; bytes.len()];
    if name == names::META {
        for (part, _) in parts.iter_mut().zip(bytes).filter(|(_, byte)| **byte != 0) {
            *part = Part::Meta;
        }
        return parts;
    }
    let header = PageHeader::check_any(bytes, bytes.len() as u64).unwrap();
    parts[..size_of_val(header.as_bytes())].fill(Part::Header);
    let mut scan = PageScan::new(&header, None, 0, PayloadCheck::Verify);
    loop {
        match scan.step(bytes, 0) {
            Step::Record { offset, record } => {
                let len = RECORD_HEADER_LEN + record.payload_len();
                parts[offset as usize..offset as usize + len].fill(Part::Record);
            }
            Step::Seal { offset, .. } => {
                parts[offset as usize..offset as usize + RECORD_HEADER_LEN].fill(Part::Seal);
                break;
            }
            _ => break,
        }
    }
    for at in (RECORDS_LIMIT..bytes.len()).filter(|at| bytes[*at] != 0) {
        parts[at] = if at < bytes.len() - PAGE_FOOTER_LEN { Part::Index } else { Part::Footer };
    }
    parts
}

/// Changes one bit and gives it back.
struct Flipped<'a> {
    file: &'a fs::File,
    at: u64,
    mask: u8,
}

impl<'a> Flipped<'a> {
    fn new(file: &'a fs::File, at: usize) -> Flipped<'a> {
        let flipped = Flipped { file, at: at as u64, mask: 1 << (at % 8) };
        flipped.flip();
        flipped
    }

    fn flip(&self) {
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, self.at).unwrap();
        self.file.write_all_at(&[byte[0] ^ self.mask], self.at).unwrap();
    }
}

impl Drop for Flipped<'_> {
    fn drop(&mut self) {
        self.flip();
    }
}

/// Repairs a copy of the ring, of whose `records` one at most may be damaged: all is in order then, and
/// nothing else is lost.
fn repaired(scene: &Scene, planned: &Repair, records: u64, part: Part, what: &str) {
    let place = tempfile::Builder::new().prefix("waldo-damage-").tempdir().unwrap();
    let home = place.path().join("ring");
    fs::create_dir(&home).unwrap();
    copy(&scene.home(), &home);
    let done = repair::apply(&home, Keep::Longest, None).unwrap();
    assert_eq!((&done.kept, &done.actions), (&planned.kept, &planned.actions), "{what}");
    let report = verify::verify(&home, &mut |_| {}).unwrap_or_else(|error| panic!("{what}: {error}"));
    let kept = done.kept.map_or(0, |kept| kept.records);
    assert_eq!(report.records, kept, "{what}");
    let again = repair::plan(&home, Keep::Longest).unwrap();
    assert_eq!((again.damage, again.actions.len()), (None, 0), "{what}");
    let goes: u64 = done.dropped.iter().map(|span| span.records).sum();
    assert_eq!(kept + goes + u64::from(part == Part::Record), records, "{what}: {done:?}");
    let lost: u64 = done.lost.iter().map(|(last, next)| next - last).sum();
    assert_eq!(lost, u64::from(part == Part::Record), "{what}: {done:?}");
    let writer = Writer::open(&home, options(place.path())).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(writer.tip(), done.kept.map(|kept| kept.last_seq_no), "{what}");
    assert_eq!(writer.open_report().cut, None, "{what}");
}

/// Flips a bit of each byte of the ring. Returns how often each part was damaged, and how often that was
/// damage to the ring.
fn sweep(scene: &Scene, records: u64) -> BTreeMap<Part, (u64, u64)> {
    let home = scene.home();
    let (verified, planned) = scene.looked_at();
    assert_eq!((verified, planned.damage), (None, None));
    let mut seen: BTreeMap<Part, (u64, u64)> = BTreeMap::new();
    let mut repairs: BTreeMap<(String, Part), u64> = BTreeMap::new();
    for (name, at, part) in places(&home) {
        let file = fs::OpenOptions::new().read(true).write(true).open(home.join(&name)).unwrap();
        let flipped = Flipped::new(&file, at);
        let what = format!("{part:?}, {name} offset {at}");
        let (verified, planned) = scene.looked_at();
        assert_eq!(verified.is_some(), planned.damage.is_some(), "{what}: {verified:?}, {planned:?}");
        let counts = seen.entry(part).or_default();
        counts.0 += 1;
        if let (Some(verified), Some(damage)) = (verified, &planned.damage) {
            counts.1 += 1;
            assert!(damage.contains(&name) && verified.contains(&name), "{what}: {verified}, {damage}");
            // Each kind of each file, in various places.
            let nth = repairs.entry((name, part)).or_default();
            *nth += 1;
            if *nth % 61 == 1 {
                repaired(scene, &planned, records, part, &what);
            }
        } else {
            assert!(planned.actions.is_empty(), "{what}: {planned:?}");
        }
        drop(flipped);
    }
    seen
}

#[test]
fn repair_calls_damaged_what_verification_calls_damaged_and_mends_it() {
    for starts in [&[1][..], &[1, 1], &[7, 13]] {
        let seen = sweep(&Scene::new(starts, true), starts.iter().sum());
        println!("closed, {starts:?}: {seen:?}");
        // Wherever the record stands: the first, the last, the only one.
        let (flips, damaged) = seen[&Part::Record];
        assert_eq!((flips > 0, damaged), (true, flips), "{starts:?}: {seen:?}");
        for part in [Part::Nothing, Part::Index, Part::Footer] {
            assert_eq!(seen.get(&part).map_or(0, |seen| seen.1), 0, "{part:?}, {starts:?}: {seen:?}");
        }
    }
}

/// What was never known to be durable may go without being called damage; but both have to say the same.
#[test]
fn they_agree_about_a_ring_whose_writer_was_killed() {
    let seen = sweep(&Scene::new(&[7, 13], false), 20);
    println!("killed: {seen:?}");
    let (flips, damaged) = seen[&Part::Record];
    assert!(damaged > flips / 2 && damaged < flips, "{seen:?}");
}

/// A writer that had closed the ring in the middle of a page, went on and was killed before the next footer
/// was written leaves the old one; so may a power cut, even when the ring has been closed again.
#[test]
fn a_footer_of_an_earlier_close_is_no_damage() {
    for closed in [true, false] {
        let scene = Scene::new(&[3, 13], closed);
        let path = scene.home().join(names::page(1));
        let mut page = fs::read(&path).unwrap();
        let footer = stale_footer(&page, 3);
        let at = page.len() - footer.len();
        page[at..].copy_from_slice(&footer);
        fs::write(&path, page).unwrap();
        let (verified, planned) = scene.looked_at();
        assert_eq!((verified, planned.damage, planned.actions.len()), (None, None, 0), "closed {closed}");
        let writer = Writer::open(scene.home(), options(scene.place.path())).unwrap();
        assert_eq!((writer.tip(), &writer.open_report().cut), (Some(16), &None));
    }
}

/// What a close after `records` records leaves in `page`.
fn stale_footer(page: &[u8], records: u64) -> Vec<u8> {
    let header = PageHeader::check_any(page, page.len() as u64).unwrap();
    let mut scan = PageScan::new(&header, None, 0, PayloadCheck::Verify);
    let mut first = None;
    for _ in 0..records {
        let Step::Record { offset, record } = scan.step(page, 0) else {
            panic!("a page of {records} records")
        };
        first.get_or_insert(IndexEntry { seq_no: record.seq_no(), time_ns: record.time_ns(), offset });
    }
    let index = [first.unwrap()];
    let footer = PageFooter::new(&header, scan.summary(), &index);
    [index.as_slice().as_bytes(), footer.as_bytes()].concat()
}

/// A power cut may take the footer of a page, its index, or both, of which nobody flushes any: they are
/// written behind what is durable, also in a ring that was closed since.
#[test]
fn a_footer_or_an_index_that_a_power_cut_took_is_no_damage() {
    let interval = Durability::Interval(Duration::from_secs(3600));
    let rings = [(Durability::Sync, true), (Durability::Sync, false), (interval, true), (interval, false)];
    for (durability, closed) in rings {
        let end = PAGE_LEN - PAGE_FOOTER_LEN;
        for lost in [end..PAGE_LEN, end + 64..PAGE_LEN, RECORDS_LIMIT..end, RECORDS_LIMIT..PAGE_LEN] {
            let what = format!("{durability:?}, closed {closed}: {lost:?}");
            let scene = Scene::with(&[7, 23], closed, durability);
            let path = scene.home().join(names::page(1));
            let mut page = fs::read(&path).unwrap();
            page[lost].fill(0);
            fs::write(&path, page).unwrap();
            let (verified, planned) = scene.looked_at();
            assert_eq!((verified, planned.damage, planned.actions.len()), (None, None, 0), "{what}");
            assert_eq!(read_all(&scene.home()), 30, "{what}");
            let writer = Writer::open(scene.home(), options(scene.place.path())).unwrap();
            assert_eq!((writer.tip(), &writer.open_report().cut), (Some(30), &None), "{what}");
            drop(writer);
            // The opening has made them again.
            let notes = verify::verify(scene.home(), &mut |_| {}).unwrap().notes;
            assert!(!notes.iter().any(|note| note.contains("footer")), "{what}: {notes:?}");
        }
    }
}

/// How many records a reader of the files finds one behind the other.
fn read_all(home: &Path) -> u64 {
    let ring = Ring::attach_with(home, AttachOptions::default().files_only(true)).unwrap();
    let mut reader = ring.reader(Cursor::Oldest).unwrap();
    let mut last = 0;
    while let Some(batch) = reader.poll().unwrap() {
        for record in &batch {
            assert_eq!((record.prev_seq_no(), record.data()), (last, &payload(last + 1)[..]));
            last = record.seq_no();
        }
    }
    last
}

/// No crash makes up a footer, or an index, that is whole and says what is not so.
#[test]
fn a_whole_footer_that_contradicts_the_records_is_damage() {
    for closed in [true, false] {
        for lie in 0..5 {
            let scene = Scene::new(&[30], closed);
            let path = scene.home().join(names::page(1));
            let mut page = fs::read(&path).unwrap();
            let header = PageHeader::check_any(&page, page.len() as u64).unwrap();
            let end = page.len() - PAGE_FOOTER_LEN;
            let footer = PageFooter::check(&page[end..], &header).unwrap();
            let mut index = footer.check_index(&index_of(&page, &footer)).unwrap();
            let mut summary = footer.summary();
            match lie {
                0 => summary.last_time_ns += 1,
                1 => summary.records_end += 8,
                2 => summary.records = 0,
                // An entry of no record, and one of a place where no record starts.
                3 => index[0].seq_no += 1,
                _ => index[0].offset += 4,
            }
            let footer = PageFooter::new(&header, &summary, &index);
            page[end..].copy_from_slice(footer.as_bytes());
            page[end - size_of_val(&index[..])..end].copy_from_slice(index.as_bytes());
            fs::write(&path, page).unwrap();
            let (verified, planned) = scene.looked_at();
            assert!(
                verified.is_some() && planned.damage.is_some(),
                "closed {closed}, lie {lie}: {verified:?}"
            );
            repaired(&scene, &planned, 30, Part::Footer, "a lie");
        }
    }
}
