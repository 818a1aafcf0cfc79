//! Cursors and checkpoints.

use crate::testing::{Forge, drain, numbers};
use crate::{AttachOptions, Checkpoint, Cursor, ReadError, Reader, ReaderOptions, Ring};
use proptest::prelude::*;
use std::time::{Duration, UNIX_EPOCH};

fn forge_with_gaps(control: bool, gaps: &[u64], lens: &[usize], index_every: u64) -> Forge {
    let mut forge = if control { Forge::live(16384, 3) } else { Forge::new(16384, 3) };
    forge.index_every = index_every;
    for (gap, len) in gaps.iter().zip(lens.iter().cycle()) {
        let seq = forge.tip() + 1 + gap;
        forge.append(seq, &vec![seq as u8; *len]);
    }
    forge
}

fn since(time: u64) -> Cursor {
    Cursor::Since(UNIX_EPOCH + Duration::from_nanos(time))
}

/// What the model says a reader at `cursor` reads; `None` if it is lapped.
fn model(forge: &Forge, cursor: Cursor) -> Option<Vec<u64>> {
    let kept = forge.kept();
    let all = || kept.iter().map(|e| e.seq);
    let after = |s: u64| {
        let lapped = forge.oldest > 1 && kept.first().is_some_and(|e| s < e.prev);
        (!lapped).then(|| all().filter(|seq| *seq > s).collect())
    };
    match cursor {
        Cursor::Tip => Some(Vec::new()),
        Cursor::Oldest => Some(all().collect()),
        Cursor::After(s) => after(s),
        Cursor::From(s) => after(s.saturating_sub(1)),
        Cursor::Since(time) => {
            let time = time.duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
            Some(kept.iter().filter(|e| e.time >= time).map(|e| e.seq).collect())
        }
    }
}

fn check(forge: &Forge, ring: &Ring, cursor: Cursor) {
    match (ring.reader(cursor), model(forge, cursor)) {
        (Ok(mut reader), Some(expected)) => {
            let before = reader.last_seq_no();
            let read = drain(&mut reader);
            assert_eq!(read, expected, "{cursor:?}");
            if let (Some(before), Some(first)) = (before, expected.first()) {
                let first = forge.log.iter().find(|e| e.seq == *first).unwrap();
                assert_eq!(before, first.prev, "{cursor:?}");
            }
        }
        (Err(ReadError::Lapped { oldest, .. }), None) => assert_eq!(oldest, forge.kept()[0].seq),
        (found, expected) => panic!("{cursor:?}: {found:?}, expected {expected:?}"),
    }
}

