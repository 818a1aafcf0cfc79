//! Reading along: order, pages, lapping, damage.

use crate::batch_storage::BatchStorage;
use crate::testing::{Forge, drain, read_n};
use crate::{Batch, Cursor, Integrity, OnLapped, ReadError, ReaderOptions, Visibility};
use std::sync::Arc;
use std::thread;
use waldo_shm_protocol::limits::RECORD_HEADER_LEN;
use waldo_shm_protocol::record::RecordFault;

#[test]
fn records_come_in_order_across_pages_with_their_bytes() {
    let mut forge = Forge::live(16384, 8);
    forge.append_n(500);
    assert!(forge.oldest == 1 && forge.position().page() > 2);
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    let mut expected = forge.log.iter();
    while let Some(batch) = reader.poll().unwrap() {
        assert!(!batch.is_empty());
        for record in &batch {
            let e = expected.next().unwrap();
            assert_eq!((record.seq_no(), record.prev_seq_no(), record.time_ns()), (e.seq, e.prev, e.time));
            assert_eq!(record.data(), e.data);
            assert_eq!(record.log().validate_data(), Ok(()));
        }
        assert_eq!(batch.to_logs().len(), batch.len());
    }
    assert!(expected.next().is_none());
    assert_eq!(reader.last_seq_no(), Some(500));
    forge.append_n(300);
    assert_eq!(drain(&mut reader), (501..=800).collect::<Vec<_>>());
}

#[test]
fn batches_hold_at_least_one_record_and_at_most_what_was_asked() {
    let mut forge = Forge::live(65536, 2);
    forge.append(1, &[1; 1000]);
    forge.append(2, &[2; 10]);
    forge.append(3, &[3; 10]);
    let options = ReaderOptions { batch_bytes: 128, ..ReaderOptions::default() };
    let mut reader = forge.attach().reader_with(Cursor::Oldest, options).unwrap();
    let lens: Vec<usize> = std::iter::from_fn(|| reader.poll().unwrap()).map(|b| b.len()).collect();
    assert_eq!(lens, [1, 2]);
}

#[test]
fn a_reader_of_durable_records_sees_no_others() {
    let mut forge = Forge::live(65536, 2);
    forge.append_n(3);
    forge.control.as_ref().unwrap().publisher().set_durable(forge.position());
    forge.append_n(2);
    let options = ReaderOptions { visibility: Visibility::Durable, ..ReaderOptions::default() };
    let mut reader = forge.attach().reader_with(Cursor::Oldest, options).unwrap();
    assert_eq!(drain(&mut reader), [1, 2, 3]);
    forge.control.as_ref().unwrap().publisher().set_durable(forge.position());
    assert_eq!(drain(&mut reader), [4, 5]);
}

#[test]
fn a_lapped_reader_finishes_its_page_and_is_told_what_it_missed() {
    let mut forge = Forge::live(16384, 3);
    forge.append_n(10);
    let options = ReaderOptions { batch_bytes: 1, ..ReaderOptions::default() };
    let mut reader = forge.attach().reader_with(Cursor::Oldest, options).unwrap();
    assert_eq!(reader.poll().unwrap().unwrap().last_seq_no(), 1);
    forge.append_n(2000);
    let in_page = forge.log.iter().filter(|e| e.page == 1).count() as u64;
    let mut seen = 1;
    let error = loop {
        match reader.poll() {
            Ok(Some(batch)) => {
                assert_eq!(batch.first_seq_no(), seen + 1);
                seen = batch.last_seq_no();
            }
            Ok(None) => panic!("more was published"),
            Err(error) => break error,
        }
    };
    assert_eq!(seen, in_page);
    let first_left = forge.kept()[0].seq;
    let check = |error: ReadError| match error {
        ReadError::Lapped { requested, oldest, lost } => {
            assert_eq!((requested, oldest, lost), (in_page, first_left, Some(first_left - in_page - 1)));
        }
        other => panic!("{other}"),
    };
    check(error);
    // Sticky, and no way past it by asking again.
    check(reader.poll().unwrap_err());
    assert_eq!(reader.last_seq_no(), Some(in_page));
    reader.seek(Cursor::Oldest).unwrap();
    assert_eq!(reader.last_seq_no(), Some(first_left - 1));
    assert_eq!(reader.poll().unwrap().unwrap().first_seq_no(), first_left);
}

#[test]
fn a_reader_told_so_goes_on_by_itself_and_notes_the_gap() {
    for on_lapped in [OnLapped::Oldest, OnLapped::Tip] {
        let mut forge = Forge::live(16384, 2);
        forge.append_n(5);
        let options = ReaderOptions { on_lapped, ..ReaderOptions::default() };
        let mut reader = forge.attach().reader_with(Cursor::Oldest, options).unwrap();
        assert_eq!(drain(&mut reader), [1, 2, 3, 4, 5]);
        forge.append_n(2000);
        let seen = drain(&mut reader);
        let in_page = forge.log.iter().filter(|e| e.page == 1).count() as u64;
        let first_left = forge.kept()[0].seq;
        let lapse = reader.lapses().last.unwrap();
        assert_eq!((reader.lapses().count, lapse.requested), (1, in_page));
        if on_lapped == OnLapped::Oldest {
            let expected: Vec<u64> = (6..=in_page).chain(first_left..=forge.tip()).collect();
            assert_eq!(seen, expected);
            assert_eq!(reader.lapses().lost, Some(first_left - in_page - 1));
            assert_eq!(lapse.resumed_after, Some(first_left - 1));
        } else {
            assert_eq!(seen, (6..=in_page).collect::<Vec<_>>());
            assert_eq!(reader.lapses().lost, None);
            let tip = forge.tip();
            forge.append_n(1);
            assert_eq!(drain(&mut reader), [tip + 1]);
        }
    }
}

