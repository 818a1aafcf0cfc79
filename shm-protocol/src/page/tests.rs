//! Page headers, footers and indexes: every fault, any bit flipped, any bytes.

use super::*;
use crate::RingId;
use crate::checksum::plain;
use crate::limits::*;
use proptest::prelude::*;
use zerocopy::IntoBytes;

const RING: RingId = *b"0123456789abcdef";
const PAGE_LEN: u64 = 64 * 1024;

fn geometry() -> PageGeometry {
    PageGeometry::new(PAGE_LEN, 16).unwrap()
}

fn header() -> PageHeader {
    PageHeader::new(RING, 7, geometry(), 3, 1_700_000_000_000_000_000)
}

fn summary() -> PageSummary {
    PageSummary {
        first_seq_no: 10,
        prev_seq_no: 9,
        last_seq_no: 30,
        records: 3,
        records_end: 4096 + 3 * 56,
        first_time_ns: 100,
        last_time_ns: 300,
        records_before: 12,
        epoch: 3,
    }
}

fn index() -> Vec<IndexEntry> {
    vec![
        IndexEntry { seq_no: 10, time_ns: 100, offset: 4096 },
        IndexEntry { seq_no: 30, time_ns: 300, offset: 4096 + 2 * 56 },
    ]
}

/// A header of which one thing is changed, the checksum made to fit again.
fn changed(change: impl FnOnce(&mut RawPageHeader)) -> Vec<u8> {
    let mut raw = header().raw;
    change(&mut raw);
    raw.checksum = plain(&raw.as_bytes()[..124]);
    raw.as_bytes().to_vec()
}

fn changed_footer(change: impl FnOnce(&mut RawPageFooter)) -> Vec<u8> {
    let mut raw = PageFooter::new(&header(), &summary(), &index()).0;
    change(&mut raw);
    raw.checksum = plain(&raw.as_bytes()[..124]);
    raw.as_bytes().to_vec()
}

fn check_any(bytes: &[u8]) -> Result<PageHeader, PageFault> {
    PageHeader::check_any(bytes, PAGE_LEN)
}

#[test]
fn geometry_has_its_limits() {
    let smallest = PageGeometry::new(PAGE_LEN_MIN, 502).unwrap();
    assert!(smallest.record_size_max() >= RECORD_HEADER_LEN as u64);
    assert_eq!(PageGeometry::new(PAGE_LEN_MIN, 503), None, "no room for a record and the seal");
    let largest = PageGeometry::new(PAGE_LEN_MAX, INDEX_CAPACITY_MAX).unwrap();
    assert!(crate::Position::new(1, largest.records_limit()).is_some(), "a watermark can stand at the limit");
    for (page_len, index_capacity) in [
        (PAGE_LEN_MIN - 4096, 1),
        (PAGE_LEN_MAX + 4096, 1),
        (PAGE_LEN_MIN + 8, 1),
        (PAGE_LEN_MIN, 0),
        (PAGE_LEN_MAX, INDEX_CAPACITY_MAX + 1),
        (u64::MAX, u32::MAX),
        (0, 0),
    ] {
        assert_eq!(PageGeometry::new(page_len, index_capacity), None);
    }
}

#[test]
fn parts_of_a_page_do_not_overlap() {
    let geometry = geometry();
    assert_eq!(geometry.records_limit(), PAGE_LEN - 128 - 16 * 24);
    assert_eq!(geometry.footer_offset(), PAGE_LEN - 128);
    assert_eq!(geometry.record_size_max() + 4096 + 48, geometry.records_limit());
    let full: Vec<_> =
        (0..16).map(|n| IndexEntry { seq_no: 10 + n, time_ns: 0, offset: 4096 + 8 * n }).collect();
    let footer = PageFooter::new(&header(), &summary(), &full);
    assert_eq!(footer.index_range(&geometry), (geometry.records_limit(), 16 * 24));
}

#[test]
fn records_reach_up_to_an_index_of_any_capacity() {
    for index_capacity in 1..=502 {
        let geometry = PageGeometry::new(PAGE_LEN_MIN, index_capacity).unwrap();
        assert_eq!(geometry.records_limit(), PAGE_LEN_MIN - 128 - 24 * u64::from(index_capacity));
    }
}

#[test]
fn header_round_trips() {
    let made = header();
    let read = PageHeader::check(made.as_bytes(), PAGE_LEN, &RING, 7).unwrap();
    assert_eq!(read, made);
    assert_eq!((read.geometry(), read.fields().page_id, read.fields().epoch), (geometry(), 7, 3));
    let last = PageHeader::new(RING, PAGE_ID_MAX, geometry(), u32::MAX, u64::MAX);
    assert_eq!(PageHeader::check(last.as_bytes(), PAGE_LEN, &RING, PAGE_ID_MAX), Ok(last));
}

