//! Walking a page: windows of every size, torn tails, old lives of the same bytes.

use super::*;
use crate::limits::{PAGE_LEN_MIN, PAYLOAD_LEN_MAX};
use crate::page::{PageGeometry, RECORDS_UNKNOWN};
use crate::record::{PageEnd, RecordNumbers, Stamp};
use crate::scan::PayloadCheck;
use crate::{Position, payload_hash};
use proptest::prelude::*;
use zerocopy::IntoBytes;

const RING: [u8; 16] = *b"0123456789abcdef";

/// A page in the making, as the writer would fill it.
struct Page {
    header: PageHeader,
    bytes: Vec<u8>,
    end: usize,
    last: u64,
    records: u64,
    epoch: u32,
}

impl Page {
    /// `stale` is what stands in the blocks before anything is written to them.
    fn new(page_len: u64, stale: u8) -> Page {
        let header = PageHeader::new(RING, 7, PageGeometry::new(page_len, 4).unwrap(), 3, 0);
        let mut bytes = vec![stale; page_len as usize];
        bytes[..128].copy_from_slice(header.as_bytes());
        Page { header, bytes, end: PAGE_HEADER_LEN, last: 40, records: 0, epoch: 3 }
    }

    fn stamp(&self) -> Stamp {
        Stamp { time_ns: 1000 + self.records, durable: Position::NONE, epoch: self.epoch }
    }

    fn seed(&self) -> PageSeed {
        PageSeed::new(&RING, 7)
    }

    fn push(&mut self, payload: &[u8]) {
        let seq = (self.last + 1, self.last);
        self.push_as(seq, payload, payload_hash(payload));
    }

    fn push_as(&mut self, seq: (u64, u64), payload: &[u8], hash: u32) {
        let raw = Record::encode(
            self.seed(),
            self.end as u32,
            RecordNumbers { seq_no: seq.0, prev_seq_no: seq.1 },
            payload.len(),
            hash,
            self.stamp(),
        );
        let size = crate::limits::align_record(RECORD_HEADER_LEN + payload.len());
        let place = &mut self.bytes[self.end..self.end + size];
        place.fill(0);
        place[..RECORD_HEADER_LEN].copy_from_slice(raw.as_bytes());
        place[RECORD_HEADER_LEN..][..payload.len()].copy_from_slice(payload);
        self.end += size;
        self.last = seq.0;
        self.records += 1;
    }

    fn seal(&mut self) {
        self.seal_as(self.last, self.records);
    }

    fn seal_as(&mut self, last: u64, records: u64) {
        let raw = Seal::encode(
            self.seed(),
            PageEnd { offset: self.end as u64, last_seq_no: last, records },
            self.stamp(),
        );
        self.bytes[self.end..][..RECORD_HEADER_LEN].copy_from_slice(raw.as_bytes());
    }

    fn scan(&self) -> PageScan {
        PageScan::new(&self.header, Some(40), 0, PayloadCheck::Verify)
    }

    /// All steps of a walk with the whole page in the window.
    fn steps(&self) -> Vec<Step> {
        steps(self.scan(), &self.bytes)
    }

    fn fault(&self) -> RecordFault {
        match self.steps().last() {
            Some(Step::Fault { fault, .. }) => *fault,
            other => panic!("{other:?} instead of a fault"),
        }
    }

    fn filled() -> Page {
        let mut page = Page::new(PAGE_LEN_MIN, 0);
        for len in [0, 1, 8, 9, 100, 1000] {
            page.push(&vec![len as u8; len]);
        }
        page.seal();
        page
    }
}

fn steps(mut scan: PageScan, bytes: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let step = scan.step(bytes, 0);
        steps.push(step);
        if !matches!(step, Step::Record { .. }) {
            return steps;
        }
    }
}

