//! Numbers at their limits: sequence numbers, lengths of records, the words that readers sleep on.

use crate::support::child::Child;
use crate::support::payload::payloads;
use crate::support::ring::{Setup, TestRing, careful};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use waldo::protocol::Log;
use waldo::protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo::protocol::segment::WAKE_OFFSET;
use waldo::reader::{ControlKind, Cursor, verify};
use waldo::writer::{AppendError, Writer};

#[test]
fn sequence_numbers_end_at_the_last_one_there_is() {
    for setup in Setup::all() {
        let ring = TestRing::new();
        let mut writer = ring.writer(&setup);
        let last = u64::MAX;
        writer.append(&[Log::new_borrowed(1, 0, b"a"), Log::new_borrowed(last - 2, 1, b"b")]).unwrap();
        let mut follower = ring.reader(Cursor::Oldest);
        assert!(
            matches!(writer.append_payloads(&[b"x"; 3]), Err(AppendError::Exhausted { tip }) if tip == last - 2)
        );
        writer.append_payloads(&[b"c", b"d"]).unwrap();
        assert!(matches!(writer.append_payloads(&[b"e"]), Err(AppendError::Exhausted { tip: u64::MAX })));
        let beyond = writer.append(&[Log::new_borrowed(1, last, b"f")]);
        assert!(matches!(beyond, Err(AppendError::NotIncreasing { .. })), "{beyond:?}");
        let mut read = Vec::new();
        while let Some(batch) = follower.poll().unwrap() {
            read.extend(batch.iter().map(|record| (record.seq_no(), record.data().to_vec())));
        }
        let expected = [(1, b"a"), (last - 2, b"b"), (last - 1, b"c"), (last, b"d")];
        assert!(
            read.iter().map(|(n, data)| (*n, &data[..])).eq(expected.iter().map(|(n, data)| (*n, &data[..])))
        );
        for (cursor, first) in [
            (Cursor::From(last), Some(last)),
            (Cursor::After(last - 1), Some(last)),
            (Cursor::From(2), Some(last - 2)),
            (Cursor::After(last), None),
            (Cursor::Tip, None),
        ] {
            let batch = ring.reader(cursor).poll().unwrap();
            assert_eq!(batch.map(|batch| batch.first_seq_no()), first, "{cursor:?}");
        }
        writer.close().unwrap();
        verify::verify(ring.home(), &mut |_| {}).unwrap();
        let mut writer = ring.writer(&setup);
        assert_eq!(writer.tip(), Some(last));
        assert!(matches!(writer.append_payloads(&[b"e"]), Err(AppendError::Exhausted { .. })));
        assert_eq!(writer.append_payloads::<&[u8]>(&[]).unwrap().records, 0);
    }
}

/// A record may leave no byte of its page free but the seal's; one byte more goes into the next page, or
/// nowhere.
#[test]
fn a_record_may_fill_its_page_to_the_last_byte() {
    for setup in Setup::all() {
        // What is left of an empty page for the payload of one record: header and seal take 48 bytes each.
        let room = records_limit(&setup) - PAGE_HEADER_LEN - 2 * RECORD_HEADER_LEN;
        for (before, last) in
            [(0, room), (1, room - 48), (1, room - 47), (2, room - 96), (2, room - 95), (0, room - 1)]
        {
            let ring = TestRing::new();
            let mut writer = ring.writer(&setup);
            let full = vec![0xa5; last];
            let mut batch = vec![Vec::new(); before];
            batch.extend([full.clone(), Vec::new(), b"next".to_vec()]);
            for payload in &batch {
                writer.append_payloads(&[payload]).unwrap();
            }
            let (mut page, mut used) = (1, 0);
            for payload in &batch {
                let size = RECORD_HEADER_LEN + payload.len().next_multiple_of(8);
                if used + size > room + RECORD_HEADER_LEN {
                    (page, used) = (page + 1, 0);
                }
                used += size;
            }
            assert_eq!(writer.committed().page(), page, "{before} {last}");
            let error = writer.append_payloads(&[vec![0; room + 1]]).unwrap_err();
            assert!(matches!(error, AppendError::TooLarge { .. }), "{error}");
            writer.close().unwrap();
            let mut reader = ring.attach().reader_with(Cursor::Oldest, careful()).unwrap();
            let mut read = Vec::new();
            while let Some(found) = reader.poll().unwrap() {
                read.extend(found.iter().map(|record| record.data().to_vec()));
            }
            assert!(read == batch, "{before} {last}");
            verify::verify(ring.home(), &mut |_| {}).unwrap();
            assert_eq!(ring.writer(&setup).tip(), Some(batch.len() as u64));
        }
    }
}

/// Where records of a page end.
fn records_limit(setup: &Setup) -> usize {
    let ring = TestRing::new();
    ring.writer(setup).close().unwrap();
    let bytes = std::fs::read(ring.page(1)).unwrap();
    let header = waldo::protocol::page::PageHeader::check_any(&bytes, bytes.len() as u64).unwrap();
    header.fields().records_limit as usize
}

/// The words are 32 bits and go round after four thousand million wakes. A sleeper compares for equality,
/// never for order.
#[test]
fn sleepers_are_woken_when_the_words_that_they_sleep_on_go_round() {
    for setup in Setup::all() {
        let ring = TestRing::new();
        let mut writer: Writer = ring.writer(&setup);
        let ControlKind::Posix(name) = ring.status().control else { panic!("no segment") };
        let path = format!("/dev/shm/{}", name.trim_start_matches('/'));
        let segment = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let words: Vec<u64> = (0..64).map(|n| WAKE_OFFSET as u64 + 64 * n).collect();
        for at in &words {
            segment.write_all_at(&(u32::MAX - 5).to_le_bytes(), *at).unwrap();
        }
        let args = setup.args(ring.home()).with("until", 20);
        let mut sleepers: Vec<Child> = (0..3).map(|_| Child::spawn("waiter", args.clone())).collect();
        sleepers.iter_mut().for_each(|sleeper| drop(sleeper.expect("ready")));
        for seq_no in 1..=20 {
            writer.append_payloads(&payloads(seq_no, seq_no, setup.max)).unwrap();
            // Nothing but a wake rouses them.
            for sleeper in &mut sleepers {
                assert_eq!(sleeper.numbers("got"), [seq_no]);
            }
        }
        sleepers.into_iter().for_each(Child::finish);
        let mut word = [0; 4];
        let went_round = words.iter().any(|at| {
            segment.read_exact_at(&mut word, *at).unwrap();
            u32::from_le_bytes(word) < 1000
        });
        assert!(went_round, "no word went round");
    }
}
