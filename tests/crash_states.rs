//! One verdict in three columns: what the writer, a reader without a segment and verification make of the
//! same files.
//!
//! Readers that went by the files handed out torn records, and they and `verify` called rings damaged that
//! the writer opened without complaint: two prepared pages beyond the end, a stale footer without its seal, a
//! tail torn across a rotation. Each of the three had rules of its own. Here they look at many thousand
//! states of a ring, those that crashes leave and those that no crash leaves, and have to agree about where
//! the log ends or where it is damaged.
#![allow(clippy::unwrap_used, reason = "a test, helpers included, fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use waldo::protocol::limits::{INDEX_ENTRY_LEN, PAGE_FOOTER_LEN, PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo::protocol::names;
use waldo::protocol::page::{PageFooter, PageHeader};
use waldo::protocol::scan::{PageScan, Step};
use waldo::reader::verify::{self, VerifyError};
use waldo::reader::{AttachOptions, Cursor, Integrity, ReadError, ReaderOptions, Ring};
use waldo::writer::{ControlPlace, Durability, Io, OpenError, Writer, WriterOptions};
use waldo_shm_protocol::scan::PayloadCheck;

const PAGE_LEN: usize = 16 << 10;
const INDEX_CAPACITY: usize = 16;
/// Records end here at the latest.
const RECORDS_LIMIT: usize = PAGE_LEN - PAGE_FOOTER_LEN - INDEX_CAPACITY * INDEX_ENTRY_LEN;

/// What somebody makes of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// The log is in order and ends with this record; 0 if there is none.
    Ends(u64),
    /// Something that had been durable is gone.
    Damage { page: u64, offset: u64 },
}

/// The files of a ring.
#[derive(Clone)]
struct Image {
    files: BTreeMap<String, Vec<u8>>,
}

impl Image {
    /// The files of a ring whose writer may still prepare pages: as they are while no name comes or goes.
    fn of(home: &Path) -> Image {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let listing = || -> Vec<String> {
                let entries = fs::read_dir(home).unwrap();
                let mut names: Vec<_> =
                    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
                names.sort();
                names
            };
            let before = listing();
            let wanted = before.iter().filter(|name| name.starts_with("page-") || *name == names::META);
            let files: io::Result<_> =
                wanted.map(|name| Ok((name.clone(), fs::read(home.join(name))?))).collect();
            match files {
                Ok(files) if listing() == before => return Image { files },
                Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
                _ => assert!(Instant::now() < deadline, "the names in the ring never come to rest"),
            }
        }
    }

    fn write(&self) -> tempfile::TempDir {
        let home = tempfile::Builder::new().prefix("waldo-crash-states-").tempdir().unwrap();
        for (name, bytes) in &self.files {
            fs::write(home.path().join(name), bytes).unwrap();
        }
        home
    }

    fn ids(&self) -> Vec<u64> {
        self.files.keys().filter_map(|name| names::parse_page(name)).collect()
    }

    fn page(&mut self, id: u64) -> &mut Vec<u8> {
        self.files.get_mut(&names::page(id)).unwrap()
    }

    /// Page, offset, size and number of each record, and of each seal with number 0.
    fn records(&self) -> Vec<(u64, usize, usize, u64)> {
        let mut all = Vec::new();
        for id in self.ids() {
            let bytes = &self.files[&names::page(id)];
            let Ok(header) = PageHeader::check_any(bytes, bytes.len() as u64) else { continue };
            let mut scan = PageScan::new(&header, None, 0, PayloadCheck::Verify);
            loop {
                match scan.step(bytes, 0) {
                    Step::Record { offset, record } => {
                        all.push((id, offset as usize, record.size(), record.seq_no()));
                    }
                    Step::Seal { offset, .. } => {
                        all.push((id, offset as usize, RECORD_HEADER_LEN, 0));
                        break;
                    }
                    _ => break,
                }
            }
        }
        all
    }
}

fn options(home: &Path, durability: Durability) -> WriterOptions {
    WriterOptions::default()
        .ring_size(4)
        .page_len(PAGE_LEN as u64)
        .index_capacity(INDEX_CAPACITY as u32)
        .durability(durability)
        .io(Io::Pwrite)
        .control(ControlPlace::Path(home.join("segment")))
        .remove_control(true)
}

fn payload(seq_no: u64) -> Vec<u8> {
    let len = 150 + seq_no as usize * 37 % 400;
    (0..len).map(|i| (seq_no as usize * 31 + i) as u8 | 1).collect()
}

