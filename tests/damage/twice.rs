//! Every kind of damage, with checksums that fit where that is possible, and repaired twice: the first time
//! has to mend it, and the second one to find nothing to do.

use super::*;
use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use waldo::protocol::meta::Meta;
use waldo::protocol::page::{PAGE_MAGIC_RETIRED, PageGeometry, PageSummary};
use waldo::protocol::record::{PageEnd, Record, RecordNumbers, Seal, Stamp};
use waldo::protocol::{PageSeed, Position};

/// A page as its bytes say, which a damage changes.
struct Page {
    bytes: Vec<u8>,
    header: PageHeader,
    records: Vec<(usize, Record)>,
    seal: Option<(usize, Seal)>,
    summary: PageSummary,
}

impl Page {
    fn of(bytes: Vec<u8>) -> Page {
        let header = PageHeader::check_any(&bytes, bytes.len() as u64).unwrap();
        let mut scan = PageScan::new(&header, None, 0, PayloadCheck::Verify);
        let (mut records, mut seal) = (Vec::new(), None);
        loop {
            match scan.step(&bytes, 0) {
                Step::Record { offset, record } => records.push((offset as usize, record)),
                Step::Seal { offset, seal: found } => seal = Some((offset as usize, found)),
                _ => break,
            }
            if seal.is_some() {
                break;
            }
        }
        let summary = *scan.summary();
        Page { bytes, header, records, seal, summary }
    }

    fn seed(&self) -> PageSeed {
        PageSeed::new(&self.header.fields().ring_id, self.header.fields().page_id)
    }

    /// Flips a bit.
    fn flip(&mut self, at: usize) -> Option<()> {
        self.bytes[at] ^= 4;
        Some(())
    }

    /// Writes the header of a record again, with a checksum that fits.
    fn put_record(&mut self, n: usize, change: impl FnOnce(&mut RecordNumbers, &mut Stamp)) {
        let (at, record) = self.records[n];
        let mut numbers = RecordNumbers { seq_no: record.seq_no(), prev_seq_no: record.prev_seq_no() };
        let mut stamp = Stamp { time_ns: record.time_ns(), durable: record.durable(), epoch: record.epoch() };
        change(&mut numbers, &mut stamp);
        let hash = record.payload_hash();
        let raw = Record::encode(self.seed(), at as u32, numbers, record.payload_len(), hash, stamp);
        self.bytes[at..at + RECORD_HEADER_LEN].copy_from_slice(raw.as_bytes());
    }

    /// The same of the seal, if there is one.
    fn put_seal(&mut self, change: impl FnOnce(&mut PageEnd, &mut Stamp)) -> Option<()> {
        let (at, seal) = self.seal?;
        let mut end = self.summary.end();
        let mut stamp =
            Stamp { time_ns: self.summary.last_time_ns, durable: seal.durable(), epoch: seal.epoch() };
        change(&mut end, &mut stamp);
        let raw = Seal::encode(self.seed(), end, stamp);
        self.bytes[at..at + RECORD_HEADER_LEN].copy_from_slice(raw.as_bytes());
        Some(())
    }

    /// The same of footer and index, if there is a footer.
    fn put_footer(&mut self, change: impl FnOnce(&mut PageSummary, &mut Vec<IndexEntry>)) -> Option<()> {
        let at = self.bytes.len() - PAGE_FOOTER_LEN;
        let footer = PageFooter::check(&self.bytes[at..], &self.header).ok()?;
        let mut index = footer.check_index(&index_of(&self.bytes, &footer)).ok()?;
        let mut summary = footer.summary();
        change(&mut summary, &mut index);
        let footer = PageFooter::new(&self.header, &summary, &index);
        self.bytes[at - size_of_val(index.as_slice())..at].copy_from_slice(index.as_bytes());
        self.bytes[at..].copy_from_slice(footer.as_bytes());
        Some(())
    }

    fn put_header(&mut self, ring: [u8; 16], id: u64) {
        let geometry = PageGeometry::new(PAGE_LEN as u64, INDEX_CAPACITY as u32).unwrap();
        let header = PageHeader::new(ring, id, geometry, 1, 0);
        let bytes = header.as_bytes();
        self.bytes[..bytes.len()].copy_from_slice(bytes);
    }
}