#[test]
fn a_reader_at_a_trimmed_cursor_that_may_skip_does() {
    let mut forge = Forge::live(16384, 2);
    forge.append_n(2000);
    let first_left = forge.kept()[0].seq;
    let ring = forge.attach();
    assert!(matches!(ring.reader(Cursor::After(3)), Err(ReadError::Lapped { requested: 3, .. })));
    let options = ReaderOptions { on_lapped: OnLapped::Oldest, ..ReaderOptions::default() };
    let mut reader = ring.reader_with(Cursor::After(3), options).unwrap();
    assert_eq!(reader.lapses().count, 1);
    assert_eq!(drain(&mut reader)[0], first_left);
}

#[test]
fn a_batch_outlives_its_page() {
    let mut forge = Forge::live(16384, 2);
    forge.append_n(5);
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    let batch = reader.poll().unwrap().unwrap();
    drop(reader);
    forge.append_n(2000);
    assert!(!forge.page_path(1).exists());
    batch.verify().unwrap();
    let other = batch.clone();
    let seen = thread::spawn(move || other.iter().map(|r| r.data().to_vec()).collect::<Vec<_>>()).join();
    let expected: Vec<Vec<u8>> = forge.log[..5].iter().map(|e| e.data.clone()).collect();
    assert_eq!(seen.unwrap(), expected);
}

#[test]
fn one_mapping_per_page_serves_all_readers() {
    let mut forge = Forge::live(65536, 2);
    forge.append_n(5);
    let ring = forge.attach();
    let mut readers: Vec<_> = (0..100).map(|_| ring.reader(Cursor::Oldest).unwrap()).collect();
    let batches: Vec<_> = readers.iter_mut().map(|r| r.poll().unwrap().unwrap()).collect();
    let map = |batch: &Batch| match &batch.held {
        BatchStorage::Mapped(map) => map.clone(),
        BatchStorage::Copied(_) => panic!("nobody has slept"),
    };
    assert!(batches.iter().all(|batch| Arc::ptr_eq(&map(batch), &map(&batches[0]))));
}

#[test]
fn damage_is_reported_with_its_place_after_everything_good_before_it() {
    // (offset in the record, what must be found at which level)
    let levels = [Integrity::Structure, Integrity::Headers, Integrity::Payloads];
    for (within, first_level) in [(0, 0), (16, 0), (24, 1), (44, 1), (RECORD_HEADER_LEN as u64, 2)] {
        for (n, integrity) in levels.into_iter().enumerate() {
            let mut forge = Forge::live(65536, 2);
            forge.append_n(10);
            let victim = forge.log[6].clone();
            forge.damage(victim.page, victim.offset + within, &[0xff; 4]);
            let options = ReaderOptions { integrity, ..ReaderOptions::default() };
            let mut reader = forge.attach().reader_with(Cursor::Oldest, options).unwrap();
            let batch = reader.poll().unwrap().unwrap();
            if n < first_level {
                assert_eq!(batch.len(), 10, "{within} {integrity:?}");
                continue;
            }
            assert_eq!(batch.last_seq_no(), 6, "{within} {integrity:?}");
            for _ in 0..3 {
                match reader.poll() {
                    Err(ReadError::Corrupt { page, offset, seq_no, path, .. }) => {
                        assert_eq!((page, offset, seq_no), (victim.page, victim.offset, Some(6)));
                        assert_eq!(path, forge.page_path(1));
                    }
                    other => panic!("{other:?}"),
                }
            }
            // The reader is still good for other places.
            reader.seek(Cursor::Tip).unwrap();
            forge.append_n(1);
            assert_eq!(drain(&mut reader), [11]);
        }
    }
}

#[test]
fn a_payload_that_was_not_checked_can_be_checked_later() {
    let mut forge = Forge::live(65536, 2);
    forge.append_n(3);
    let victim = forge.log[1].clone();
    forge.damage(victim.page, victim.offset + RECORD_HEADER_LEN as u64, b"X");
    let batch = forge.attach().reader(Cursor::Oldest).unwrap().poll().unwrap().unwrap();
    match batch.verify() {
        Err(ReadError::Corrupt { offset, seq_no, fault: RecordFault::Payload { .. }, .. }) => {
            assert_eq!((offset, seq_no), (victim.offset, Some(1)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_page_that_was_not_trimmed_is_an_error() {
    let mut forge = Forge::live(16384, 8);
    forge.append_n(500);
    std::fs::remove_file(forge.page_path(2)).unwrap();
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    let mut polls = 0;
    let error = loop {
        match reader.poll() {
            Ok(Some(_)) => polls += 1,
            Ok(None) => panic!("records are left"),
            Err(error) => break error,
        }
        assert!(polls < 1000);
    };
    assert!(matches!(&error, ReadError::Io { path, .. } if *path == forge.page_path(2)), "{error}");
}

#[test]
fn readers_in_other_threads_see_what_a_writer_publishes() {
    let mut forge = Forge::live(65536, 4);
    let ring = forge.attach();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut reader = ring.reader(Cursor::After(0)).unwrap();
            thread::spawn(move || read_n(&mut reader, 600))
        })
        .collect();
    forge.append_n(600);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), (1..=600).collect::<Vec<_>>());
    }
}