fn check_around(forge: &Forge, ring: &Ring, picks: &[prop::sample::Index]) {
    let mut cursors =
        vec![Cursor::Tip, Cursor::Oldest, Cursor::After(0), Cursor::From(0), Cursor::From(1), since(0)];
    cursors.extend([Cursor::After(u64::MAX), Cursor::From(u64::MAX), since(u64::MAX)]);
    for pick in picks {
        let e = pick.get(&forge.log);
        for d in 0..3 {
            let s = (e.seq + d).saturating_sub(1);
            cursors.extend([Cursor::After(s), Cursor::From(s), since(e.time + d - 1)]);
        }
    }
    for cursor in cursors {
        check(forge, ring, cursor);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_cursor_reads_what_the_model_says(
        gaps in prop::collection::vec(prop_oneof![4 => Just(0u64), 1 => 0..100u64], 1..400),
        lens in prop::collection::vec(0..600usize, 1..20),
        index_every in 1..64u64,
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..12),
        control in any::<bool>(),
    ) {
        let forge = forge_with_gaps(control, &gaps, &lens, index_every);
        check_around(&forge, &forge.attach(), &picks);
    }

    #[test]
    fn one_reader_can_jump_about(
        lens in prop::collection::vec(0..600usize, 1..20),
        jumps in prop::collection::vec((any::<prop::sample::Index>(), 0..3u64), 1..60),
    ) {
        let forge = forge_with_gaps(true, &[1; 300], &lens, 8);
        let ring = forge.attach();
        let options = ReaderOptions { batch_bytes: 1, ..ReaderOptions::default() };
        let mut reader = ring.reader_with(Cursor::Tip, options).unwrap();
        for (pick, d) in jumps {
            let target = (pick.get(forge.kept()).seq + d).saturating_sub(1);
            let expected = model(&forge, Cursor::From(target)).and_then(|all| all.first().copied());
            match reader.seek(Cursor::From(target)) {
                Ok(()) => {
                    let found = reader.poll().unwrap().map(|batch| batch.first_seq_no());
                    prop_assert_eq!(found, expected);
                }
                Err(ReadError::Lapped { .. }) => prop_assert!(expected.is_none()),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_lying_directory_leads_nobody_astray(
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        lies in prop::collection::vec((1..8u64, any::<u64>(), any::<u64>(), any::<u64>()), 1..6),
    ) {
        use waldo_shm_protocol::page::IndexEntry;
        use waldo_shm_protocol::segment::PageInfo;
        let forge = forge_with_gaps(true, &[0; 200], &[100, 300], 8);
        let publisher = forge.control.as_ref().unwrap().publisher();
        for (page, first_seq_no, first_time_ns, offset) in lies {
            publisher.enter_page(&PageInfo {
                page_id: page, first_seq_no, first_time_ns, records_before: 1, ..PageInfo::default()
            });
            publisher.push_index(page, &IndexEntry {
                seq_no: first_seq_no % 300, time_ns: first_time_ns % 5000, offset: offset % 20000,
            });
        }
        check_around(&forge, &forge.attach(), &picks);
    }
}

#[test]
fn beyond_the_tip_waits_for_what_comes_after() {
    let mut forge = Forge::live(16384, 3);
    forge.append_n(5);
    let ring = forge.attach();
    let mut after = ring.reader(Cursor::After(8)).unwrap();
    let mut from = ring.reader(Cursor::From(8)).unwrap();
    let mut late = ring.reader(since(1085)).unwrap();
    let mut never = ring.reader(Cursor::After(u64::MAX)).unwrap();
    forge.append_n(700);
    assert_eq!(drain(&mut after)[..2], [9, 10]);
    assert_eq!(drain(&mut from)[..2], [8, 9]);
    assert_eq!(drain(&mut late)[..1], [10]);
    assert_eq!(drain(&mut never), []);
}

#[test]
fn every_cursor_waits_on_an_empty_ring() {
    for control in [true, false] {
        for page_made in [true, false] {
            let mut forge = if control { Forge::live(16384, 3) } else { Forge::new(16384, 3) };
            if page_made {
                forge.rotate();
                forge.commit();
            }
            let ring = forge.attach();
            let cursors =
                [Cursor::Tip, Cursor::Oldest, Cursor::After(0), Cursor::After(11), Cursor::From(1), since(5)];
            let mut readers: Vec<_> = cursors.iter().map(|c| ring.reader(*c).unwrap()).collect();
            for reader in &mut readers {
                assert!(reader.poll().unwrap().is_none());
            }
            // A ring may begin at any number.
            forge.append(10, b"x");
            forge.append(12, b"y");
            for (reader, cursor) in readers.iter_mut().zip(cursors) {
                let expected = if cursor == Cursor::After(11) { vec![12] } else { vec![10, 12] };
                assert_eq!(crate::testing::read_n(reader, expected.len()), expected, "{cursor:?}");
            }
        }
    }
}

#[test]
fn a_tip_reader_knows_the_record_before() {
    let mut forge = Forge::live(16384, 3);
    forge.append_n(50);
    let mut reader = forge.attach().reader(Cursor::Tip).unwrap();
    assert_eq!(reader.last_seq_no(), Some(50));
    forge.append_n(2);
    assert_eq!(drain(&mut reader), [51, 52]);
}

#[test]
fn a_tip_reader_may_start_behind_a_seal() {
    let mut forge = Forge::live(16384, 3);
    forge.append_n(5);
    forge.seal();
    let end = waldo_shm_protocol::Position::new(1, u64::from(forge.position().offset()) + 48).unwrap();
    forge.control.as_ref().unwrap().publisher().commit(end, 5, 5);
    let ring = forge.attach();
    let mut readers = [ring.reader(Cursor::Tip).unwrap(), ring.reader(Cursor::After(5)).unwrap()];
    let mut follower = ring.reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut follower), [1, 2, 3, 4, 5]);
    assert!(readers.iter_mut().all(|r| r.poll().unwrap().is_none()));
    forge.rotate();
    forge.append_n(3);
    for reader in readers.iter_mut().chain([&mut follower]) {
        assert_eq!(drain(reader), [6, 7, 8]);
    }
}

#[test]
fn a_checkpoint_resumes_behind_its_record_or_says_why_not() {
    for control in [true, false] {
        let mut forge = if control { Forge::live(16384, 3) } else { Forge::new(16384, 3) };
        forge.append_n(400);
        let ring = forge.attach();
        let options = || ReaderOptions { batch_bytes: 1, ..ReaderOptions::default() };
        let mut reader = ring.reader_with(Cursor::Oldest, options()).unwrap();
        let mut checkpoints = Vec::new();
        while let Some(batch) = reader.poll().unwrap() {
            let checkpoint = reader.checkpoint().unwrap();
            assert_eq!(checkpoint.seq_no, batch.last_seq_no());
            checkpoints.push(checkpoint);
        }
        for checkpoint in checkpoints.iter().step_by(7).chain(checkpoints.last()) {
            let mut reader = ring.resume(checkpoint, options()).unwrap();
            assert_eq!(reader.checkpoint(), Some(*checkpoint));
            let next = reader.poll().unwrap().map(|batch| numbers(&batch)[0]);
            assert_eq!(next, (checkpoint.seq_no < 400).then_some(checkpoint.seq_no + 1));
        }
        let one = checkpoints[100];
        let other = Checkpoint { checksum: one.checksum ^ 1, ..one };
        assert!(matches!(ring.resume(&other, options()), Err(ReadError::Diverged { found: Some(_), .. })));
        let foreign = Checkpoint { ring_id: [1; 16], ..one };
        assert!(matches!(ring.resume(&foreign, options()), Err(ReadError::ForeignCheckpoint { .. })));
        let beyond = Checkpoint { seq_no: 401, ..one };
        assert!(matches!(
            ring.resume(&beyond, options()),
            Err(ReadError::Rewound { seq_no: Some(401), tip: Some(400) })
        ));
        // Trimmed: fine only for the very last record trimmed.
        forge.append_n(600);
        let first_left = forge.kept()[0].seq;
        let resume = |seq_no| {
            let ring =
                Ring::attach_with(forge.home(), AttachOptions::default().files_only(!control)).unwrap();
            ring.resume(&Checkpoint { seq_no, ..one }, options())
        };
        assert!(matches!(
            resume(first_left - 2),
            Err(ReadError::Lapped { requested, .. }) if requested == first_left - 2
        ));
        let mut reader = resume(first_left - 1).unwrap();
        assert_eq!(reader.poll().unwrap().unwrap().first_seq_no(), first_left);
    }
}

#[test]
fn a_checkpoint_in_a_gap_of_the_numbering_has_diverged() {
    let mut forge = Forge::live(16384, 3);
    forge.append(5, b"a");
    forge.append(9, b"b");
    let checkpoint = Checkpoint { ring_id: crate::testing::RING, seq_no: 7, epoch: 1, checksum: 1 };
    let found = forge.attach().resume(&checkpoint, ReaderOptions::default());
    assert!(matches!(found, Err(ReadError::Diverged { seq_no: 7, found: None, .. })), "{found:?}");
}

#[test]
fn an_index_entry_far_below_any_number_does_no_harm() {
    use waldo_shm_protocol::page::IndexEntry;
    let mut forge = Forge::live(16384, 3);
    forge.append_n(5);
    let publisher = forge.control.as_ref().unwrap().publisher();
    publisher.push_index(1, &IndexEntry { seq_no: 0, time_ns: 0, offset: u64::from(u32::MAX) });
    let ring = forge.attach();
    let mut reader = ring.reader(Cursor::After(3)).unwrap();
    reader.seek(Cursor::After(u64::MAX)).unwrap();
    assert_eq!(drain(&mut reader), []);
    reader.seek(Cursor::From(4)).unwrap();
    assert_eq!(drain(&mut reader), [4, 5]);
}

#[test]
fn the_first_batch_after_a_seek_is_small_and_those_behind_it_grow() {
    // A lookup of one record walked through, and mapped, 256 KiB behind that record.
    const RECORDS: u64 = 3000;
    let mut forge = Forge::live(1 << 20, 4);
    forge.append_n(RECORDS);
    let mut reader = forge.attach().reader(Cursor::From(100)).unwrap();
    let sizes = |reader: &mut Reader| -> Vec<usize> {
        std::iter::from_fn(|| reader.poll().unwrap()).map(|batch| batch.len()).collect()
    };
    let first = sizes(&mut reader);
    assert!((10..100).contains(&first[0]), "{first:?}");
    for pair in first[..first.len() - 1].windows(2) {
        assert!(pair[1] > pair[0], "{first:?}");
    }
    assert_eq!(first.iter().sum::<usize>() as u64, RECORDS - 99);
    reader.seek(Cursor::From(100)).unwrap();
    assert_eq!(sizes(&mut reader), first);
    // Who asks for single records gets them.
    let options = ReaderOptions { batch_bytes: 1, ..ReaderOptions::default() };
    let mut single = forge.attach().reader_with(Cursor::From(2990), options).unwrap();
    assert_eq!(sizes(&mut single), [1; 11]);
}