/// Changes a page; `None` where there is nothing of the kind in it.
type Spoil = fn(&mut Page) -> Option<()>;

const RECORDS: [(&str, Spoil); 12] = [
    ("first payload", |page| page.flip(page.records.first()?.0 + RECORD_HEADER_LEN)),
    ("a payload", |page| page.flip(page.records.get(2)?.0 + RECORD_HEADER_LEN)),
    ("last payload", |page| page.flip(page.records.last()?.0 + RECORD_HEADER_LEN)),
    ("first record's header", |page| page.flip(page.records.first()?.0 + 9)),
    ("a record's header", |page| page.flip(page.records.get(2)?.0 + 9)),
    ("last record's header", |page| page.flip(page.records.last()?.0 + 9)),
    ("all records", |page| {
        let (from, to) = (page.records.first()?.0, page.summary.records_end as usize);
        page.bytes[from..to].fill(0x5a);
        Some(())
    }),
    ("first record's predecessor", |page| {
        page.records.first()?;
        page.put_record(0, |numbers, _| numbers.prev_seq_no = numbers.prev_seq_no.saturating_sub(1));
        Some(())
    }),
    ("a record's predecessor", |page| {
        page.records.get(2)?;
        page.put_record(2, |numbers, _| numbers.prev_seq_no -= 1);
        Some(())
    }),
    ("first record's epoch", |page| {
        page.records.first()?;
        page.put_record(0, |_, stamp| stamp.epoch = 1);
        Some(())
    }),
    ("a record's epoch", |page| {
        page.records.get(2)?;
        page.put_record(2, |_, stamp| stamp.epoch = 1);
        Some(())
    }),
    ("last record's epoch", |page| {
        let last = page.records.len().checked_sub(1)?;
        page.put_record(last, |_, stamp| stamp.epoch += 1);
        Some(())
    }),
];

const ENDS: [(&str, Spoil); 20] = [
    ("seal", |page| page.flip(page.seal?.0 + 9)),
    ("no seal", |page| {
        let at = page.seal?.0;
        page.bytes[at..at + RECORD_HEADER_LEN].fill(0);
        Some(())
    }),
    ("seal's records", |page| page.put_seal(|end, _| end.records += 1)),
    ("seal's last record", |page| page.put_seal(|end, _| end.last_seq_no += 1)),
    ("seal's epoch", |page| page.put_seal(|_, stamp| stamp.epoch -= 1)),
    ("footer", |page| page.flip(page.bytes.len() - 20)),
    ("footer's magic", |page| page.flip(page.bytes.len() - PAGE_FOOTER_LEN)),
    ("footer's first record", |page| page.put_footer(|said, _| said.first_seq_no += 1)),
    ("footer's predecessor", |page| {
        page.put_footer(|said, _| said.prev_seq_no = said.prev_seq_no.saturating_sub(1))
    }),
    ("footer's last record", |page| page.put_footer(|said, _| said.last_seq_no += 1)),
    ("footer's records", |page| page.put_footer(|said, _| said.records += 1)),
    ("footer's end", |page| page.put_footer(|said, _| said.records_end += 8)),
    ("footer's end before", |page| page.put_footer(|said, _| said.records_end -= 8)),
    ("footer's first time", |page| page.put_footer(|said, _| said.first_time_ns += 1)),
    ("footer's epoch", |page| page.put_footer(|said, _| said.epoch += 1)),
    ("footer's records before", |page| page.put_footer(|said, _| said.records_before += 7)),
    ("footer's end, out of the page", |page| page.put_footer(|said, _| said.records_end = 1 << 40)),
    ("index", |page| page.flip(page.bytes.len() - PAGE_FOOTER_LEN - 3)),
    ("index entry's record", |page| page.put_footer(|_, index| index[0].seq_no += 1)),
    ("index entry's place", |page| page.put_footer(|_, index| index[0].offset += 8)),
];

