//! Walks through one page that is longer than what is read at once, and through files that are not what they
//! were when their headers were read.

use super::*;
use crate::limits::PAYLOAD_LEN_MAX;
use crate::page::IndexEntry;
use crate::scan::WINDOW_MIN;

/// Longer than what a walk reads at once, and not a multiple of that.
const LONG: u64 = 5 * WINDOW_MIN as u64 + (16 << 10);

/// A page full of records of this many bytes of payload but for the last, and how many that are.
fn long_page(payload_len: usize) -> (PageHeader, Vec<u8>, u64) {
    let geometry = PageGeometry::new(LONG, 4).unwrap();
    let header = PageHeader::new(RING, 1, geometry, 3, 0);
    let seed = PageSeed::new(&RING, 1);
    let mut bytes = vec![0; LONG as usize];
    bytes[..128].copy_from_slice(header.as_bytes());
    let stamp = Stamp { time_ns: 5, durable: Position::NONE, epoch: 3 };
    let (mut offset, mut records) = (PAGE_HEADER_LEN, 0);
    loop {
        // The last record ends where the seal has to stand.
        let room = geometry.records_limit() as usize - RECORD_HEADER_LEN - offset;
        if room == 0 {
            break;
        }
        let size = room.min(align_record(RECORD_HEADER_LEN + payload_len));
        let payload = vec![9; size - RECORD_HEADER_LEN];
        let numbers = RecordNumbers { seq_no: records + 1, prev_seq_no: records };
        let hash = payload_hash(&payload);
        let raw = Record::encode(seed, offset as u32, numbers, payload.len(), hash, stamp);
        bytes[offset..][..RECORD_HEADER_LEN].copy_from_slice(raw.as_bytes());
        bytes[offset + RECORD_HEADER_LEN..][..payload.len()].copy_from_slice(&payload);
        (offset, records) = (offset + size, records + 1);
    }
    let seal = Seal::encode(seed, PageEnd { offset: offset as u64, last_seq_no: records, records }, stamp);
    bytes[offset..][..RECORD_HEADER_LEN].copy_from_slice(seal.as_bytes());
    (header, bytes, records)
}

/// What lies between the last record and the end of the file is no part of the walk, however much of the page
/// is read at once.
#[test]
fn a_page_of_any_length_is_walked_to_its_seal() {
    let (header, bytes, records) = long_page(100_000);
    let read = read_page(&File(&bytes), &header, None, PayloadCheck::Verify).unwrap();
    assert_eq!((read.fault, read.sealed, read.summary.records), (None, true, records));
    assert_eq!(read.summary.records_end, header.fields().records_limit - RECORD_HEADER_LEN as u64);
}

/// Somebody may cut a file short after its header was read: the walk ends there, with what it has found.
#[test]
fn a_walk_through_a_file_that_gets_shorter_ends_there() {
    let (header, bytes, _) = long_page(100_000);
    for len in [0, PAGE_HEADER_LEN, PAGE_HEADER_LEN + 20, 150_000, 4 * WINDOW_MIN, LONG as usize - 1000] {
        let read = read_page(&File(&bytes[..len]), &header, None, PayloadCheck::Verify).unwrap();
        assert!(!read.sealed && read.fault.is_some(), "{len}: {:?}", read.fault);
        assert!(read.summary.records_end <= len.max(PAGE_HEADER_LEN) as u64, "{len}");
    }
}

/// A footer speaks for the records that were found, whoever made it: what a walk says and what the footer
/// says of the same page are the same.
#[test]
fn the_index_of_a_page_names_records_that_are_there() {
    let (header, bytes, _) = long_page(100_000);
    let read = read_page(&File(&bytes), &header, None, PayloadCheck::Verify).unwrap();
    assert_eq!(read.index.len(), 4, "as many as there is room for");
    for IndexEntry { seq_no, offset, .. } in read.index {
        let raw = crate::RawRecord::read(&bytes[offset as usize..]).unwrap();
        raw.verify(PageSeed::new(&RING, 1), offset as u32).unwrap();
        assert_eq!(raw.seq_no, seq_no);
    }
}

/// The predecessor that the next page names decides whether a lost seal was one: only a good record counts.
#[test]
fn only_a_good_first_record_names_a_predecessor() {
    let ring = Ring::new(2, 3, never);
    let named = |bytes: &[u8]| {
        let header = PageHeader::check_any(&ring.files[&2], PAGE_LEN).unwrap();
        first_predecessor(&File(bytes), &header).unwrap()
    };
    let page = &ring.files[&2];
    assert_eq!(named(page), Some(PER_PAGE));
    for byte in 0..RECORD_HEADER_LEN {
        let mut bytes = page.clone();
        bytes[PAGE_HEADER_LEN + byte] ^= 0x10;
        assert_eq!(named(&bytes), None, "byte {byte}");
    }
    // A page that was sealed without a record in it, and a file that ends in front of the first one.
    let stamp = Stamp { time_ns: 5, durable: Position::NONE, epoch: 3 };
    let end = PageEnd { offset: PAGE_HEADER_LEN as u64, last_seq_no: 0, records: 0 };
    let mut empty = page.clone();
    let seal = Seal::encode(PageSeed::new(&RING, 2), end, stamp);
    empty[PAGE_HEADER_LEN..][..RECORD_HEADER_LEN].copy_from_slice(seal.as_bytes());
    assert_eq!((named(&empty), named(&page[..PAGE_HEADER_LEN + 40])), (None, None));
}

/// A log may end in a page that was begun and holds nothing yet, or consist of nothing else.
#[test]
fn the_last_record_stands_in_front_of_pages_that_are_empty() {
    for (last, tip) in [(2, Some(PER_PAGE)), (1, None)] {
        let begun = Ring::new(1, last, never).without_record(last, 0).without_record(last, 1);
        let survey = begun.survey().unwrap();
        assert_eq!((pages(&survey), survey.tip()), ((1..=last).collect(), tip));
        assert_eq!(survey.end(), Position::start_of(last));
    }
}

/// Metadata that somebody has put back can name an end of the log that the pages of today do not reach.
#[test]
fn nothing_is_looked_for_behind_the_end_of_a_page() {
    let bytes = vec![0xee; 4096];
    for from in [4000, 4096, 4100, 5000] {
        let found = look_beyond(&File(&bytes), PageSeed::new(&RING, 1), from, 4096).unwrap();
        assert_eq!(found, Beyond::default(), "from {from}");
    }
}

/// With metadata from before the last start the log goes on behind the end that they name. A crash may have
/// lost the record right behind that end, and it and the next one may be as long as records can be.
#[test]
fn a_closed_ring_is_looked_at_as_far_as_two_of_the_longest_records_reach() {
    let (header, mut bytes, records) = long_page(PAYLOAD_LEN_MAX);
    assert_eq!(records, 6);
    let size = align_record(RECORD_HEADER_LEN + PAYLOAD_LEN_MAX);
    let end = PAGE_HEADER_LEN + size;
    bytes[end..][..size].fill(0);
    let mut ring = Ring::new(1, 1, never);
    ring.meta.geometry = header.geometry();
    ring.meta.clean_end = at(1, end as u64);
    ring.files.insert(1, bytes);
    let survey = ring.survey().unwrap();
    assert!(!survey.clean);
    assert_eq!(survey.torn.unwrap().beyond.records, 5, "four records and the seal");
}
