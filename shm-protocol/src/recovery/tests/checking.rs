//! The check of a log, page by page, and of footers and indexes against what a walk has found.

use super::*;
use crate::page::{IndexEntry, PageSummary, RECORDS_UNKNOWN};
use crate::record::RecordFault;
use crate::scan::{PageScan, Step};

const FOOTER_AT: u64 = PAGE_LEN - 128;
const START: u64 = PAGE_HEADER_LEN as u64;

/// Page `id` of ten records, complete and with its footer.
fn walked(id: u64) -> WalkedPage {
    let summary = PageSummary {
        first_seq_no: id * 10,
        prev_seq_no: id * 10 - 1,
        last_seq_no: id * 10 + 9,
        records: 10,
        records_end: 8000,
        records_before: RECORDS_UNKNOWN,
        epoch: 3,
        ..PageSummary::default()
    };
    let footer = PageSummary { records_before: id * 10, ..summary };
    WalkedPage { id, summary, epoch_first: 3, fault: None, footer: Ok(Some(footer)), footer_at: FOOTER_AT }
}

fn unasked(offset: u64) -> Stop {
    panic!("asked about offset {offset} of a complete page")
}

/// A check that has passed pages 1 and 2.
fn passed() -> LogCheck {
    let mut check = LogCheck::default();
    for id in [1, 2] {
        assert_eq!(check.page(&walked(id), unasked), Ok(CheckedPage::Whole));
    }
    assert_eq!(check.expected(), (Some(29), 3));
    check
}

fn damage(offset: u64, after_seq_no: u64, kind: DamageKind) -> Result<CheckedPage, Damage> {
    Err(Damage { page: 3, offset, after_seq_no, kind })
}

#[test]
fn a_page_goes_on_from_the_one_before_or_the_log_stops_there() {
    let fault = RecordFault::Blank;
    let chain = RecordFault::Chain { seq_no: 30, found: 28, expected: 29 };
    let epoch = RecordFault::Epoch { found: 2, expected: 3 };
    type Change = fn(&mut WalkedPage);
    let cases: [(Change, u64, u64, RecordFault); 3] = [
        (|page| page.fault = Some(RecordFault::Blank), 8000, 39, fault),
        (|page| page.summary.prev_seq_no = 28, START, 29, chain),
        (|page| page.epoch_first = 2, START, 29, epoch),
    ];
    for (change, offset, after, fault) in cases {
        let mut page = walked(3);
        change(&mut page);
        let asked = |verdict| {
            move |at| {
                assert_eq!(at, offset);
                verdict
            }
        };
        let mut check = passed();
        let found = check.page(&page, asked(Stop::Damage));
        assert_eq!(found, damage(offset, after, DamageKind::Record(fault)));
        let mut check = passed();
        assert_eq!(check.page(&page, asked(Stop::End)), Ok(CheckedPage::End));
        assert_eq!(check.expected(), (Some(29), 3), "what is behind the end counts for nothing");
        // The seal is gone, and with it what a footer says.
        page.footer = Err((FOOTER_AT, DamageKind::Footer(PageFault::Magic)));
        let mut check = passed();
        assert_eq!(check.page(&page, asked(Stop::TornSeal)), Ok(CheckedPage::TornSeal));
        assert_eq!(check.expected(), (Some(39), 3));
    }
    // Without any record before it, a page may begin with whatever number.
    let mut check = LogCheck::default();
    assert_eq!(check.page(&walked(3), unasked), Ok(CheckedPage::Whole));
    // The same if pages between are gone, but for the epoch.
    let mut check = passed();
    check.skip();
    assert_eq!(check.expected(), (None, 3));
    assert_eq!(check.page(&walked(7), unasked), Ok(CheckedPage::Whole));
}

#[test]
fn an_empty_page_changes_nothing_of_what_is_expected() {
    let mut empty = walked(3);
    empty.summary = PageSummary { records_end: START, ..PageSummary::default() };
    empty.epoch_first = 0;
    empty.footer = Ok(None);
    let mut check = passed();
    assert_eq!(check.page(&empty, unasked), Ok(CheckedPage::NoFooter));
    assert_eq!(check.expected(), (Some(29), 3));
}