const HEADERS: [(&str, Spoil); 10] = [
    ("header", |page| page.flip(20)),
    ("no header", |page| {
        page.bytes[..128].fill(0);
        Some(())
    }),
    ("retired header", |page| {
        page.bytes[..8].copy_from_slice(&PAGE_MAGIC_RETIRED);
        Some(())
    }),
    ("another ring's header", |page| {
        page.put_header([7; 16], page.header.fields().page_id);
        Some(())
    }),
    ("a later page's header", |page| {
        page.put_header(page.header.fields().ring_id, page.header.fields().page_id + 1);
        Some(())
    }),
    ("an earlier page's header", |page| {
        page.put_header(page.header.fields().ring_id, page.header.fields().page_id - 1);
        Some(())
    }),
    ("a page far away's header", |page| {
        page.put_header(page.header.fields().ring_id, 77);
        Some(())
    }),
    ("shorter file", |page| {
        page.bytes.truncate(PAGE_LEN - 512);
        Some(())
    }),
    ("longer file", |page| {
        page.bytes.resize(PAGE_LEN + 512, 0);
        Some(())
    }),
    ("empty file", |page| {
        page.bytes.clear();
        Some(())
    }),
];

/// Changes metadata.
type Change = fn(&mut Meta);

const METADATA: [(&str, Change); 5] = [
    ("durable too far", |meta| meta.durable = Position::new(40, 4096).unwrap()),
    ("durable a little too far", |meta| {
        meta.durable = Position::new(meta.known_durable().page(), 4896).unwrap();
    }),
    ("closed elsewhere", |meta| meta.clean_end = Position::new(3, 4096).unwrap()),
    ("another ring's", |meta| meta.ring_id = [9; 16]),
    ("not closed", |meta| meta.clean_end = Position::NONE),
];

/// What a crash explains, or what says no more than is known otherwise.
const NO_DAMAGE: [&str; 13] = [
    "closed elsewhere",
    "durable a little too far",
    "durable too far",
    "footer",
    "footer's end before",
    "footer's magic",
    "index",
    "no seal",
    "not closed",
    "seal",
    "seal's epoch",
    "seal's last record",
    "seal's records",
];

/// `None` where there are no good ones.
fn write_meta(home: &Path, change: Change) -> Option<()> {
    let path = home.join(names::META);
    let mut meta = Meta::check(&fs::read(&path).ok()?).ok()?;
    change(&mut meta);
    let mut bytes = vec![0; 8192];
    for counter in [meta.counter + 1, meta.counter + 2] {
        let (at, slot) = Meta { counter, ..meta }.encode();
        bytes[at as usize..at as usize + slot.len()].copy_from_slice(&slot);
    }
    fs::write(path, bytes).ok()
}

fn pages(home: &Path) -> Vec<u64> {
    let names = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name());
    let mut ids: Vec<u64> = names.filter_map(|name| names::parse_page(name.to_str().unwrap())).collect();
    ids.sort_unstable();
    ids
}

/// Each file of the ring with its inode and content, and what stands beside the ring.
fn everything(home: &Path) -> (BTreeMap<String, (u64, Vec<u8>)>, usize) {
    let files =
        fs::read_dir(home).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.path().is_file());
    let content = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, (entry.metadata().unwrap().ino(), fs::read(entry.path()).unwrap()))
    };
    (files.map(content).collect(), fs::read_dir(home.parent().unwrap()).unwrap().count())
}

/// Spoils a copy of the ring and repairs it twice. Returns whether it was damaged, or what is wrong.
fn mended(scene: &Scene, spoil: impl FnOnce(&Path) -> Option<()>) -> Result<bool, String> {
    let place = tempfile::Builder::new().prefix("waldo-damage-").tempdir().unwrap();
    let home = place.path().join("ring");
    fs::create_dir(&home).unwrap();
    copy(&scene.home(), &home);
    if spoil(&home).is_none() {
        return Ok(false);
    }
    let verified = || verify::verify(&home, &mut |_| {}).err().map(|error| error.to_string());
    let (found, planned) = (verified(), repair::plan(&home, Keep::Longest).map_err(|e| e.to_string())?);
    if found.is_some() != planned.damage.is_some() {
        return Err(format!("verified: {found:?}, planned: {planned:?}"));
    }
    let untouched = everything(&home);
    let done = repair::apply(&home, Keep::Longest, None).map_err(|error| error.to_string())?;
    if planned.damage.is_none() {
        let same = everything(&home).0.iter().filter(|(name, _)| *name != "writer.lock").count();
        assert_eq!((done.actions.len(), same), (0, untouched.0.len()));
        return Ok(false);
    }
    let once = everything(&home);
    let meta = |files: &BTreeMap<String, (u64, Vec<u8>)>| {
        let read = files.get(names::META).and_then(|(_, bytes)| Meta::check(bytes).ok());
        read.map(|meta| Meta { counter: 0, ..meta })
    };
    let names_meta = |action: &repair::Action| action.to_string().contains(names::META);
    let (was, is) = (meta(&untouched.0), meta(&once.0));
    assert_eq!(done.actions.iter().any(names_meta), was != is, "{:?}: {was:?}, {is:?}", done.actions);
    let (after, again) = (verified(), repair::apply(&home, Keep::Longest, None).unwrap());
    if after.is_some() || again.damage.is_some() {
        return Err(format!(
            "{:?} with {:?}: verified {after:?}, {:?}",
            done.damage, done.actions, again.damage
        ));
    }
    assert_eq!((again.backup, again.actions.len()), (None, 0));
    assert!(once == everything(&home), "the second repair changed something");
    Ok(true)
}

