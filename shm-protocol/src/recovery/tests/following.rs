//! Pages follow one another: what the page before says is held against each, and what the newest say counts
//! for all.

use super::*;
use crate::page::RECORDS_UNKNOWN;
use crate::record::RecordFault;

/// A complete page whose records go on behind record `prev`, with a footer.
fn page_behind(id: u64, prev: u64, epoch: u32) -> Vec<u8> {
    let header = PageHeader::new(RING, id, geometry(), epoch, 0);
    let seed = PageSeed::new(&RING, id);
    let mut bytes = vec![0; PAGE_LEN as usize];
    bytes[..128].copy_from_slice(header.as_bytes());
    let stamp = Stamp { time_ns: prev, durable: Position::NONE, epoch };
    for n in 0..PER_PAGE {
        let payload = [7; PAYLOAD];
        let numbers = RecordNumbers { seq_no: prev + n + 1, prev_seq_no: prev + n };
        let offset = Ring::offset(n) as usize;
        let raw = Record::encode(seed, offset as u32, numbers, PAYLOAD, payload_hash(&payload), stamp);
        bytes[offset..][..RECORD_HEADER_LEN].copy_from_slice(raw.as_bytes());
        bytes[offset + RECORD_HEADER_LEN..][..PAYLOAD].copy_from_slice(&payload);
    }
    let (last_seq_no, offset) = (prev + PER_PAGE, Ring::offset(PER_PAGE));
    let seal = Seal::encode(seed, PageEnd { offset, last_seq_no, records: PER_PAGE }, stamp);
    bytes[offset as usize..][..RECORD_HEADER_LEN].copy_from_slice(seal.as_bytes());
    let read = read_page(&File(&bytes), &header, None, PayloadCheck::Verify).unwrap();
    let footer = PageFooter::new(&header, &read.summary, &read.index);
    let (at, _) = footer.index_range(&header.geometry());
    let end = [read.index.as_bytes(), footer.as_bytes()].concat();
    bytes[at as usize..][..end.len()].copy_from_slice(&end);
    bytes
}

/// A page that is good by itself may belong to another course of the log, or to an earlier start of the
/// writer. Its records are not handed out behind those of the page before.
#[test]
fn a_page_that_does_not_go_on_from_the_page_before_is_no_part_of_the_log() {
    for (prev, epoch) in [(2 * PER_PAGE + 1, 3), (2 * PER_PAGE - 1, 3), (2 * PER_PAGE, 2)] {
        let mut ring = Ring::new(1, 4, never);
        ring.files.insert(3, page_behind(3, prev, epoch));
        let survey = ring.survey().unwrap();
        assert_eq!(
            (survey.tip(), survey.end()),
            (Some(2 * PER_PAGE), Position::start_of(3)),
            "{prev}, {epoch}"
        );
        assert_eq!(survey.torn.unwrap().beyond.records, PER_PAGE + 1);
        assert_eq!(survey.left_overs, [LeftOver { id: 4, holds_records: true }]);
        // What had been durable is not cut.
        ring.meta.durable = at(3, Ring::offset(1));
        let damage = ring.survey().unwrap_err();
        assert_eq!((damage.page, damage.offset), (3, PAGE_HEADER_LEN as u64));
    }
    // A page that is durable as a whole is not walked; its footer is held against the page before.
    let mut ring = Ring::new(1, 4, never);
    ring.meta.durable = at(4, Ring::offset(1));
    ring.files.insert(3, page_behind(3, 2 * PER_PAGE, 3));
    let whole = ring.survey().unwrap();
    assert_eq!((pages(&whole), whole.pages[2].walked), (vec![1, 2, 3, 4], false));
    ring.files.insert(3, page_behind(3, 2 * PER_PAGE + 1, 3));
    let damage = ring.survey().unwrap_err();
    let (seq_no, found, expected) = (2 * PER_PAGE + 2, 2 * PER_PAGE + 1, 2 * PER_PAGE);
    assert_eq!(damage.kind, DamageKind::Record(RecordFault::Chain { seq_no, found, expected }));
    assert_eq!((damage.page, damage.after_seq_no), (3, 2 * PER_PAGE));
}

