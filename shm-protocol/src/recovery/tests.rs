//! The decisions, each combination of what they depend on, and surveys of rings in memory.

use super::judge::{HeaderState, HeaderVerdict, StopVerdict};
use super::*;
use crate::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN, align_record};
use crate::meta::Meta;
use crate::page::{PageFault, PageFooter, PageGeometry, PageHeader};
use crate::record::{PageEnd, Record, RecordNumbers, Seal, Stamp};
use crate::scan::PayloadCheck;
use crate::{PageSeed, Position, payload_hash};
use std::collections::BTreeMap;
use std::convert::Infallible;
use zerocopy::IntoBytes;

mod checking;
mod cost;
mod following;
mod missing;
mod walks;

const RING: [u8; 16] = *b"0123456789abcdef";
const PAGE_LEN: u64 = 16 << 10;
/// Records of this many bytes of payload, seven to a page.
const PAYLOAD: usize = 1500;
const PER_PAGE: u64 = 7;

fn at(page: u64, offset: u64) -> Position {
    Position::new(page, offset).unwrap()
}

fn geometry() -> PageGeometry {
    PageGeometry::new(PAGE_LEN, 4).unwrap()
}

/// A ring in memory.
#[derive(Clone)]
struct Ring {
    files: BTreeMap<u64, Vec<u8>>,
    meta: Meta,
}

struct File<'a>(&'a [u8]);

impl PageBytes for File<'_> {
    type Error = Infallible;

    fn size(&self) -> Result<u64, Infallible> {
        Ok(self.0.len() as u64)
    }

    fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Infallible> {
        let from = self.0.get(offset as usize..).unwrap_or_default();
        let len = from.len().min(bytes.len());
        bytes[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }
}

impl<'a> RingFiles for &'a Ring {
    type Error = Infallible;
    type Page = File<'a>;

    fn page_ids(&self) -> Result<Vec<u64>, Infallible> {
        Ok(self.files.keys().rev().copied().collect())
    }

    fn open_page(&self, id: u64) -> Result<Option<File<'a>>, Infallible> {
        Ok(self.files.get(&id).map(|bytes| File(bytes)))
    }
}

impl Ring {
    /// Pages `first` to `last`, of which the last one has two records. Each record's header names `durable`
    /// of its number as the durable position.
    fn new(first: u64, last: u64, durable: impl Fn(u64) -> Position) -> Ring {
        let mut files = BTreeMap::new();
        for id in first..=last {
            let header = PageHeader::new(RING, id, geometry(), 3, 0);
            let mut bytes = vec![0; PAGE_LEN as usize];
            bytes[..128].copy_from_slice(header.as_bytes());
            let seed = PageSeed::new(&RING, id);
            let records = if id == last { 2 } else { PER_PAGE };
            for n in 0..records {
                let seq_no = (id - 1) * PER_PAGE + n + 1;
                let payload = vec![seq_no as u8; PAYLOAD];
                let stamp = Stamp { time_ns: seq_no, durable: durable(seq_no), epoch: 3 };
                let offset = Ring::offset(n) as usize;
                let hash = payload_hash(&payload);
                let raw = Record::encode(
                    seed,
                    offset as u32,
                    RecordNumbers { seq_no, prev_seq_no: seq_no - 1 },
                    PAYLOAD,
                    hash,
                    stamp,
                );
                bytes[offset..][..RECORD_HEADER_LEN].copy_from_slice(raw.as_bytes());
                bytes[offset + RECORD_HEADER_LEN..][..PAYLOAD].copy_from_slice(&payload);
            }
            if id < last {
                let (seq_no, offset) = (id * PER_PAGE, Ring::offset(PER_PAGE));
                let stamp = Stamp { time_ns: seq_no, durable: durable(seq_no), epoch: 3 };
                let seal =
                    Seal::encode(seed, PageEnd { offset, last_seq_no: seq_no, records: PER_PAGE }, stamp);
                bytes[offset as usize..][..RECORD_HEADER_LEN].copy_from_slice(seal.as_bytes());
            }
            files.insert(id, bytes);
        }
        let meta = Meta {
            ring_id: RING,
            counter: 1,
            ring_size: 4,
            geometry: geometry(),
            epoch: 3,
            created_ns: 0,
            clean_end: Position::NONE,
            durable: Position::NONE,
            durable_names: false,
            trims_early: false,
        };
        Ring { files, meta }
    }

