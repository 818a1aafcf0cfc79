//! How much goes into a page, and which records get an index entry.

use super::*;
use crate::disk::FileRights;
use crate::disk::faulty::FaultyDisk;
use crate::page::PageTemplate;
use crate::testing::{Home, LAZY, small};
use crate::{Io, Position};
use waldo_shm_protocol::page::PageGeometry;

const FIRST: u64 = PAGE_HEADER_LEN as u64;
const STAMP: Stamp = Stamp { time_ns: 700, durable: Position::NONE, epoch: 3 };

/// An entry is due every 1024 bytes or 8 records; there are 16 at most.
fn options() -> WriterOptions {
    small(Io::Pwrite, LAZY)
}

fn page(home: &Home) -> Arc<Page> {
    let options = options();
    let template = PageTemplate {
        ring_id: [7; 16],
        geometry: PageGeometry::new(options.page_len, options.index_capacity).unwrap(),
        epoch: 3,
        rights: FileRights::PRIVATE,
        durable: false,
    };
    Arc::new(template.fresh(&FaultyDisk::open(home.path()), 4).unwrap())
}

/// Where the last record may end, the seal behind it.
fn limit(active: &ActivePage) -> u64 {
    active.page.header.geometry().footer_offset() - 16 * 24 - 48
}

fn count(active: &mut ActivePage, size: usize, options: &WriterOptions) -> Option<IndexEntry> {
    let seq_no = 101 + active.summary.records;
    let stamp = Stamp { time_ns: STAMP.time_ns + seq_no, ..STAMP };
    active.count(RecordNumbers { seq_no, prev_seq_no: seq_no - 1 }, stamp, size, options)
}

#[test]
fn a_page_takes_what_leaves_room_for_its_seal_and_no_more_records_than_it_may() {
    let home = Home::new();
    let mut active = ActivePage::empty(page(&home), 5, 2);
    assert_eq!((active.offset, active.summary.records_end), (FIRST, FIRST));
    assert_eq!((active.summary.records_before, active.summary.epoch), (5, 2));
    let most = (limit(&active) - FIRST) as usize;
    assert!(active.has_room(most, 1) && !active.has_room(most + 8, 1));
    assert!(!active.has_room(48, 0), "it is to take no record");
    count(&mut active, most - 48, &options());
    assert!(active.has_room(48, 2) && active.has_room(48, 3));
    assert!(!active.has_room(48, 1), "it has as many as it may");
    assert!(!active.has_room(56, 2));
    count(&mut active, 48, &options());
    assert_eq!(active.offset, limit(&active));
    assert!(!active.has_room(48, 3));
}

/// Readers look for a record from the entry before it on: how far they walk is what the options say.
#[test]
fn an_entry_stands_every_so_many_bytes_and_records_until_the_index_is_full() {
    let options = options();
    for sizes in [&[56][..], &[520], &[1024], &[48, 600, 72, 1200], &[1016, 48]] {
        let home = Home::new();
        let mut active = ActivePage::empty(page(&home), 0, 3);
        let (mut since, mut expected) = (None, Vec::new());
        for size in sizes.iter().cycle().copied() {
            if !active.has_room(size, u64::MAX) {
                break;
            }
            let full = expected.len() == 16;
            let due = since.is_none_or(|(bytes, records)| bytes >= 1024 || records >= 8);
            // What may be put without a look is what needs none.
            let room = active.room(&options);
            let bytes = (limit(&active) - active.offset) as usize;
            let expected_room = match since {
                None => (0, 0, 0),
                Some(_) if full => (bytes, usize::MAX, usize::MAX - active.summary.records as usize),
                Some((since, records)) => {
                    (bytes, 1024_usize.saturating_sub(since), 8_usize.saturating_sub(records))
                }
            };
            assert_eq!((room.bytes, room.index_bytes, room.records), expected_room, "{sizes:?}");
            let seq_no = 101 + active.summary.records;
            let entry = IndexEntry { seq_no, time_ns: STAMP.time_ns + seq_no, offset: active.offset };
            let entered = (due && !full).then_some(entry);
            assert_eq!(count(&mut active, size, &options), entered, "record {seq_no} of {sizes:?}");
            expected.extend(entered);
            let (bytes, records) = if entered.is_some() { (0, 0) } else { since.unwrap_or_default() };
            since = Some((bytes + size, records + 1));
        }
        assert_eq!(active.index, expected, "{sizes:?}");
    }
}

#[test]
fn a_page_that_may_take_few_more_records_has_room_for_those() {
    let home = Home::new();
    let options = WriterOptions { page_records_max: 5, ..options() };
    let mut active = ActivePage::empty(page(&home), 0, 3);
    for left in [4, 3, 2, 1, 0] {
        count(&mut active, 48, &options);
        assert_eq!(active.room(&options).records, left);
    }
}

#[test]
fn records_that_are_counted_together_count_as_one_by_one() {
    let (home, other) = (Home::new(), Home::new());
    let options = options();
    let mut single = ActivePage::empty(page(&home), 9, 2);
    let mut together = ActivePage::empty(page(&other), 9, 2);
    count(&mut single, 64, &options);
    count(&mut together, 64, &options);
    for _ in 0..3 {
        count(&mut single, 72, &options);
    }
    together.count_run(3, 3 * 72, 104, Stamp { time_ns: STAMP.time_ns + 104, ..STAMP });
    assert_eq!((together.offset, together.summary), (single.offset, single.summary));
    let rooms = [&single, &together].map(|active| active.room(&options)).map(|room| format!("{room:?}"));
    assert_eq!(rooms[0], rooms[1]);
    let expected = PageSummary {
        first_seq_no: 101,
        prev_seq_no: 100,
        last_seq_no: 104,
        records: 4,
        records_end: FIRST + 64 + 3 * 72,
        first_time_ns: 801,
        last_time_ns: 804,
        records_before: 9,
        epoch: 3,
    };
    assert_eq!(single.summary, expected);
}

#[test]
fn the_directory_is_told_where_a_page_begins() {
    let home = Home::new();
    let mut active = ActivePage::empty(page(&home), 9, 3);
    count(&mut active, 64, &options());
    count(&mut active, 64, &options());
    let expected = PageInfo {
        page_id: 4,
        first_seq_no: 101,
        prev_seq_no: 100,
        first_time_ns: 801,
        records_before: 9,
        page_len: options().page_len,
        ..PageInfo::default()
    };
    assert_eq!(active.info(), expected);
}