#[test]
fn walks_to_the_seal() {
    let page = Page::filled();
    let found = page.steps();
    assert_eq!(found.len(), 7);
    let Step::Seal { offset, seal } = found[6] else { panic!("no seal: {found:?}") };
    assert_eq!((offset, seal.last_seq_no(), seal.records()), (page.end as u64, 46, 6));
    let mut scan = page.scan();
    while let Step::Record { .. } = scan.step(&page.bytes, 0) {}
    let summary = PageSummary {
        first_seq_no: 41,
        prev_seq_no: 40,
        last_seq_no: 46,
        records: 6,
        records_end: page.end as u64,
        first_time_ns: 1000,
        last_time_ns: 1005,
        records_before: RECORDS_UNKNOWN,
        epoch: 3,
    };
    assert_eq!((scan.summary(), scan.offset()), (&summary, page.end as u64));
    assert_eq!(scan.step(&page.bytes, 0), found[6], "the walk stays where it ended");
}

#[test]
fn an_empty_page_ends_at_its_first_byte() {
    let page = Page::new(PAGE_LEN_MIN, 0);
    let blank = Step::Fault { offset: 4096, fault: RecordFault::Blank };
    assert_eq!(page.steps(), [blank]);
    assert_eq!(page.scan().summary().records_end, 4096);
    // In a recycled page, what stands behind the last record is not blank.
    assert!(matches!(Page::new(PAGE_LEN_MIN, 0xff).fault(), RecordFault::Flags { flags: 0xff }));
    assert!(matches!(Page::new(PAGE_LEN_MIN, 0).fault(), RecordFault::Blank));
}

#[test]
fn faults_name_their_causes() {
    let faulty = |fill: fn(&mut Page)| {
        let mut page = Page::new(PAGE_LEN_MIN, 0);
        page.push(b"first");
        fill(&mut page);
        page.fault()
    };
    assert_eq!(faulty(|_| {}), RecordFault::Blank);
    assert_eq!(
        faulty(|p| p.push_as((99, 98), b"", 0)),
        RecordFault::Chain { seq_no: 99, found: 98, expected: 41 }
    );
    assert_eq!(
        faulty(|p| p.push_as((42, 41), b"x", 1)),
        RecordFault::Payload { stored: 1, computed: payload_hash(b"x") }
    );
    let older = faulty(|p| {
        p.epoch = 2;
        p.push(b"from an earlier life");
    });
    assert_eq!(older, RecordFault::Epoch { found: 2, expected: 3 });
    let older = faulty(|p| {
        p.epoch = 2;
        p.seal();
    });
    assert_eq!(older, RecordFault::Epoch { found: 2, expected: 3 }, "seals too");
    let seal = |last_seq_no, records| RecordFault::Seal {
        records,
        last_seq_no,
        found_records: 1,
        found_last_seq_no: 41,
    };
    assert_eq!(faulty(|p| p.seal_as(41, 2)), seal(41, 2));
    assert_eq!(faulty(|p| p.seal_as(42, 1)), seal(42, 1));
    assert!(matches!(faulty(|p| p.bytes[4096 + 30] ^= 1), RecordFault::Checksum { .. }));
    assert!(matches!(faulty(|p| p.bytes[4096] = 20), RecordFault::Length { length: 20, .. }));
}

#[test]
fn the_end_of_the_page_before_is_checked_if_known() {
    let page = Page::filled();
    let first =
        |prev, epoch| PageScan::new(&page.header, prev, epoch, PayloadCheck::Verify).step(&page.bytes, 0);
    assert!(matches!(first(None, 3), Step::Record { .. }));
    let chain = RecordFault::Chain { seq_no: 41, found: 40, expected: 39 };
    assert_eq!(first(Some(39), 3), Step::Fault { offset: 4096, fault: chain });
    let epoch = RecordFault::Epoch { found: 3, expected: 4 };
    assert_eq!(first(Some(40), 4), Step::Fault { offset: 4096, fault: epoch });
}