    /// Where record `n` of a page starts.
    fn offset(n: u64) -> u64 {
        PAGE_HEADER_LEN as u64 + n * align_record(RECORD_HEADER_LEN + PAYLOAD) as u64
    }

    fn prepared(mut self, id: u64) -> Ring {
        let mut bytes = vec![0; PAGE_LEN as usize];
        bytes[..128].copy_from_slice(PageHeader::new(RING, id, geometry(), 3, 0).as_bytes());
        self.files.insert(id, bytes);
        self
    }

    fn without_header(mut self, id: u64) -> Ring {
        self.files.get_mut(&id).unwrap()[..128].fill(0);
        self
    }

    fn without_record(mut self, id: u64, n: u64) -> Ring {
        self.files.get_mut(&id).unwrap()[Ring::offset(n) as usize..][..512].fill(0);
        self
    }

    fn survey(&self) -> Result<Survey, Damage> {
        survey(&self, &self.meta).map_err(|error| match error {
            SurveyError::Damage(damage) => damage,
            SurveyError::Io { source, .. } => match source {},
        })
    }
}

/// Each record was durable before the next one was written.
fn one_by_one(seq_no: u64) -> Position {
    at((seq_no - 1) / PER_PAGE + 1, Ring::offset((seq_no - 1) % PER_PAGE))
}

fn never(_: u64) -> Position {
    Position::NONE
}

fn pages(survey: &Survey) -> Vec<u64> {
    survey.pages.iter().map(|page| page.id).collect()
}

#[test]
fn every_stop_of_a_walk_has_one_verdict() {
    let durable = at(5, 8000);
    for (place, below) in [(at(4, 9000), true), (at(5, 7992), true), (durable, false), (at(5, 8008), false)] {
        assert_eq!(judge::stop(place, durable, true), StopVerdict::TornSeal);
        let expected = if below { StopVerdict::Damage } else { StopVerdict::End };
        assert_eq!(judge::stop(place, durable, false), expected, "{place}");
    }
}

#[test]
fn every_header_has_one_verdict() {
    let durable = at(5, 8000);
    for id in [4, 5, 6] {
        for proven in [false, true] {
            assert_eq!(judge::header(id, HeaderState::Spoiled, durable, proven), HeaderVerdict::Damage);
            let expected = if proven || id <= 5 { HeaderVerdict::Damage } else { HeaderVerdict::LeftOver };
            assert_eq!(judge::header(id, HeaderState::Unflushed, durable, proven), expected, "page {id}");
        }
    }
    // A page that begins where the durable log ends holds nothing.
    assert_eq!(
        judge::header(5, HeaderState::Unflushed, Position::start_of(5), false),
        HeaderVerdict::LeftOver
    );
    assert!(judge::end_is_damage(5, durable) && !judge::end_is_damage(6, durable));
    assert!(!judge::end_is_damage(5, Position::start_of(5)));
}

#[test]
fn only_what_a_file_held_before_counts_as_a_header_that_was_not_flushed() {
    use HeaderState::*;
    let cases = [
        (PageFault::TooShort { len: 0 }, Unflushed),
        (PageFault::Retired, Unflushed),
        (PageFault::FileLen { stored: 100, actual: 50 }, Unflushed),
        (PageFault::FileLen { stored: 50, actual: 100 }, Spoiled),
        (PageFault::WrongPage { found: 3, expected: 4 }, Unflushed),
        (PageFault::WrongPage { found: 5, expected: 4 }, Spoiled),
        (PageFault::ForeignRing, Spoiled),
        (PageFault::Magic, Unflushed),
        (PageFault::Checksum { stored: 1, computed: 2 }, Unflushed),
        (PageFault::Version { found: 0, known: 1 }, Unflushed),
        (PageFault::Version { found: 9, known: 1 }, Spoiled),
        (PageFault::Incompatible { flags: 1 }, Spoiled),
        (PageFault::Range { what: "page id" }, Spoiled),
    ];
    for (fault, expected) in cases {
        assert_eq!(HeaderState::of(&fault, false), expected, "{fault}");
        let early = match fault {
            PageFault::WrongPage { .. } => Unflushed,
            _ => expected,
        };
        assert_eq!(HeaderState::of(&fault, true), early, "{fault}");
    }
}