#[test]
fn header_faults_name_their_causes() {
    use PageFault::*;
    let good = header();
    assert_eq!(check_any(&good.as_bytes()[..127]), Err(TooShort { len: PAGE_LEN }));
    assert_eq!(check_any(&[0; 128]), Err(Magic));
    assert_eq!(check_any(&PageHeader::retired_bytes()), Err(Retired));
    assert_eq!(PageHeader::check(good.as_bytes(), PAGE_LEN, &[0; 16], 7), Err(ForeignRing));
    assert_eq!(
        PageHeader::check(good.as_bytes(), PAGE_LEN, &RING, 8),
        Err(WrongPage { found: 7, expected: 8 })
    );
    assert_eq!(
        PageHeader::check_any(good.as_bytes(), PAGE_LEN - 1),
        Err(FileLen { stored: PAGE_LEN, actual: PAGE_LEN - 1 })
    );
    assert_eq!(check_any(&changed(|h| h.version = 2)), Err(Version { found: 2, known: 1 }));
    assert_eq!(check_any(&changed(|h| h.incompatible = 1 << 63)), Err(Incompatible { flags: 1 << 63 }));
    assert!(check_any(&changed(|h| h.compatible = u64::MAX)).is_ok());
    let ranges: [fn(&mut RawPageHeader); 7] = [
        |h| h.page_len = 4096,
        |h| h.page_len += 1,
        |h| h.index_capacity = 0,
        |h| h.header_len = 128,
        |h| h.records_limit += 8,
        |h| h.page_id = 0,
        |h| h.page_id = PAGE_ID_MAX + 1,
    ];
    for (n, change) in ranges.into_iter().enumerate() {
        assert!(matches!(check_any(&changed(change)), Err(Range { .. })), "number {n}");
    }
    let mut damaged = good.raw;
    damaged.created_ns ^= 1;
    let computed = plain(&damaged.as_bytes()[..124]);
    assert_eq!(check_any(damaged.as_bytes()), Err(Checksum { stored: good.raw.checksum, computed }));
}

#[test]
fn newer_formats_are_refused_before_anything_else_is_believed() {
    // A later version may have its checksum elsewhere.
    let mut raw = header().raw;
    raw.version = 9;
    let fault = check_any(raw.as_bytes()).unwrap_err();
    assert!(fault.to_string().contains("use a newer waldo"), "{fault}");
    let fault = check_any(&changed(|h| h.incompatible = 2)).unwrap_err();
    assert!(fault.to_string().contains("use a newer waldo"), "{fault}");
}

#[test]
fn footer_round_trips() {
    let (header, entries) = (header(), index());
    let footer = PageFooter::new(&header, &summary(), &entries);
    let read = PageFooter::check(footer.as_bytes(), &header).unwrap();
    assert_eq!((read, read.summary(), read.index_len()), (footer, summary(), 2));
    assert_eq!(read.index_range(&geometry()), (PAGE_LEN - 128 - 48, 48));
    assert_eq!(read.check_index(entries.as_bytes()), Ok(entries));
}

#[test]
fn footer_faults_name_their_causes() {
    use PageFault::*;
    let check = |bytes: &[u8]| PageFooter::check(bytes, &header());
    assert_eq!(check(&[0; 127]), Err(TooShort { len: 127 }));
    assert_eq!(check(&[0; 128]), Err(Magic));
    // What an earlier page left in a recycled file counts as no footer.
    assert_eq!(check(&changed_footer(|f| f.page_id = 6)), Err(Magic));
    assert_eq!(check(&changed_footer(|f| f.ring_id = [0; 16])), Err(Magic));
    let last = geometry().records_limit() - 48;
    assert!(check(&changed_footer(|f| f.records_end = last)).is_ok());
    let ranges: [fn(&mut RawPageFooter); 10] = [
        |f| f.records_end = 4096,
        |f| f.records_end = geometry().records_limit() - 40,
        |f| f.records_end += 4,
        |f| f.records_end = u64::MAX,
        |f| f.index_len = 0,
        |f| f.index_len = 17,
        |f| f.records = 0,
        |f| f.first_seq_no = f.prev_seq_no,
        |f| f.last_seq_no = f.first_seq_no - 1,
        |f| (f.first_seq_no, f.prev_seq_no) = (0, 0),
    ];
    for (n, change) in ranges.into_iter().enumerate() {
        assert!(matches!(check(&changed_footer(change)), Err(Range { .. })), "number {n}");
    }
    let mut damaged = PageFooter::new(&header(), &summary(), &index()).0;
    damaged.records += 1;
    assert!(matches!(check(damaged.as_bytes()), Err(Checksum { .. })));
}

