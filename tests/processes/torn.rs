//! The end of a log as a crash may leave it, and damage that no crash explains.

use crate::roles::writer_append;
use crate::support::child::Child;
use crate::support::payload::{check_batch, payload};
use crate::support::ring::{NEVER_MS, Setup, TestRing, careful};
use std::fs;
use std::ops::Range;
use waldo::protocol::Log;
use waldo::protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo::reader::{Cursor, ReadError, verify};
use waldo::writer::{OpenError, Writer};

const MAX: usize = 200;

/// The last record of the ring: one without padding, so that every one of its bytes counts.
fn last_record() -> u64 {
    (20..).find(|n| payload(*n, MAX).len() >= 24 && payload(*n, MAX).len().is_multiple_of(8)).unwrap()
}

/// Bytes of record `seq_no` in page 1.
fn range(seq_no: u64) -> Range<usize> {
    let size = |n: u64| Log::new_owned(n, n - 1, payload(n, MAX)).size();
    let start = PAGE_HEADER_LEN + (1..seq_no).map(size).sum::<usize>();
    start..start + size(seq_no)
}

/// A ring whose writer was killed after records `1..=last`, appended one by one.
fn killed(interval_ms: Option<u64>, last: u64) -> (TestRing, Setup) {
    let setup = Setup { interval_ms, max: MAX, ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = Child::spawn("writer", setup.args(ring.home()));
    writer.expect("opened");
    writer.say(format!("append {last} 1"));
    writer.expect("acked");
    writer.kill();
    (ring, setup)
}

fn assert_reads(ring: &TestRing, last: u64) {
    let mut reader = ring.reader(Cursor::Oldest);
    let mut read = 0;
    while let Some(batch) = reader.poll().unwrap() {
        read = check_batch(&batch, read, MAX);
    }
    assert_eq!(read, last);
}

#[test]
fn a_torn_last_record_is_cut_exactly_whatever_is_left_of_it() {
    let last = last_record();
    let (ring, setup) = killed(Some(NEVER_MS), last);
    let whole = fs::read(ring.page(1)).unwrap();
    let record = range(last);
    assert!(whole[record.clone()].ends_with(&payload(last, MAX)), "the record is not where it should be");
    for at in record.clone() {
        let mut zeroed = whole.clone();
        zeroed[at..record.end].fill(0);
        let mut garbage = whole.clone();
        garbage[at..record.end].iter_mut().for_each(|byte| *byte = !*byte);
        for (how, torn) in [("zeros", zeroed), ("garbage", garbage)] {
            let intact = torn == whole;
            let copy = ring.copy();
            fs::write(copy.page(1), &torn).unwrap();
            let writer = copy.writer(&setup);
            let context = format!("{how} from byte {} of {}", at - record.start, record.len());
            assert!(!writer.open_report().clean);
            let kept = if intact { last } else { last - 1 };
            assert_eq!(writer.tip(), (kept > 0).then_some(kept), "{context}");
            // Without a good header it could be bytes from an earlier life of the page.
            let recognizable = at >= record.start + RECORD_HEADER_LEN;
            match &writer.open_report().cut {
                None => assert!(intact || !recognizable, "{context}: no word of a cut"),
                Some(cut) => {
                    assert_eq!((cut.page, cut.offset), (1, record.start as u64), "{context}");
                    assert_eq!((cut.after_seq_no, cut.pages_removed), (last - 1, 0), "{context}");
                    assert!(!intact, "{context}: {cut:?}");
                }
            }
            writer.close().unwrap();

            let mut writer = copy.writer(&setup);
            let opened = writer.open_report();
            assert!(opened.clean && opened.cut.is_none(), "{context}: {opened:?}");
            assert_eq!(opened.tip, Some(kept), "{context}");
            writer_append(&mut writer, 3, 2, MAX);
            assert_reads(&copy, kept + 3);
        }
    }
}

#[test]
fn a_cut_is_found_again_by_a_start_that_comes_after_a_crash() {
    let last = last_record();
    let (ring, setup) = killed(Some(NEVER_MS), last);
    let mut torn = fs::read(ring.page(1)).unwrap();
    torn[range(last)][60..].fill(0xee);
    fs::write(ring.page(1), &torn).unwrap();
    for round in 0..3 {
        let mut writer = Child::spawn("writer", setup.args(ring.home()));
        let opened = writer.expect("opened");
        assert_eq!(opened[1], (last - 1).to_string(), "round {round}");
        assert_eq!(opened[3] != "0", round == 0, "cut once, in round {round}");
        writer.kill();
    }
    assert_reads(&ring, last - 1);
}

#[test]
fn damage_below_the_durable_position_is_refused_and_nothing_is_changed() {
    let last = last_record();
    let (ring, setup) = killed(None, last);
    let whole = fs::read(ring.page(1)).unwrap();
    for seq_no in [1, 2, last / 2, last - 1] {
        let record = range(seq_no);
        let flip = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            bytes
        };
        let mut zeroed = whole.clone();
        zeroed[record.clone()].fill(0);
        let end = record.start + RECORD_HEADER_LEN + payload(seq_no, MAX).len();
        let flips = (record.start..end).step_by(5).map(flip);
        for bytes in flips.chain([zeroed]) {
            let copy = ring.copy();
            fs::write(copy.page(1), &bytes).unwrap();
            let before = copy.snapshot();
            match Writer::open(copy.home(), setup.options()) {
                Err(OpenError::Corrupt { path, offset, after_seq_no, .. }) => {
                    assert_eq!(path, copy.page(1));
                    assert_eq!((offset, after_seq_no), (record.start as u64, seq_no - 1));
                }
                other => panic!("record {seq_no}: {other:?}"),
            }
            assert!(copy.snapshot() == before, "record {seq_no}: files were changed");
        }
    }
}

#[test]
fn a_reader_is_told_of_damage_and_stays_in_front_of_it() {
    let last = last_record();
    let setup = Setup { max: MAX, ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    writer_append(&mut writer, last, 4, MAX);
    writer.close().unwrap();
    let whole = fs::read(ring.page(1)).unwrap();
    for seq_no in [1, 7, last] {
        let record = range(seq_no);
        let end = record.start + RECORD_HEADER_LEN + payload(seq_no, MAX).len();
        for at in (record.start..end).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x01;
            let copy = ring.copy();
            fs::write(copy.page(1), &bytes).unwrap();
            let (read, damage) = read_to_damage(&copy);
            let verified = verify::verify(copy.home(), &mut |_| {});
            assert!(verified.is_err(), "record {seq_no}, byte {at}: {verified:?}");
            assert_eq!(read, seq_no - 1);
            for error in damage {
                let ReadError::Corrupt { page: 1, offset, seq_no: before, .. } = error else {
                    panic!("{error}")
                };
                assert_eq!(offset, record.start as u64);
                assert!(before.is_none_or(|before| before == seq_no - 1), "{before:?}");
            }
        }
    }
}

/// The last record that can be read, and the errors of two attempts to go on.
fn read_to_damage(ring: &TestRing) -> (u64, [ReadError; 2]) {
    let start = || ring.attach().reader_with(Cursor::After(0), careful());
    let mut read = 0;
    let mut reader = match start() {
        Ok(reader) => reader,
        // The very first record is looked at when the reader is made.
        Err(error) => return (0, [error, start().map(drop).unwrap_err()]),
    };
    loop {
        match reader.poll() {
            Ok(batch) => read = check_batch(&batch.expect("an error at the damage"), read, MAX),
            Err(error) => return (read, [error, reader.poll().map(drop).unwrap_err()]),
        }
    }
}