#[test]
fn an_unharmed_ring_is_found_whole() {
    for (first, last) in [(1, 1), (1, 3), (4, 7)] {
        let survey = Ring::new(first, last, one_by_one).survey().unwrap();
        assert_eq!(pages(&survey), (first..=last).collect::<Vec<_>>());
        assert_eq!(survey.tip(), Some((last - 1) * PER_PAGE + 2));
        assert_eq!(survey.end(), at(last, Ring::offset(2)));
        assert_eq!(survey.durable, at(last, Ring::offset(1)), "what the last record says");
        assert!(survey.left_overs.is_empty() && survey.torn.unwrap().beyond.records == 0);
    }
}

/// A page whose header was lost was refused as a gap although nothing in it had been durable, and removed in
/// silence although 26 records in it had been.
#[test]
fn a_lost_header_is_judged_by_what_the_page_holds() {
    let lost = Ring::new(1, 3, never).without_header(3).survey().unwrap();
    assert_eq!(pages(&lost), [1, 2]);
    assert_eq!(lost.left_overs, [LeftOver { id: 3, holds_records: true }]);

    let damage = Ring::new(1, 3, one_by_one).without_header(3).survey().unwrap_err();
    assert_eq!((damage.page, damage.after_seq_no), (3, 2 * PER_PAGE));
    assert_eq!(damage.kind, DamageKind::Header(PageFault::Magic));

    // One record in the page, and that names nothing in the page as durable: the header itself had been.
    let mut ring = Ring::new(1, 3, one_by_one).without_record(3, 1).without_header(3);
    assert_eq!(pages(&ring.survey().unwrap()), [1, 2]);
    ring.meta.durable_names = true;
    assert_eq!(ring.survey().unwrap_err().page, 3);

    // The oldest page of a ring had been there before anything else.
    let damage = Ring::new(1, 3, never).without_header(1).survey().unwrap_err();
    assert_eq!((damage.page, damage.after_seq_no), (1, 0));

    // Prepared, and no more than that: as many as there may be.
    let ring = Ring::new(1, 3, one_by_one).prepared(4).prepared(5).without_header(5).without_header(4);
    let survey = ring.survey().unwrap();
    assert_eq!((pages(&survey), survey.pages_lost()), (vec![1, 2, 3], 0));
    assert_eq!(survey.left_overs.len(), 2);
}

#[test]
fn a_name_that_is_missing_between_others_is_damage_and_none_at_the_end() {
    let mut ring = Ring::new(1, 4, never);
    ring.files.remove(&3);
    let damage = ring.survey().unwrap_err();
    assert_eq!((damage.page, damage.kind, damage.after_seq_no), (3, DamageKind::Missing, 2 * PER_PAGE));
    ring.files.remove(&4);
    assert_eq!(pages(&ring.survey().unwrap()), [1, 2]);
    let mut ring = Ring::new(1, 4, one_by_one);
    ring.files.remove(&4);
    ring.meta.durable = at(4, Ring::offset(1));
    assert_eq!(ring.survey().unwrap_err().page, 4);
    ring.files.clear();
    assert_eq!(ring.survey().unwrap_err().kind, DamageKind::Missing);
}

/// Exchanged pages were both taken for left-overs and removed.
#[test]
fn exchanged_and_foreign_pages_are_damage_wherever_they_stand() {
    for (a, b) in [(1, 2), (2, 3), (3, 4), (1, 4)] {
        for durable in [one_by_one, never] {
            let mut ring = Ring::new(1, 4, durable);
            let (one, other) = (ring.files[&a].clone(), ring.files[&b].clone());
            ring.files.insert(a, other);
            ring.files.insert(b, one);
            let damage = ring.survey().unwrap_err();
            assert_eq!(damage.kind, DamageKind::Header(PageFault::WrongPage { found: b, expected: a }));
        }
    }
    for id in 1..=4 {
        let mut ring = Ring::new(1, 4, never);
        let foreign = PageHeader::new([9; 16], id, geometry(), 3, 0);
        ring.files.get_mut(&id).unwrap()[..128].copy_from_slice(foreign.as_bytes());
        assert_eq!(ring.survey().unwrap_err().kind, DamageKind::Header(PageFault::ForeignRing), "page {id}");
    }
}