/// Rings as their writers leave them: killed after so many records, or closed; after a lap, and before.
fn images() -> Vec<Image> {
    let mut images = Vec::new();
    let modes = [Durability::Sync, Durability::Interval(Duration::from_secs(3600)), Durability::PageCache];
    for durability in modes {
        for records in [0, 3, 40, 72, 230] {
            let dir = tempfile::tempdir().unwrap();
            let home = dir.path().join("ring");
            let mut writer = Writer::open(&home, options(dir.path(), durability)).unwrap();
            let append = |writer: &mut Writer, records: u64| {
                for _ in 0..records {
                    let next = writer.tip().unwrap_or(0) + 1;
                    writer.append_payloads(&[payload(next)]).unwrap();
                }
            };
            append(&mut writer, records);
            // The footer of the active page that a clean close leaves is stale when the log has gone on.
            if records == 40 {
                writer.close().unwrap();
                images.push(Image::of(&home));
                writer = Writer::open(&home, options(dir.path(), durability)).unwrap();
                append(&mut writer, 2);
            }
            images.push(Image::of(&home));
            writer.close().unwrap();
            images.push(Image::of(&home));
        }
    }
    images
}

/// Destroys some of the record of `size` bytes at `offset`, in one of six ways.
fn tear_record(
    page: &mut [u8],
    offset: usize,
    size: usize,
    way: usize,
    random: &mut impl FnMut(usize) -> usize,
) {
    let bytes = &mut page[offset..offset + size];
    match way {
        0 => bytes.fill(0),
        1 => bytes[RECORD_HEADER_LEN..].fill(0),
        2 => bytes[random(RECORD_HEADER_LEN)] ^= 0x40,
        3 => {
            let at = random(size);
            bytes[at..].fill(0);
        }
        4 => {
            let at = random(size.saturating_sub(8).max(1));
            bytes[at..size.min(at + 4)].fill(0xa5);
        }
        // As if the write had never happened that came behind.
        _ => page[offset..RECORDS_LIMIT].fill(0),
    }
}

/// Adds `count` pages behind the last one, made ready: with a header, or before the header was written.
fn make_ready(image: &mut Image, count: u64, random: &mut impl FnMut(usize) -> usize) -> Option<()> {
    let ids = image.ids();
    let (first, last) = (*ids.first()?, *ids.last()?);
    for n in 1..=count {
        let known = PageHeader::check_any(image.page(first), PAGE_LEN as u64).ok()?;
        let fields = *known.fields();
        let header =
            PageHeader::new(fields.ring_id, last + n, known.geometry(), fields.epoch, fields.created_ns);
        let mut bytes = vec![0; PAGE_LEN];
        if random(4) > 0 {
            bytes[..size_of_val(header.as_bytes())].copy_from_slice(header.as_bytes());
        }
        image.files.insert(names::page(last + n), bytes);
    }
    Some(())
}

/// The image with one thing changed; `None` if that makes no sense for it.
fn change(image: &Image, random: &mut impl FnMut(usize) -> usize) -> Option<(String, Image)> {
    let mut image = image.clone();
    let ids = image.ids();
    if ids.is_empty() || image.files.iter().any(|(name, bytes)| name != names::META && bytes.len() < PAGE_LEN)
    {
        return None;
    }
    let records = image.records();
    // What a crash leaves is at the end; half of the changes are there.
    let tail = |random: &mut dyn FnMut(usize) -> usize, n: usize| {
        if random(2) == 0 { n - 1 - random(n.min(4)) } else { random(n) }
    };
    let id = ids[tail(random, ids.len())];
    let what = match random(17) {
        kind @ 0..=5 => {
            if records.is_empty() {
                return None;
            }
            let (page, offset, size, seq_no) = records[tail(random, records.len())];
            tear_record(image.page(page), offset, size, kind, random);
            format!("record {seq_no} at page {page} offset {offset}: {kind}")
        }
        6 => {
            image.page(id)[..PAGE_HEADER_LEN].fill(0);
            format!("header of page {id} lost")
        }
        7 => {
            image.page(id)[random(100)] ^= 0x10;
            format!("header of page {id} damaged")
        }
        8 => {
            image.files.remove(&names::page(id));
            format!("page {id} missing")
        }
        9 => {
            let len = [0, 100, PAGE_HEADER_LEN, 8192][random(4)];
            image.page(id).truncate(len);
            format!("page {id} shortened to {len}")
        }
        10 => {
            image.page(id)[..8].copy_from_slice(b"WALDOXX\n");
            format!("page {id} retired")
        }
        kind @ 11..=12 => {
            let count = kind as u64 - 10;
            make_ready(&mut image, count, random)?;
            format!("{count} pages made ready")
        }
        13 => {
            image.page(id)[PAGE_LEN - PAGE_FOOTER_LEN + random(PAGE_FOOTER_LEN)..].fill(0);
            format!("footer of page {id} torn")
        }
        14 => {
            let at = RECORDS_LIMIT + random(INDEX_CAPACITY * INDEX_ENTRY_LEN);
            image.page(id)[at..PAGE_LEN - PAGE_FOOTER_LEN].fill(0);
            format!("index of page {id} torn")
        }
        15 => {
            let (page, offset, ..) = *records.iter().rfind(|record| record.3 == 0)?;
            image.page(page)[offset..offset + RECORD_HEADER_LEN].fill(0);
            format!("seal of page {page} lost")
        }
        _ => {
            let other = ids[random(ids.len())];
            let (one, two) = (image.page(id).clone(), image.page(other).clone());
            *image.page(id) = two;
            *image.page(other) = one;
            format!("pages {id} and {other} exchanged")
        }
    };
    Some((what, image))
}