#[test]
fn what_a_footer_counts_before_its_page_is_held_against_the_pages_before() {
    let said = |id, records_before| {
        let mut page = walked(id);
        page.footer = page.footer.map(|footer| footer.map(|footer| PageSummary { records_before, ..footer }));
        page
    };
    let what = "the number of records before the page";
    let mismatch = DamageKind::FooterMismatch { what, stored: 31, found: 30 };
    assert_eq!(passed().page(&said(3, 31), unasked), damage(FOOTER_AT, 39, mismatch));
    // A footer that does not say is counted over.
    let mut check = passed();
    assert_eq!(check.page(&said(3, RECORDS_UNKNOWN), unasked), Ok(CheckedPage::Whole));
    let mut other = check;
    assert!(other.page(&said(4, 41), unasked).is_err());
    assert_eq!(check.page(&said(4, 40), unasked), Ok(CheckedPage::Whole));
    // One that is missing is not, nor is one whose page lacks its seal.
    for (footer, fault) in [(Ok(None), None), (walked(3).footer, Some(RecordFault::Blank))] {
        let mut check = passed();
        let page = WalkedPage { footer, fault, ..walked(3) };
        assert!(check.page(&page, |_| Stop::TornSeal).is_ok());
        assert_eq!(check.page(&said(4, 77), unasked), Ok(CheckedPage::Whole));
    }
    let damaged = WalkedPage { footer: Err((9000, DamageKind::Index(PageFault::Magic))), ..walked(3) };
    assert_eq!(passed().page(&damaged, unasked), damage(9000, 39, DamageKind::Index(PageFault::Magic)));
}

/// A page of [`Ring`] with the footer and the index given, and what they are found to be.
fn checked(summary: &PageSummary, index: &[IndexEntry], spoil: impl FnOnce(&mut [u8])) -> FooterCheck {
    let mut page = Ring::new(1, 2, never).files[&1].clone();
    let header = PageHeader::check_any(&page, PAGE_LEN).unwrap();
    let footer = PageFooter::new(&header, summary, index);
    let (at, len) = footer.index_range(&geometry());
    page[at as usize..at as usize + len].copy_from_slice(index.as_bytes());
    page[FOOTER_AT as usize..].copy_from_slice(footer.as_bytes());
    spoil(&mut page);
    let mut tail = PageTail::read(&File(&page), &header).unwrap();
    let mut scan = PageScan::new(&header, None, 0, PayloadCheck::Verify);
    while let Step::Record { offset, record } = scan.step(&page, 0) {
        tail.meet(offset, &record);
    }
    tail.check(scan.summary())
}

#[test]
fn a_footer_counts_if_it_and_its_index_fit_the_records() {
    let page = &Ring::new(1, 2, never).files[&1];
    let header = PageHeader::check_any(page, PAGE_LEN).unwrap();
    let read = read_page(&File(page), &header, None, PayloadCheck::Verify).unwrap();
    let found = PageSummary { records_before: 0, ..read.summary };
    let entry = |n: u64| IndexEntry { seq_no: n + 1, time_ns: n + 1, offset: Ring::offset(n) };
    let index = [entry(0), entry(2), entry(5)];
    let index_at = FOOTER_AT - 3 * 24;
    assert_eq!(checked(&found, &index, |_| ()), Ok(Some(found)));
    // What a power cut leaves.
    for (from, to) in [(FOOTER_AT, PAGE_LEN), (FOOTER_AT + 64, PAGE_LEN), (index_at, FOOTER_AT)] {
        assert_eq!(checked(&found, &index, |page| page[from as usize..to as usize].fill(0)), Ok(None));
    }
    let stale = PageSummary { records: 3, records_end: Ring::offset(3), last_seq_no: 3, ..found };
    assert_eq!(checked(&stale, &index[..2], |_| ()), Ok(None));
    // And what none leaves.
    let more = PageSummary { records: found.records + 1, ..found };
    let what = "the number of records";
    let kind = DamageKind::FooterMismatch { what, stored: more.records, found: found.records };
    assert_eq!(checked(&more, &index, |_| ()), Err((FOOTER_AT, kind)));
    let none = PageSummary { records: 0, ..found };
    let kind = DamageKind::Footer(PageFault::Range { what: "sequence numbers" });
    assert_eq!(checked(&none, &index, |_| ()), Err((FOOTER_AT, kind)));
    let kind = DamageKind::Index(PageFault::Range { what: "index entries" });
    assert_eq!(checked(&found, &[entry(2), entry(0), entry(5)], |_| ()), Err((index_at, kind)));
    for (wrong, nth) in
        [(IndexEntry { time_ns: 9, ..entry(2) }, 1), (IndexEntry { offset: 4104, ..entry(2) }, 1)]
    {
        let kind = DamageKind::IndexEntry { seq_no: wrong.seq_no, offset: wrong.offset };
        let place = index_at + nth * 24;
        assert_eq!(checked(&found, &[entry(0), wrong, entry(5)], |_| ()), Err((place, kind)));
    }
}