#[test]
fn a_hole_above_the_durable_position_ends_the_log_and_one_below_is_damage() {
    let ring = Ring::new(1, 4, never).without_record(2, 3);
    let survey = ring.survey().unwrap();
    assert_eq!((pages(&survey), survey.tip()), (vec![1, 2], Some(PER_PAGE + 3)));
    assert_eq!(survey.pages_lost(), 2);
    assert_eq!(survey.torn.unwrap().beyond.records, PER_PAGE - 4 + 1, "the rest of the page and its seal");

    let damage = Ring::new(1, 4, one_by_one).without_record(2, 3).survey().unwrap_err();
    assert_eq!((damage.page, damage.offset, damage.after_seq_no), (2, Ring::offset(3), PER_PAGE + 3));
    // What stands behind the hole in the same page tells as well.
    let ring = Ring::new(1, 2, one_by_one).without_record(2, 0);
    assert_eq!(ring.survey().unwrap_err().offset, Ring::offset(0));
}

#[test]
fn a_torn_seal_is_written_again_if_the_next_page_goes_on() {
    for durable in [one_by_one, never] {
        let survey = Ring::new(1, 3, durable).without_record(1, PER_PAGE).survey().unwrap();
        assert_eq!(pages(&survey), [1, 2, 3]);
        assert!(survey.pages[0].reseal && !survey.pages[0].sealed && !survey.pages[1].reseal);
    }
}

/// A writer that promises nothing for power cuts recycles pages before anything in the ring is durable. Any
/// page can be spoilt then; the longest run is what is left of the log.
#[test]
fn without_anything_durable_the_longest_run_counts() {
    let old = |_| at(2, Ring::offset(1));
    let early = |first, last, durable: &dyn Fn(u64) -> Position| {
        let mut ring = Ring::new(first, last, durable);
        ring.meta.trims_early = true;
        ring
    };
    let run = |ring: Ring| pages(&ring.survey().unwrap());
    assert_eq!(run(early(9, 16, &old)), (9..=16).collect::<Vec<_>>());
    assert_eq!(run(early(9, 16, &old).without_record(10, 2)), (11..=16).collect::<Vec<_>>());
    assert_eq!(run(early(9, 16, &old).without_record(15, 2)), (9..=15).collect::<Vec<_>>());
    assert_eq!(run(early(9, 16, &old).without_header(12)), (13..=16).collect::<Vec<_>>());
    assert_eq!(run(early(9, 16, &old).without_header(9)), (10..=16).collect::<Vec<_>>());
    let two_holes = early(9, 16, &old).without_record(11, 0).without_header(15);
    assert_eq!(run(two_holes.clone()), (12..=14).collect::<Vec<_>>());
    let survey = two_holes.survey().unwrap();
    let left: Vec<u64> = survey.left_overs.iter().map(|page| page.id).collect();
    assert_eq!(left, [9, 10, 11, 15, 16]);

    // Names that came back with a power cut, and later pages in the files.
    let mut back = early(9, 16, &old);
    for (name, page) in [(9, 15), (10, 16)] {
        let content = back.files[&page].clone();
        back.files.insert(name, content);
    }
    assert_eq!(run(back.clone()), (11..=16).collect::<Vec<_>>());
    back.meta.durable = at(10, Ring::offset(1));
    back.survey().expect_err("one of them had been durable");

    // What had been durable was trimmed for pages of which nothing has survived.
    let mut nothing = early(3, 3, &old).without_header(3);
    nothing.meta.durable = old(0);
    let lost = nothing.survey().unwrap();
    assert_eq!((pages(&lost), lost.next_id, lost.durable), (vec![], 4, Position::start_of(3)));
    // The next opening may come before, while, or after what is left over goes.
    let mut again = nothing.clone();
    again.meta.durable = lost.durable;
    assert_eq!((run(again.clone()), again.survey().unwrap().next_id), (vec![], 4));
    again.files.clear();
    assert_eq!((run(again.clone()), again.survey().unwrap().next_id), (vec![], 3));
    again.files = early(4, 4, &never).files;
    assert_eq!(run(again), [4]);
    nothing.meta.trims_early = false;
    assert_eq!(nothing.survey().unwrap_err().kind, DamageKind::Header(PageFault::Magic));

    // A log that goes on from its beginning, or from what was durable, is kept up to the first hole.
    assert_eq!(run(early(1, 8, &never).without_record(2, 0)), [1, 2]);
    assert_eq!(run(early(2, 8, &old).without_record(4, 0)), [2, 3, 4]);
    // The page of the durable position itself has gone.
    assert_eq!(run(early(3, 8, &old).without_record(4, 0)), [5, 6, 7, 8]);
}