#[test]
fn payloads_are_read_only_if_asked_for() {
    let mut page = Page::new(PAGE_LEN_MIN, 0);
    page.push_as((41, 40), b"damaged", 1);
    let mut headers_only = PageScan::new(&page.header, Some(40), 0, PayloadCheck::Skip);
    assert!(matches!(headers_only.step(&page.bytes, 0), Step::Record { .. }));
    assert!(matches!(page.fault(), RecordFault::Payload { .. }));
}

#[test]
fn a_page_may_be_filled_to_the_last_byte() {
    let mut page = Page::new(PAGE_LEN_MIN, 0xee);
    let room = page.header.geometry().record_size_max() as usize;
    page.push(&vec![1; room - RECORD_HEADER_LEN]);
    page.seal();
    assert!(matches!(page.steps()[..], [Step::Record { .. }, Step::Seal { .. }]));
    // Without a seal, no room is left for a header: also an end, never a read beyond the limit.
    let mut page = Page::new(PAGE_LEN_MIN, 0xee);
    page.push(&vec![1; room - RECORD_HEADER_LEN + 8]);
    assert_eq!(page.fault(), RecordFault::NoRoom { room: 40 });
    let mut page = Page::new(PAGE_LEN_MIN, 0xee);
    page.push(&vec![1; room]);
    assert_eq!(page.fault(), RecordFault::NoRoom { room: 0 });
}

#[test]
fn records_do_not_reach_into_the_index() {
    let mut page = Page::new(PAGE_LEN_MIN, 0);
    let limit = page.header.fields().records_limit;
    page.push(&vec![1; page.header.geometry().record_size_max() as usize + 8]);
    let room = limit - PAGE_HEADER_LEN as u64;
    assert_eq!(page.fault(), RecordFault::Length { length: (room + 8) as u32, room });
}

#[test]
fn the_largest_record_fits_the_smallest_sufficient_window() {
    let mut page = Page::new(3 << 20, 0xee);
    page.push(&vec![0xab; PAYLOAD_LEN_MAX]);
    page.push(b"behind it");
    let mut scan = page.scan();
    let window = &page.bytes[PAGE_HEADER_LEN..][..WINDOW_MIN];
    assert!(matches!(scan.step(window, PAGE_HEADER_LEN as u64), Step::Record { .. }));
    assert_eq!(scan.step(window, PAGE_HEADER_LEN as u64), Step::More { offset: page.end as u64 - 64 });
}

/// Walks with windows of `len` bytes that begin at the next record, or `behind` bytes before it.
fn walk_in_windows(page: &Page, len: usize, behind: usize) -> (Vec<Step>, usize) {
    let mut scan = page.scan();
    let (mut found, mut len, mut asked) = (Vec::new(), len, 0);
    let mut start = 0;
    loop {
        let end = (start + len).min(page.bytes.len());
        match scan.step(&page.bytes[start..end], start as u64) {
            Step::More { offset } => {
                assert_eq!(offset, scan.offset());
                if start == offset as usize - behind {
                    len = (len * 2).max(8); // the record is longer than the window
                }
                start = offset as usize - behind;
                asked += 1;
                assert!(asked < 100_000, "no progress");
            }
            step => {
                found.push(step);
                if !matches!(step, Step::Record { .. }) {
                    return (found, asked);
                }
            }
        }
    }
}

#[test]
fn windows_of_every_size_find_the_same() {
    let mut damaged = Page::filled();
    damaged.bytes[damaged.end - 3] ^= 1;
    for page in [Page::filled(), damaged, Page::new(PAGE_LEN_MIN, 0), Page::new(PAGE_LEN_MIN, 0x30)] {
        let whole = page.steps();
        for len in (0..300).chain([1000, 1047, 1048, 1049, 4095, 4096, 4097, 16383, 16384, 1 << 20]) {
            for behind in [0, 8, 4096] {
                assert_eq!(walk_in_windows(&page, len, behind).0, whole, "windows of {len} bytes");
            }
        }
    }
}