/// Every kind of damage in these pages and in the metadata, each with what `other` does. Returns how many
/// were damage.
fn each_kind(scene: &Scene, ids: &[u64], other: fn(&Path) -> Option<()>) -> BTreeMap<&'static str, u64> {
    let (mut seen, mut wrong) = (BTreeMap::new(), String::new());
    let mut try_it = |what: &'static str, page: u64, spoil: &dyn Fn(&Path) -> Option<()>| {
        let both = |home: &Path| {
            spoil(home)?;
            other(home)
        };
        match mended(scene, both) {
            Ok(damaged) => *seen.entry(what).or_default() += u64::from(damaged),
            Err(error) => writeln!(wrong, "{what}, page {page}: {error}").unwrap(),
        }
    };
    for id in ids {
        for (what, spoil) in RECORDS.iter().chain(&ENDS).chain(&HEADERS) {
            try_it(what, *id, &|home| {
                let path = home.join(names::page(*id));
                let mut page = Page::of(fs::read(&path).unwrap());
                spoil(&mut page)?;
                fs::write(path, page.bytes).ok()
            });
        }
        try_it("missing", *id, &|home| fs::remove_file(home.join(names::page(*id))).ok());
        try_it("exchanged", *id, &|home| {
            let [this, that] = [*id, if *id == 1 { 3 } else { 1 }].map(|id| home.join(names::page(id)));
            let [one, two] = [fs::read(&this).unwrap(), fs::read(&that).unwrap()];
            fs::write(this, two).and_then(|()| fs::write(that, one)).ok()
        });
    }
    for (what, change) in METADATA {
        try_it(what, 0, &|home| write_meta(home, change));
    }
    try_it("no metadata", 0, &|home| fs::remove_file(home.join(names::META)).ok());
    try_it("metadata", 0, &|home| fs::write(home.join(names::META), [0x77; 8192]).ok());
    assert!(wrong.is_empty(), "{wrong}");
    seen
}

#[test]
fn a_second_repair_of_whatever_was_damaged_finds_nothing_to_do() {
    for closed in [true, false] {
        let scene = Scene::new(&[12, 37], closed);
        let seen = each_kind(&scene, &pages(&scene.home()), |_| Some(()));
        let none: Vec<&str> =
            seen.iter().filter(|(_, damaged)| **damaged == 0).map(|(what, _)| *what).collect();
        // A ring that was closed was durable up to its end, whatever else is said.
        let expected = NO_DAMAGE.iter().filter(|what| closed || **what != "durable too far");
        assert!(none.iter().eq(expected), "closed {closed}: {seen:?}");
    }
}

/// A survey ends at the first damage, and the rest of the ring has to be found without it.
#[test]
fn so_does_one_of_damage_in_two_places() {
    let scene = Scene::new(&[12, 37], true);
    each_kind(&scene, &[3, 4, 6], |home| fs::remove_file(home.join(names::page(5))).ok());
    each_kind(&scene, &[3, 6], |home| fs::write(home.join(names::page(5)), [0x5a; PAGE_LEN]).ok());
    each_kind(&scene, &[3, 6], |home| write_meta(home, |meta| meta.durable = Position::start_of(40)));
}