/// Whatever is left of the pages, and wherever a crash stops the removal of what is left over, the next
/// survey comes to the same log: otherwise records would come back that the last one had given up, or go that
/// it had kept.
#[test]
fn a_removal_that_stops_half_way_leaves_the_same_log() {
    let old = |_| at(2, Ring::offset(1));
    for (first, durable) in [(9, &old as &dyn Fn(u64) -> Position), (9, &never), (1, &never), (2, &old)] {
        let mut whole = Ring::new(first, first + 5, durable);
        whole.meta.trims_early = true;
        // Each page is whole, without its header, without a record in the middle, or without its first one.
        for spoilt in 0..4_u32.pow(6) {
            let mut ring = whole.clone();
            for n in 0..6 {
                ring = match spoilt >> (2 * n) & 3 {
                    0 => ring,
                    1 => ring.without_header(first + n),
                    2 => ring.without_record(first + n, 1),
                    _ => ring.without_record(first + n, 0),
                };
            }
            let Ok(found) = ring.survey() else { continue };
            ring.meta.durable = found.durable;
            for page in found.removals() {
                ring.files.remove(&page.id);
                let again = ring.survey().map(|survey| (pages(&survey), survey.tip(), survey.next_id));
                let expected = (pages(&found), found.tip(), found.next_id);
                if !expected.0.is_empty() {
                    assert_eq!(again, Ok(expected), "pages from {first}, {spoilt:#x}, page {} gone", page.id);
                } else {
                    assert_eq!(again.map(|again| again.0), Ok(vec![]), "{first}, {spoilt:#x}, {}", page.id);
                }
            }
            assert_eq!(ring.survey().map(|survey| survey.left_overs), Ok(vec![]), "{first}, {spoilt:#x}");
        }
    }
}

#[test]
fn a_ring_that_was_closed_is_believed_only_if_it_is_as_it_was() {
    let end = at(4, Ring::offset(2));
    let mut ring = Ring::new(1, 4, never).prepared(5);
    ring.meta.clean_end = end;
    let survey = ring.survey().unwrap();
    assert!(survey.clean && survey.ready.is_some_and(|ready| ready.id == 5) && survey.left_overs.is_empty());

    // Metadata from before the last start was put back: the log goes on behind the end that it names.
    ring.meta.clean_end = at(4, Ring::offset(1));
    ring.meta.epoch = 1;
    let survey = ring.survey().unwrap();
    assert!(!survey.clean && survey.end() == end);
    assert_eq!(survey.epoch_max, 3, "the epoch of what is there, not that of the metadata");
    // The footer of that close is still there.
    ring.meta.clean_end = at(3, Ring::offset(2));
    let early = Ring::new(1, 3, never).files[&3].clone();
    let header = PageHeader::check(&early[..128], PAGE_LEN, &RING, 3).unwrap();
    let read = read_page(&File(&early), &header, None, PayloadCheck::Verify).unwrap();
    let footer = crate::page::PageFooter::new(&header, &read.summary, &read.index);
    let mut stale = ring.clone();
    let (index_at, _) = footer.index_range(&geometry());
    let page = stale.files.get_mut(&3).unwrap();
    page[index_at as usize..][..24].copy_from_slice(read.index.as_bytes());
    page[(PAGE_LEN - 128) as usize..].copy_from_slice(footer.as_bytes());
    assert_eq!(stale.survey().unwrap().end(), end);
    // The record right behind that end was lost, those behind it are there.
    ring.meta.clean_end = at(4, Ring::offset(0));
    ring.meta.epoch = 3;
    let survey = ring.clone().without_record(4, 0).survey().unwrap();
    assert!(!survey.clean && survey.torn.unwrap().beyond.records == 1);
    ring.meta.epoch = 1;

    // It ended in a page that is gone, or is not what it was.
    ring.meta.clean_end = end;
    for harm in [Ring::without_header, |ring: Ring, id| ring.without_record(id, 1)] {
        harm(ring.clone(), 4).survey().expect_err("the last page was closed");
    }
    ring.files.remove(&5);
    ring.files.remove(&4);
    assert_eq!(ring.survey().unwrap_err().page, 4);
}