fn id_of(path: &Path) -> u64 {
    names::parse_page(path.file_name().unwrap().to_str().unwrap()).unwrap()
}

fn by_writer(home: &Path) -> Verdict {
    let segment = tempfile::tempdir().unwrap();
    match Writer::open(home, options(segment.path(), Durability::Sync)) {
        Ok(writer) => Verdict::Ends(writer.tip().unwrap_or(0)),
        Err(OpenError::Corrupt { path, offset, .. }) => Verdict::Damage { page: id_of(&path), offset },
        Err(OpenError::Page { path, .. } | OpenError::MissingPage { path }) => {
            Verdict::Damage { page: id_of(&path), offset: 0 }
        }
        Err(error) => panic!("{error}"),
    }
}

fn by_verification(home: &Path) -> Verdict {
    match verify::verify(home, &mut |_| {}) {
        Ok(report) => Verdict::Ends(report.last_seq_no.unwrap_or(0)),
        Err(VerifyError::Damaged { page, offset, .. }) => Verdict::Damage { page, offset },
        Err(error) => panic!("{error}"),
    }
}

/// Reads everything, which has to be what was appended, and in order.
fn by_reader(home: &Path, integrity: Integrity) -> Verdict {
    let damage = |error: ReadError| match error {
        ReadError::Corrupt { page, offset, .. } => Verdict::Damage { page, offset },
        ReadError::Page { path, .. } | ReadError::Io { path, .. } => {
            Verdict::Damage { page: id_of(&path), offset: 0 }
        }
        error => panic!("{error}"),
    };
    let ring = Ring::attach_with(home, AttachOptions::default().files_only(true)).unwrap();
    let options = ReaderOptions::default().integrity(integrity);
    let mut reader = match ring.reader_with(Cursor::Oldest, options) {
        Ok(reader) => reader,
        Err(error) => return damage(error),
    };
    let mut last = 0;
    loop {
        match reader.poll() {
            Ok(Some(batch)) => {
                for record in &batch {
                    assert!(last == 0 || record.prev_seq_no() == last, "a gap before {}", record.seq_no());
                    let genuine = record.data() == payload(record.seq_no());
                    assert!(
                        genuine || integrity < Integrity::Payloads,
                        "record {} is not as appended",
                        record.seq_no()
                    );
                    last = record.seq_no();
                }
            }
            Ok(None) => return Verdict::Ends(last),
            Err(error) => return damage(error),
        }
    }
}

/// Whether a writer may open the ring without having seen this: a footer that is known to be durable speaks
/// for the records of its page, so that opening a ring does not read all of it.
fn is_below_a_footer(image: &Image, verdict: Verdict) -> bool {
    let Verdict::Damage { page, offset } = verdict else { return false };
    let Some(bytes) = image.files.get(&names::page(page)) else { return false };
    let Ok(header) = PageHeader::check_any(bytes, bytes.len() as u64) else { return false };
    let footer = PageFooter::check(&bytes[bytes.len() - PAGE_FOOTER_LEN..], &header);
    offset >= PAGE_HEADER_LEN as u64 && footer.is_ok_and(|footer| footer.summary().records_end > offset)
}

fn judge(image: &Image, what: &str, seen: &mut BTreeMap<&'static str, u64>) {
    let home = image.write();
    let path = home.path().to_path_buf();
    let read = by_reader(&path, Integrity::Payloads);
    let verified = by_verification(&path);
    // Also where footer or index is bad: whoever finds them so walks over the records.
    assert_eq!(read, verified, "reader and verification: {what}");
    let written = by_writer(&path);
    if written != verified {
        assert!(is_below_a_footer(image, verified), "writer {written:?}, others {verified:?}: {what}");
        // It meets what comes behind that, or nothing.
        let behind = matches!(written, Verdict::Ends(_)) || written > verified;
        assert!(behind, "writer {written:?}, others {verified:?}: {what}");
        *seen.entry("below a footer").or_default() += 1;
    }
    let kind = if matches!(verified, Verdict::Ends(_)) { "in order" } else { "damaged" };
    *seen.entry(kind).or_default() += 1;
}

#[test]
fn writer_reader_and_verification_agree() {
    let states: usize = std::env::var("WALDO_TEST_STATES").map_or(400, |n| n.parse().unwrap());
    let images = images();
    let mut seen = BTreeMap::new();
    for image in &images {
        judge(image, "nothing", &mut seen);
    }
    assert_eq!(seen.len(), 1, "without any change all is in order: {seen:?}");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    for n in 0..states {
        let picked = random(images.len());
        let mut image = images[picked].clone();
        let mut what = format!("state {n}, image {picked}");
        for _ in 0..=random(3) {
            if let Some((change, changed)) = change(&image, &mut random) {
                what = format!("{what}; {change}");
                image = changed;
            }
        }
        judge(&image, &what, &mut seen);
    }
    println!("{seen:?}");
    for kind in ["in order", "damaged", "below a footer"] {
        assert!(seen[kind] as usize > states / 50, "{kind}: {seen:?}");
    }
}
