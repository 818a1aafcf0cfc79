//! Writers that come after others, and what they may have done to the log.

use crate::meanwhile::{Moment, let_happen};
use crate::testing::{Forge, drain};
use crate::{AttachOptions, Cursor, Integrity, ReadError, Reader, ReaderOptions, Ring, Wakeup, WriterStatus};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use waldo_shm_protocol::segment::WriterState;

const PAGE: u64 = 16384;

/// A ring of which `n` records were read, and another that is the same up to record `kept`, written on by the
/// next writer.
fn rings(n: u64, kept: u64, written: u64) -> (Forge, Forge) {
    let mut forge = Forge::live(PAGE, 4);
    forge.append_n(n);
    (forge, other(kept, written))
}

fn other(kept: u64, written: u64) -> Forge {
    let mut other = Forge::new(PAGE, 4);
    other.append_n(kept);
    other.epoch = 2;
    other.meta.epoch = 2;
    for _ in 0..written {
        // As long as the record that stood there before.
        let seq = other.tip() + 1;
        other.append(seq, format!("PAYLOAD OF {seq}").as_bytes());
    }
    other
}

/// Puts the files of `other` under the names of those of `forge`.
fn replace_files(forge: &Forge, other: &Forge) {
    for id in other.oldest..=other.position().page() {
        let scratch = forge.home().join("scratch");
        std::fs::copy(other.page_path(id), &scratch).unwrap();
        std::fs::rename(scratch, forge.page_path(id)).unwrap();
    }
}

/// The writer of `other` takes over the segment of `forge`.
fn publish(forge: &Forge, other: &Forge) {
    let control = forge.control.as_ref().unwrap();
    control.publisher().set_writer(2, 1, 250_000_000);
    control.publisher().commit(other.position(), other.tip(), other.log.len() as u64);
    control.wake();
}

fn assert_rewound(reader: &mut Reader, seq_no: u64) {
    for _ in 0..2 {
        match reader.poll() {
            Err(ReadError::Rewound { seq_no: Some(found), .. }) => assert_eq!(found, seq_no),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_writer_that_comes_between_two_loads_is_not_taken_for_the_one_before() {
    let (mut forge, other) = rings(5, 4, 3);
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 5);
    forge.append_n(1);
    let both = Rc::new(RefCell::new((forge, other)));
    let (rings, mut comes) = (Rc::clone(&both), true);
    let_happen(move |moment| {
        let (forge, other) = &mut *rings.borrow_mut();
        if moment == Moment::Loaded && std::mem::take(&mut comes) {
            replace_files(forge, other);
            publish(forge, other);
        }
    });
    let polled = reader.poll();
    assert!(matches!(polled, Err(ReadError::Rewound { seq_no: Some(5), .. })), "{polled:?}");
}

#[test]
fn a_rewritten_record_is_noticed_from_the_start_of_the_next_page() {
    let mut forge = Forge::live(PAGE, 4);
    while forge.position().page() < 2 {
        forge.append_n(1);
    }
    let n = forge.tip() - 1;
    let (mut forge, other) = rings(n, n - 1, 3);
    assert!(forge.position().page() == 1 && other.position().page() == 2);
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    forge.rotate();
    forge.commit();
    assert_eq!(drain(&mut reader).len() as u64, n);
    assert!(reader.window.page().is_none(), "the reader stands before a page that it has not mapped");
    replace_files(&forge, &other);
    publish(&forge, &other);
    assert_rewound(&mut reader, n);
    reader.seek(Cursor::After(n - 1)).unwrap();
    assert_eq!(drain(&mut reader), [n, n + 1, n + 2]);
}

#[test]
fn another_file_under_the_name_of_the_mapped_page_is_noticed() {
    let (forge, other) = rings(5, 4, 3);
    let ring = forge.attach();
    let mut reader = ring.reader(Cursor::Oldest).unwrap();
    // Holds the old file in the process's cache of mappings, besides the reader itself.
    let batch = reader.poll().unwrap().unwrap();
    assert_eq!(batch.len(), 5);
    replace_files(&forge, &other);
    publish(&forge, &other);
    assert_rewound(&mut reader, 5);
    reader.seek(Cursor::After(4)).unwrap();
    let fresh = reader.poll().unwrap().unwrap();
    assert_eq!(fresh.iter().map(|r| r.data().to_vec()).next().unwrap(), b"PAYLOAD OF 5");
    assert_eq!(batch.iter().last().unwrap().data(), b"payload of 5");
}

#[test]
fn another_file_with_the_same_records_is_read_on() {
    let (forge, other) = rings(5, 5, 3);
    let ring = forge.attach();
    let mut reader = ring.reader(Cursor::Oldest).unwrap();
    let mut idle = ring.reader(Cursor::Tip).unwrap();
    assert_eq!(drain(&mut reader).len(), 5);
    replace_files(&forge, &other);
    publish(&forge, &other);
    // What it had mapped ends at record 5.
    assert_eq!(drain(&mut reader), [6, 7, 8]);
    assert_eq!(drain(&mut idle), [6, 7, 8]);
    assert_eq!(drain(&mut ring.reader(Cursor::After(2)).unwrap()), [3, 4, 5, 6, 7, 8]);
}

/// The reader has read all of page 1 when that page is trimmed, and has not seen that the page ends there.
/// Whether the next record is the one behind the last it has read, the numbers tell, as long as the same
/// start of the writer has appended both. This used to be an error, with a loss of unknown size where nothing
/// was missed.
#[test]
fn a_record_that_has_been_trimmed_since_needs_no_comparison_with_its_successor_of_the_same_start() {
    let (mut reader, n, _forge) = trimmed_behind_a_reader(1, Integrity::Headers);
    assert_eq!(drain(&mut reader), [n, n + 1]);
    assert_eq!(reader.lapses().count, 0);
}

/// Going on there, it still knows what it has read: the next record may be damaged.
#[test]
fn a_reader_that_goes_on_behind_a_trimmed_page_keeps_its_checkpoint() {
    let (mut reader, n, forge) = trimmed_behind_a_reader(1, Integrity::Payloads);
    let checkpoint = reader.checkpoint().unwrap();
    let next = forge.log.iter().find(|entry| entry.seq == n).unwrap();
    forge.damage(next.page, next.offset + 50, b"#");
    let error = reader.poll().unwrap_err();
    assert!(matches!(error, ReadError::Corrupt { page: 2, .. }), "{error}");
    assert_eq!(reader.checkpoint(), Some(checkpoint));
}

/// Where the next record was appended by the next start of the writer, the last one read may have been lost
/// and appended anew under its number, and nobody can tell any more.
#[test]
fn a_record_that_has_been_trimmed_since_may_have_been_another_one_before_a_later_start() {
    let (mut reader, n, _forge) = trimmed_behind_a_reader(2, Integrity::Headers);
    let error = reader.poll().unwrap_err();
    assert!(
        matches!(error, ReadError::Lapped { requested, oldest, lost: None } if (requested, oldest) == (n - 1, n)),
        "{error}"
    );
    reader.seek(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader), [n, n + 1]);
}

/// A reader of all of page 1, which has been trimmed; the ring holds records `n`, by this start of the
/// writer, and `n + 1`.
fn trimmed_behind_a_reader(epoch: u32, integrity: Integrity) -> (Reader, u64, Forge) {
    let mut forge = Forge::live(PAGE, 4);
    forge.append_n(1);
    while forge.room() >= crate::testing::size(20) {
        forge.append_n(1);
    }
    forge.epoch = epoch;
    forge.append_n(1);
    assert_eq!(forge.position().page(), 2);
    let n = forge.tip();
    let in_page = forge.log.iter().filter(|e| e.page == 1).count();
    let options = ReaderOptions { batch_bytes: 1 << 20, integrity, ..ReaderOptions::default() };
    let mut reader = forge.attach().reader_with(Cursor::Oldest, options).unwrap();
    let mut read = 0;
    while read < in_page {
        read += reader.poll().unwrap().unwrap().len();
    }
    assert_eq!(read, in_page);
    forge.trim();
    forge.epoch = 2;
    forge.control.as_ref().unwrap().publisher().set_writer(2, 1, 250_000_000);
    forge.append_n(1);
    (reader, n, forge)
}

#[test]
fn a_rewritten_record_is_noticed_without_a_segment() {
    let mut forge = Forge::new(PAGE, 4);
    forge.append_n(5);
    let other = other(4, 3);
    let ring = Ring::attach_with(forge.home(), AttachOptions::default().files_only(true)).unwrap();
    let mut reader = ring.reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 5);
    forge.meta.epoch = 2;
    forge.write_meta();
    replace_files(&forge, &other);
    let error = reader.recv(Some(crate::testing::DEADLINE)).unwrap_err();
    assert!(matches!(error, ReadError::Rewound { seq_no: Some(5), .. }), "{error}");
    reader.seek(Cursor::After(4)).unwrap();
    assert_eq!(drain(&mut reader), [5, 6, 7]);
}