/// Pages are looked through in pieces, and what is blank is passed over in blocks. Neither may hide a header:
/// whoever stands behind the end of the log would be taken for a record once the log has grown up to it.
#[test]
fn every_good_header_behind_the_end_is_found_wherever_it_stands() {
    const LEN: u64 = (2 << 20) + 4096;
    const FROM: u64 = 4096 + 24;
    let seed = PageSeed::new(&RING, 9);
    let header = |offset: u64, durable: Position, epoch: u32, payload: usize| {
        let stamp = Stamp { time_ns: 1, durable, epoch };
        Record::encode(
            seed,
            offset as u32,
            RecordNumbers { seq_no: offset, prev_seq_no: offset - 1 },
            payload,
            payload_hash(&vec![0; payload]),
            stamp,
        )
    };
    let piece = 1 << 20;
    let around = |at: u64| [at - 56, at - 48, at - 40, at - 8, at, at + 8, at + 40, at + 48];
    let mut places: Vec<u64> =
        [FROM + 4096, FROM + piece, FROM + piece + 4096, FROM + 2 * piece - 8192].map(around).concat();
    places.extend([FROM, FROM + 8, FROM + 48, LEN - 96, LEN - 56, LEN - 48]);
    for at in &places {
        let mut bytes = vec![0; LEN as usize];
        let payload = ((LEN - at) as usize - 48).min(16);
        bytes[*at as usize..][..48]
            .copy_from_slice(header(*at, Position::start_of(7), 5, payload).as_bytes());
        let found = look_beyond(&File(&bytes), seed, FROM, LEN).unwrap();
        let end = at + 48 + payload as u64;
        assert_eq!(found, Beyond { durable: Position::start_of(7), epoch: 5, records: 1, end }, "at {at}");
        // What stands before it does not count, and neither does what belongs to another page.
        assert_eq!(look_beyond(&File(&bytes), seed, at + 8, LEN).unwrap(), Beyond::default(), "at {at}");
        let other = PageSeed::new(&RING, 8);
        assert_eq!(look_beyond(&File(&bytes), other, FROM, LEN).unwrap(), Beyond::default(), "at {at}");
        // A file that ends too early, in front of it and right behind it.
        let cut = |len: u64| look_beyond(&File(&bytes[..len as usize]), seed, FROM, LEN).unwrap().records;
        assert_eq!((cut(at + 47), cut(at + 48)), (0, 1), "at {at}");
        // Nothing behind the limit is looked at.
        if *at > FROM {
            assert_eq!(look_beyond(&File(&bytes), seed, FROM, *at).unwrap(), Beyond::default(), "at {at}");
        }
        // Bytes that cancel each other out are not blank.
        let block = FROM + (at - FROM) % piece / 4096 * 4096 + (at - FROM) / piece * piece;
        if at + 56 < block + 4096 && payload > 8 {
            let mut cancelled = bytes.clone();
            cancelled[*at as usize + 48] = bytes.iter().fold(0, |sum, byte| sum ^ byte);
            assert_eq!(look_beyond(&File(&cancelled), seed, FROM, LEN).unwrap().records, 1, "at {at}");
        }
        // A record that would reach over the limit is none.
        if payload > 0 {
            assert_eq!(look_beyond(&File(&bytes), seed, FROM, end - 8).unwrap().records, 0, "at {at}");
            assert_eq!(look_beyond(&File(&bytes), seed, FROM, end).unwrap().records, 1, "at {at}");
        }
    }
    // All that do not overlap, in one page: the highest of everything counts.
    places.sort_unstable();
    let mut bytes = vec![0; LEN as usize];
    let (mut next, mut count) = (0, 0);
    for at in places.into_iter().filter(|at| at + 48 <= LEN) {
        if at < next {
            continue;
        }
        let (durable, epoch) = (Position::start_of(1 + count * 7 % 5), 1 + (count * 5 % 7) as u32);
        bytes[at as usize..][..48].copy_from_slice(header(at, durable, epoch, 0).as_bytes());
        (next, count) = (at + 48, count + 1);
    }
    let found = look_beyond(&File(&bytes), seed, FROM, LEN).unwrap();
    assert_eq!(found, Beyond { durable: Position::start_of(5), epoch: 7, records: count, end: next });
}