#[test]
fn a_page_of_one_record_and_an_index_without_room_are_legal() {
    let lone = PageSummary { last_seq_no: 10, records: 1, records_end: 4096 + 48, ..summary() };
    let footer = PageFooter::new(&header(), &lone, &index()[..1]);
    assert_eq!(PageFooter::check(footer.as_bytes(), &header()), Ok(footer));
    let full = PageFooter::new(&header(), &summary(), &[index()[0]; 16]);
    assert_eq!(PageFooter::check(full.as_bytes(), &header()), Ok(full));
}

#[test]
fn index_faults_name_their_causes() {
    let check = |change: fn(&mut Vec<IndexEntry>)| {
        let mut entries = index();
        change(&mut entries);
        PageFooter::new(&header(), &summary(), &entries).check_index(entries.as_bytes())
    };
    assert!(check(|_| {}).is_ok());
    let wrong: [fn(&mut Vec<IndexEntry>); 6] = [
        |e| e[0].offset = 4088,
        |e| e[1].offset = summary().records_end,
        |e| e[1].offset += 4,
        |e| e[1].offset = e[0].offset,
        |e| e[1].seq_no = e[0].seq_no,
        |e| e.swap(0, 1),
    ];
    for (n, change) in wrong.into_iter().enumerate() {
        assert_eq!(check(change), Err(PageFault::Range { what: "index entries" }), "number {n}");
    }
    let footer = PageFooter::new(&header(), &summary(), &index());
    assert!(matches!(footer.check_index(&[0; 48]), Err(PageFault::Checksum { .. })));
    assert!(matches!(footer.check_index(&[]), Err(PageFault::Checksum { .. })));
}

#[test]
fn every_flipped_bit_is_detected() {
    let (header, entries) = (header(), index());
    let footer = PageFooter::new(&header, &summary(), &entries);
    let flip = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    for bit in 0..128 * 8 {
        assert!(check_any(&flip(header.as_bytes(), bit)).is_err(), "bit {bit} of the header");
        assert!(
            PageFooter::check(&flip(footer.as_bytes(), bit), &header).is_err(),
            "bit {bit} of the footer"
        );
    }
    for bit in 0..entries.as_bytes().len() * 8 {
        assert!(footer.check_index(&flip(entries.as_bytes(), bit)).is_err(), "bit {bit} of the index");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_checked_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..256),
        file_len: u64,
    ) {
        let _ = PageHeader::check_any(&bytes, file_len);
        let _ = PageHeader::check(&bytes, file_len, &RING, 1);
        let _ = PageFooter::check(&bytes, &header());
        let _ = PageFooter::new(&header(), &summary(), &index()).check_index(&bytes);
    }

    /// Behind a good checksum any number may stand: what is let through is consistent.
    #[test]
    fn any_header_with_a_good_checksum(
        page_len in prop_oneof![any::<u64>(), (0u64..1 << 20).prop_map(|n| n * 4096)],
        records_limit: u64, fits: bool, index_capacity in prop_oneof![any::<u32>(), 0u32..1000],
        header_len in prop_oneof![any::<u32>(), Just(4096)], page_id: u64, file_len: u64,
    ) {
        let limit = PageGeometry::new(page_len, index_capacity).filter(|_| fits);
        let records_limit = limit.map_or(records_limit, |g| g.records_limit());
        let bytes = changed(|h| {
            (h.page_len, h.records_limit, h.index_capacity) = (page_len, records_limit, index_capacity);
            (h.header_len, h.page_id) = (header_len, page_id);
        });
        for file_len in [file_len, page_len] {
            if let Ok(header) = PageHeader::check_any(&bytes, file_len) {
                let geometry = header.geometry();
                prop_assert_eq!(geometry.page_len(), file_len);
                prop_assert!(header.fields().records_limit <= geometry.footer_offset());
                prop_assert!(geometry.record_size_max() >= RECORD_HEADER_LEN as u64);
            }
        }
    }

    #[test]
    fn any_footer_with_a_good_checksum(
        numbers in prop::array::uniform8(any::<u64>()),
        index_len: u32,
        small: bool,
    ) {
        let small_or = |n: u64| if small { n % 70_000 } else { n };
        let bytes = changed_footer(|f| {
            (f.first_seq_no, f.prev_seq_no, f.last_seq_no) = (numbers[0], numbers[1], numbers[2]);
            (f.records, f.records_end) = (numbers[3], small_or(numbers[4]) & !7);
            f.index_len = if small { index_len % 20 } else { index_len };
        });
        if let Ok(footer) = PageFooter::check(&bytes, &header()) {
            let (start, len) = footer.index_range(&geometry());
            prop_assert!(start >= geometry().records_limit());
            prop_assert_eq!(start + len as u64, geometry().footer_offset());
            prop_assert!(footer.summary().records_end + 48 <= geometry().records_limit());
        }
    }
}