#[test]
fn nothing_is_read_while_a_writer_mends_the_files() {
    let mut forge = Forge::live(PAGE, 4);
    forge.append_n(5);
    let options = ReaderOptions { batch_bytes: 1, ..ReaderOptions::default() };
    let mut reader = forge.attach().reader_with(Cursor::Oldest, options).unwrap();
    assert_eq!(reader.poll().unwrap().unwrap().last_seq_no(), 1);
    let control = forge.control.as_ref().unwrap();
    control.state(WriterState::Recovering);
    control.publisher().set_writer(2, 1, 250_000_000);
    control.publisher().beat(crate::clock::boottime_ns());
    assert!(reader.poll().unwrap().is_none());
    assert_eq!(reader.wait(None).unwrap(), Wakeup::Writer(WriterStatus::Recovering));
    assert_eq!(reader.wait(Some(Duration::ZERO)).unwrap(), Wakeup::TimedOut);
    // It has died over it: what its predecessor had committed is all there is.
    control.publisher().beat(crate::clock::boottime_ns().saturating_sub(60_000_000_000));
    assert_eq!(reader.poll().unwrap().unwrap().last_seq_no(), 2);
    control.publisher().beat(crate::clock::boottime_ns());
    assert!(reader.poll().unwrap().is_none());
    control.state(WriterState::Live);
    assert_eq!(drain(&mut reader), [3, 4, 5]);
}

#[test]
fn a_page_that_is_still_the_same_file_is_not_mapped_again() {
    let mut forge = Forge::live(PAGE, 4);
    forge.append_n(5);
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 5);
    let before = reader.window.page().map(Arc::downgrade).unwrap();
    forge.epoch = 2;
    forge.control.as_ref().unwrap().publisher().set_writer(2, 1, 250_000_000);
    forge.append_n(2);
    assert_eq!(drain(&mut reader), [6, 7]);
    assert!(before.upgrade().is_some(), "mapped anew");
}