#[test]
fn a_window_from_elsewhere_is_answered_with_more() {
    let page = Page::filled();
    let more = Step::More { offset: 4096 };
    assert_eq!(page.scan().step(&page.bytes, 4097), more);
    assert_eq!(page.scan().step(&page.bytes, u64::MAX), more);
    assert_eq!(page.scan().step(&page.bytes[..4095], 0), more);
    assert_eq!(page.scan().step(&[], 0), more);
    assert_eq!(page.scan().step(&[], 4096), more);
}

#[test]
fn every_flipped_bit_ends_the_walk() {
    let page = Page::filled();
    let good = page.steps();
    for (n, step) in good[..6].iter().enumerate() {
        let Step::Record { offset, record } = step else { panic!("{step:?}") };
        let covered = RECORD_HEADER_LEN + record.payload_len();
        for bit in 0..covered * 8 {
            let mut bytes = page.bytes.clone();
            bytes[*offset as usize + bit / 8] ^= 1 << (bit % 8);
            let found = steps(page.scan(), &bytes);
            assert_eq!(found[..n], good[..n]);
            assert!(matches!(found[n..], [Step::Fault { .. }]), "bit {bit} of record {n}");
        }
    }
}

#[test]
fn what_another_page_or_ring_left_behind_does_not_validate() {
    let page = Page::filled();
    for (ring, id) in [(RING, 8), (*b"another ring id.", 7)] {
        let geometry = page.header.geometry();
        let header = PageHeader::new(ring, id, geometry, 3, 0);
        let step = PageScan::new(&header, None, 0, PayloadCheck::Verify).step(&page.bytes, 0);
        assert!(
            matches!(step, Step::Fault { offset: 4096, fault: RecordFault::Checksum { .. } }),
            "{step:?}"
        );
    }
    // A page copied into a payload, or shifted, is at another offset.
    let mut moved = page.bytes.clone();
    moved.copy_within(4096..8192, 4104);
    assert!(matches!(
        steps(page.scan(), &moved)[..],
        [Step::Record { .. }, Step::Fault { .. }] | [Step::Fault { .. }]
    ));
}

#[test]
fn the_highest_sequence_number_is_legal_and_the_last() {
    let mut page = Page::new(PAGE_LEN_MIN, 0);
    page.push_as((u64::MAX, 40), b"last", payload_hash(b"last"));
    page.seal();
    assert!(matches!(page.steps()[..], [Step::Record { .. }, Step::Seal { .. }]));
}

proptest! {
    #[test]
    fn any_bytes_are_walked_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        start in prop_oneof![any::<u64>(), 3900u64..4400],
        at in 0usize..600,
    ) {
        let page = Page::filled();
        let mut window = page.bytes.clone();
        for (n, byte) in bytes.iter().enumerate() {
            window[4096 + (at + n)] = *byte;
        }
        let _ = page.scan().step(&bytes, start);
        let _ = page.scan().step(&window, start);
        for found in steps(page.scan(), &window) {
            if let Step::Record { offset, record } = found {
                prop_assert!(offset + record.size() as u64 <= page.header.fields().records_limit);
            }
        }
    }

    /// Records of any lengths, damaged anywhere, read through any windows.
    #[test]
    fn any_window_finds_what_the_whole_page_shows(
        lens in prop::collection::vec(0usize..900, 0..10),
        damage in prop::option::of(4096usize..12000),
        sealed: bool,
        stale: u8,
        window in 0usize..3000,
        behind in 0usize..512,
    ) {
        let mut page = Page::new(PAGE_LEN_MIN, stale);
        for len in lens {
            page.push(&vec![len as u8; len]);
        }
        if sealed {
            page.seal();
        }
        if let Some(at) = damage {
            page.bytes[at] ^= 0x10;
        }
        let whole = page.steps();
        prop_assert_eq!(walk_in_windows(&page, window, behind * 8).0, whole);
    }
}