/// A footer spares the walk through its page. It may have reached the disk before the records that it speaks
/// for, so that something else has to vouch for it: the seal, or the end that a clean close noted.
#[test]
fn a_footer_is_believed_if_the_seal_or_a_clean_close_vouches_for_it() {
    let ring = Ring::new(2, 3, |_| Position::NONE);
    let whole = &ring.files[&2];
    let header = PageHeader::check_any(whole, PAGE_LEN).unwrap();
    let walked = read_page(&File(whole), &header, None, PayloadCheck::Verify).unwrap();
    assert!(walked.walked && walked.sealed && !walked.index.is_empty());
    let with_footer = |page: &[u8], read: &PageRead| {
        let footer = PageFooter::new(&header, &read.summary, &read.index);
        let (at, _) = footer.index_range(&header.geometry());
        let mut bytes = page.to_vec();
        let end = [read.index.as_bytes(), footer.as_bytes()].concat();
        bytes[at as usize..][..end.len()].copy_from_slice(&end);
        (bytes, at as usize)
    };
    let read = |bytes: &[u8], clean_end| read_footer(&File(bytes), &header, clean_end).unwrap();
    let (sealed, index_at) = with_footer(whole, &walked);
    let found = read(&sealed, Position::NONE).expect("the seal vouches for it");
    assert_eq!((found.summary, &found.index), (walked.summary, &walked.index));
    assert!(found.sealed && !found.walked && found.fault.is_none());
    assert!(read(whole, Position::NONE).is_none(), "there is no footer");

    // Any byte of the seal, of the footer and of the index counts.
    let end = walked.summary.records_end as usize;
    let clean_end = at(2, end as u64);
    let footer_at = header.geometry().footer_offset() as usize;
    for (from, to, closed) in
        [(end, end + 48, true), (footer_at, PAGE_LEN as usize, false), (index_at, index_at + 24, false)]
    {
        for byte in from..to {
            let mut bytes = sealed.clone();
            bytes[byte] ^= 0x10;
            assert!(read(&bytes, Position::NONE).is_none(), "byte {byte}");
            // After a clean close there is no seal in the last page.
            let found = read(&bytes, clean_end);
            assert_eq!(
                found.as_ref().is_some_and(|found| !found.sealed && found.summary == walked.summary),
                closed,
                "byte {byte}"
            );
            let elsewhere = at(2, end as u64 - 8);
            assert!(read(&bytes, elsewhere).is_none(), "byte {byte}");
            assert!(read(&bytes, at(3, end as u64)).is_none(), "byte {byte}");
        }
    }
    // A good seal that counts something else.
    for (last_seq_no, records) in [(14, 6), (13, 7)] {
        let stamp = Stamp { time_ns: 1, durable: Position::NONE, epoch: 3 };
        let seal = Seal::encode(
            PageSeed::new(&RING, 2),
            PageEnd { offset: end as u64, last_seq_no, records },
            stamp,
        );
        let mut bytes = sealed.clone();
        bytes[end..][..48].copy_from_slice(seal.as_bytes());
        assert!(read(&bytes, Position::NONE).is_none(), "{last_seq_no} {records}");
    }
}

/// The index that a walk makes goes into a footer, which has room for so many entries and no more.
#[test]
fn the_index_of_a_walked_page_is_sparse_and_keeps_within_its_capacity() {
    const LEN: u64 = 128 << 10;
    for capacity in [1, 3, 100] {
        let geometry = PageGeometry::new(LEN, capacity).unwrap();
        let header = PageHeader::new(RING, 1, geometry, 3, 0);
        let mut bytes = vec![0; LEN as usize];
        bytes[..128].copy_from_slice(header.as_bytes());
        let stamp = Stamp { time_ns: 5, durable: Position::NONE, epoch: 3 };
        for n in 0..60 {
            let offset = Ring::offset(n);
            let payload = vec![9; PAYLOAD];
            let raw = Record::encode(
                PageSeed::new(&RING, 1),
                offset as u32,
                RecordNumbers { seq_no: n + 1, prev_seq_no: n },
                PAYLOAD,
                payload_hash(&payload),
                stamp,
            );
            bytes[offset as usize..][..RECORD_HEADER_LEN].copy_from_slice(raw.as_bytes());
            bytes[offset as usize + RECORD_HEADER_LEN..][..PAYLOAD].copy_from_slice(&payload);
        }
        let read = read_page(&File(&bytes), &header, None, PayloadCheck::Verify).unwrap();
        assert_eq!(read.summary.records, 60);
        let mut expected: Vec<u64> = Vec::new();
        for offset in (0..60).map(Ring::offset) {
            if expected.last().is_none_or(|last| offset - last >= 16 << 10) {
                expected.push(offset);
            }
        }
        expected.truncate(capacity as usize);
        assert!(read.index.iter().map(|entry| entry.offset).eq(expected), "{capacity}: {:?}", read.index);
    }
}
