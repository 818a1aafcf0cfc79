//! Readers that write down where they are.

use crate::roles::writer_append;
use crate::support::payload::{check, check_batch};
use crate::support::ring::{Setup, TestRing, careful};
use waldo::reader::{Checkpoint, Cursor, ReadError};

#[test]
fn a_reader_resumes_where_it_left_off_across_restarts() {
    let setup = Setup { ring_size: 16, ..Setup::default() };
    let ring = TestRing::new();
    let file = ring.home().parent().unwrap().join("checkpoint");
    let mut last = 0;
    for round in 1..=5u64 {
        let mut writer = ring.writer(&setup);
        writer_append(&mut writer, 200, 20, setup.max);
        let mut reader = match Checkpoint::load(&file).unwrap() {
            Some(checkpoint) => ring.attach().resume(&checkpoint, careful()).unwrap(),
            None => ring.reader(Cursor::Oldest),
        };
        // Half of what is there, so that the next round begins in the middle.
        let batch = reader.poll().unwrap().unwrap();
        last = check_batch(&batch, last, setup.max);
        while last < round * 150 {
            last = check_batch(&reader.poll().unwrap().unwrap(), last, setup.max);
        }
        let checkpoint = reader.checkpoint().unwrap();
        assert_eq!(checkpoint.seq_no, last);
        checkpoint.save(&file).unwrap();
        if round % 2 == 0 {
            // Without a running writer.
            writer.close().unwrap();
            let mut reader = ring.attach().resume(&checkpoint, careful()).unwrap();
            while let Some(batch) = reader.poll().unwrap() {
                last = check_batch(&batch, last, setup.max);
            }
            assert_eq!(last, round * 200);
            reader.checkpoint().unwrap().save(&file).unwrap();
        }
    }
}

#[test]
fn a_checkpoint_of_another_ring_is_refused() {
    let setup = Setup::default();
    let rings = [TestRing::new(), TestRing::new()];
    let mut checkpoints = Vec::new();
    for ring in &rings {
        let mut writer = ring.writer(&setup);
        writer_append(&mut writer, 5, 5, setup.max);
        writer.close().unwrap();
        let mut reader = ring.reader(Cursor::Oldest);
        reader.poll().unwrap().unwrap();
        checkpoints.push(reader.checkpoint().unwrap());
    }
    match rings[0].attach().resume(&checkpoints[1], careful()) {
        Err(ReadError::ForeignCheckpoint { home }) => assert_eq!(home, rings[0].home()),
        other => panic!("{other:?}"),
    }
    assert!(rings[0].attach().resume(&checkpoints[0], careful()).is_ok());
}

#[test]
fn resuming_where_records_have_been_trimmed_is_lapped() {
    let setup = Setup { ring_size: 2, ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    writer_append(&mut writer, 5, 5, setup.max);
    let mut reader = ring.reader(Cursor::Oldest);
    assert_eq!(check_batch(&reader.poll().unwrap().unwrap(), 0, setup.max), 5);
    let checkpoint = reader.checkpoint().unwrap();
    drop(reader);
    writer_append(&mut writer, 3000, 50, setup.max);
    writer.close().unwrap();
    let outcome = ring.attach().resume(&checkpoint, careful());
    match outcome.and_then(|mut reader| reader.poll().map(drop)) {
        Err(ReadError::Lapped { requested, oldest, lost }) => {
            assert_eq!(requested, 5);
            assert_eq!(Some(oldest), ring.status().oldest_seq_no);
            // A checkpoint does not say how many records came before it; what is told has to be right.
            assert!(lost.is_none_or(|lost| lost == oldest - 6), "{lost:?}");
            let mut reader = ring.reader(Cursor::From(oldest));
            check(&reader.poll().unwrap().unwrap().iter().next().unwrap(), oldest - 1, setup.max);
        }
        other => panic!("{other:?}"),
    }
}