/// How many records were ever appended before a page is known from the first page of all, or from a footer.
#[test]
fn records_before_a_page_are_counted_from_where_their_number_is_known() {
    let before = |ring: &Ring| -> Vec<u64> {
        ring.survey().unwrap().pages.iter().map(|page| page.summary.records_before).collect()
    };
    assert_eq!(before(&Ring::new(1, 4, never)), [0, PER_PAGE, 2 * PER_PAGE, 3 * PER_PAGE]);
    assert_eq!(before(&Ring::new(2, 4, never)), [RECORDS_UNKNOWN; 3]);
    // The footer of a page that is durable as a whole names the number.
    let mut ring = Ring::new(2, 4, never);
    ring.meta.durable = at(4, Ring::offset(0));
    let header = PageHeader::check_any(&ring.files[&2], PAGE_LEN).unwrap();
    let page = ring.files.get_mut(&2).unwrap();
    let mut read = read_page(&File(page), &header, None, PayloadCheck::Verify).unwrap();
    read.summary.records_before = 100;
    let footer = PageFooter::new(&header, &read.summary, &read.index);
    let (at, _) = footer.index_range(&header.geometry());
    let end = [read.index.as_bytes(), footer.as_bytes()].concat();
    page[at as usize..][..end.len()].copy_from_slice(&end);
    assert_eq!(before(&ring), [100, 100 + PER_PAGE, 100 + 2 * PER_PAGE]);
}

/// The newest records say how far the log was durable. Pages that hold none, in front of the end of the log,
/// do not hide that: a record that is lost below it is damage, and nothing is cut.
#[test]
fn empty_pages_in_front_do_not_hide_what_was_durable() {
    let ring = Ring::new(1, 3, one_by_one).prepared(4).prepared(5);
    assert_eq!(ring.survey().unwrap().durable, at(3, Ring::offset(1)));
    for (id, n) in [(1, 2), (2, 6), (3, 0)] {
        let damage = ring.clone().without_record(id, n).survey().unwrap_err();
        assert_eq!((damage.page, damage.offset), (id, Ring::offset(n)));
    }
    // The one record that tells may itself stand behind a hole, or in a page without a header.
    let damage = ring.without_record(3, 0).without_header(3).survey().unwrap_err();
    assert_eq!((damage.page, damage.kind), (3, DamageKind::Header(PageFault::Magic)));
}

/// A ring is as it was closed whichever start made its pages, unless that is a later one than its metadata
/// know of: those were put back.
#[test]
fn a_closed_ring_may_hold_pages_of_earlier_starts_and_none_of_later_ones() {
    let mut ring = Ring::new(1, 4, never).prepared(5);
    ring.meta.clean_end = at(4, Ring::offset(2));
    for (epoch, clean) in [(2, false), (3, true), (4, true), (9, true)] {
        ring.meta.epoch = epoch;
        let survey = ring.survey().unwrap();
        assert_eq!((survey.clean, survey.epoch_max), (clean, epoch.max(3)));
        // Only after a clean close is the page behind the last one used as it is.
        assert_eq!((survey.ready.is_some(), survey.left_overs.len()), (clean, usize::from(!clean)));
    }
}

/// A page that was sealed without a record in it, as it comes about when the next record needs longer pages.
fn empty_page(id: u64, sealed: bool) -> Vec<u8> {
    let mut bytes = vec![0; PAGE_LEN as usize];
    bytes[..128].copy_from_slice(PageHeader::new(RING, id, geometry(), 3, 0).as_bytes());
    if sealed {
        let stamp = Stamp { time_ns: 1, durable: Position::NONE, epoch: 3 };
        let end = PageEnd { offset: PAGE_HEADER_LEN as u64, last_seq_no: 0, records: 0 };
        let seal = Seal::encode(PageSeed::new(&RING, id), end, stamp);
        bytes[PAGE_HEADER_LEN..][..RECORD_HEADER_LEN].copy_from_slice(seal.as_bytes());
    }
    bytes
}

/// Whoever is told of damage is told which record is the last good one before it, also where pages without
/// any lie in between.
#[test]
fn damage_behind_an_empty_page_names_the_last_record_before_it() {
    let mut ring = Ring::new(1, 3, never);
    ring.files.insert(3, empty_page(3, true));
    assert_eq!(ring.survey().unwrap().tip(), Some(2 * PER_PAGE));
    ring.meta.durable = at(4, Ring::offset(1));
    let damage = ring.survey().unwrap_err();
    assert_eq!((damage.page, damage.kind, damage.after_seq_no), (4, DamageKind::Missing, 2 * PER_PAGE));
}

/// A seal is made up for a page only if the next one goes on from a record of it. Without one there is
/// nothing that says what stood in the page.
#[test]
fn no_seal_is_made_up_for_a_page_without_a_record() {
    for sealed in [true, false] {
        let mut ring = Ring::new(1, 1, never);
        ring.files = [(1, empty_page(1, sealed)), (2, page_behind(2, 0, 3))].into();
        let survey = ring.survey().unwrap();
        let expected = if sealed { vec![1, 2] } else { vec![1] };
        assert_eq!((pages(&survey), survey.pages[0].reseal), (expected, false));
        assert_eq!(survey.pages_lost(), u64::from(!sealed));
    }
}
