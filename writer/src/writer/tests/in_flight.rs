//! What a kernel may do to pieces that are in flight: finish them late and out of order, bit by bit, or not
//! at all. The kernel does it by itself: io_uring writes to descriptors that are like that.

use super::*;
use crate::testing::dam::Dam;
use std::fs::File;
use std::os::unix::fs::FileExt;
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;

/// Records of a batch: they fill two pages and begin a third one.
const BATCH: u64 = 30;
/// They fill one page and begin the second one: no more can be in flight.
const PAIR: u64 = 20;

/// One piece for each page.
fn piece_by_page(options: WriterOptions) -> WriterOptions {
    WriterOptions { page_len: 16 << 10, buffer_len: 16 << 10, ring_size: 16, ..options }
}

fn batch(range: std::ops::RangeInclusive<u64>) -> Vec<Vec<u8>> {
    range.map(|seq_no| vec![seq_no as u8; 1000]).collect()
}

fn open(home: &Home, options: WriterOptions) -> (Writer, Arc<Faults>) {
    let disk = FaultyDisk::open(home.path());
    let faults = Arc::clone(&disk.faults);
    (Writer::open_on(home.path(), Arc::new(disk), piece_by_page(options)).unwrap(), faults)
}

fn device(path: &str) -> Option<std::os::fd::OwnedFd> {
    Some(std::fs::OpenOptions::new().write(true).open(path).unwrap().into())
}

/// Waits until record `seq_no` of [`batch`] is in page `id`.
fn await_record(home: &Home, id: u64, seq_no: u64) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let is_there = || {
        let bytes = std::fs::read(home.page(id)).unwrap_or_default();
        bytes.iter().filter(|byte| **byte == seq_no as u8).count() >= 1000
    };
    while !is_there() {
        assert!(std::time::Instant::now() < deadline, "record {seq_no} is not written");
        std::thread::yield_now();
    }
}

/// The ring is whole up to its tip, which is `last` at most, and goes on from there.
fn goes_on(home: &Home, options: &WriterOptions, range: std::ops::RangeInclusive<u64>) {
    let mut writer = home.open(&piece_by_page(options.clone()));
    let tip = writer.tip().unwrap_or(0);
    assert!(range.contains(&tip), "the log ends at {tip}: {options:?}");
    writer.append_payloads(&batch(tip + 1..=tip + BATCH)).unwrap();
    let all: Vec<_> = (1..).zip(batch(1..=tip + BATCH)).collect();
    assert!(read_all(home.path()).0 == all, "{options:?}");
    writer.close().unwrap();
}

#[test]
fn nothing_is_published_before_the_pieces_in_front_of_it_are_written() {
    for options in regimes_in_flight() {
        for refuses in [false, true] {
            let home = Home::new();
            let (mut writer, faults) = open(&home, options.clone());
            let core = writer.core();
            let segment = *core.control.publisher().segment();
            let start = core.committed();
            let (dam, held) = Dam::new(refuses);
            faults.divert([Some(held)]);
            let (outcome, written) = std::thread::scope(|scope| {
                let append = scope.spawn(|| writer.append_payloads(&batch(1..=PAIR)));
                await_record(&home, 2, PAIR);
                assert!(!append.is_finished(), "acknowledged before it was written: {options:?}");
                assert_eq!((core.committed(), segment.tip_seq_no()), (start, 0), "{options:?}");
                let written = dam.open(|| append.is_finished());
                (append.join().unwrap(), written)
            });
            // It is not flushed where it was written.
            if options.durability == Durability::Sync
                && EngineOverride::in_force() != Some(EngineOverride::SmallInPlace)
            {
                assert!(matches!(outcome, Err(AppendError::Failed { .. })), "{outcome:?}");
                assert_eq!((core.committed(), core.durable(), segment.tip_seq_no()), (start, start, 0));
                drop(writer);
                // The page is without its bytes, and what comes behind it is no part of the log.
                goes_on(&home, &options, 0..=0);
                continue;
            }
            assert_eq!(outcome.unwrap().last_seq_no, PAIR, "{options:?}");
            assert_eq!((core.committed().page(), segment.tip_seq_no()), (2, PAIR));
            let page = File::options().write(true).open(home.page(1)).unwrap();
            page.write_all_at(&written, PAGE_HEADER_LEN as u64).unwrap();
            assert!(read_all(home.path()).0.into_iter().eq((1..).zip(batch(1..=PAIR))));
            writer.close().unwrap();
            goes_on(&home, &options, PAIR..=PAIR);
        }
    }
}

#[test]
fn a_piece_that_is_refused_ends_the_log_in_front_of_it() {
    for options in regimes_in_flight() {
        let home = Home::new();
        let (mut writer, faults) = open(&home, options.clone());
        faults.divert([None, device("/dev/full")]);
        writer.append_payloads(&batch(1..=5)).unwrap();
        let error = writer.append_payloads(&batch(6..=5 + BATCH)).unwrap_err();
        let AppendError::Failed { cause } = &error else { panic!("{error}") };
        assert_eq!(cause.errno(), libc::ENOSPC);
        let core = writer.core();
        let segment = *core.control.publisher().segment();
        let published = segment.tip_seq_no();
        assert_eq!((segment.status().state(), core.committed().page()), (Some(WriterState::Failed), 1));
        if options.durability == Durability::Sync {
            assert_eq!(published, 5, "{options:?}");
        }
        assert!(matches!(writer.append_payloads(&batch(6..=6)), Err(AppendError::Failed { .. })));
        assert!(matches!(writer.sync(), Err(AppendError::Failed { .. })));
        assert_eq!(segment.tip_seq_no(), published);
        assert!(writer.close().is_err());
        // Page 2 is blank, whatever there is behind it.
        goes_on(&home, &options, published.max(5)..=11);
    }
}

#[test]
fn an_error_is_reported_after_what_is_in_flight_has_ended() {
    for options in regimes_in_flight() {
        let home = Home::new();
        let (mut writer, faults) = open(&home, options.clone());
        let core = writer.core();
        let start = core.committed();
        let (dam, held) = Dam::new(false);
        faults.divert([Some(held), device("/dev/full")]);
        let (outcome, written) = std::thread::scope(|scope| {
            let append = scope.spawn(|| writer.append_payloads(&batch(1..=BATCH)));
            let written = dam.open(|| append.is_finished());
            (append.join().unwrap(), written)
        });
        let cause = match outcome {
            Err(AppendError::Failed { cause }) => cause,
            other => panic!("{other:?}"),
        };
        assert_eq!(cause.errno(), libc::ENOSPC);
        assert_eq!(core.durable(), start);
        // The kernel had the buffer until it was through with it; now the buffers can be used again.
        assert_eq!(writer.engine.in_flight(), 0, "{options:?}");
        drop(writer);
        let page = File::options().write(true).open(home.page(1)).unwrap();
        page.write_all_at(&written, PAGE_HEADER_LEN as u64).unwrap();
        goes_on(&home, &options, 0..=11);
    }
}

#[test]
fn a_flush_that_the_kernel_refuses_is_final() {
    for options in regimes_in_flight() {
        if options.durability != Durability::Sync {
            continue;
        }
        let home = Home::new();
        let (mut writer, faults) = open(&home, options.clone());
        let core = writer.core();
        let start = core.committed();
        faults.divert([device("/dev/null")]);
        // Where it is not flushed through the ring.
        faults.sync.store(libc::EINVAL as u64, Ordering::Relaxed);
        let error = writer.append_payloads(&batch(1..=5)).unwrap_err();
        let AppendError::Failed { cause } = &error else { panic!("{error}") };
        assert_eq!(cause.errno(), libc::EINVAL);
        faults.sync.store(0, Ordering::Relaxed);
        let segment = *core.control.publisher().segment();
        assert_eq!(segment.status().state(), Some(WriterState::Failed));
        assert_eq!((core.committed(), core.durable(), segment.tip_seq_no()), (start, start, 0));
        assert!(matches!(writer.append_payloads(&batch(1..=1)), Err(AppendError::Failed { .. })));
        assert!(writer.close().is_err());
        goes_on(&home, &options, 0..=5);
    }
}

#[test]
fn what_is_durable_outlives_an_append_that_turns_the_whole_ring_and_fails() {
    // The pages of the append displace those before, which may not go as long as nothing has come in their
    // place.
    for options in regimes_in_flight() {
        let flushed_elsewhere = EngineOverride::in_force() == Some(EngineOverride::SmallInPlace);
        if options.durability != Durability::Sync || flushed_elsewhere {
            continue;
        }
        for ring_size in [1, 2, 3] {
            let home = Home::new();
            let disk = FaultyDisk::open(home.path());
            disk.faults.divert([None, device("/dev/null")]);
            let options = WriterOptions { ring_size, ..piece_by_page(options.clone()) };
            let mut writer = Writer::open_on(home.path(), Arc::new(disk), options.clone()).unwrap();
            writer.append_payloads(&batch(1..=5)).unwrap();
            let error = writer.append_payloads(&batch(6..=100)).unwrap_err();
            assert!(matches!(error, AppendError::Failed { .. }), "{error}");
            drop(writer);
            let tip = home.open(&options).tip();
            assert!(tip >= Some(5), "record 5 was durable, the log ends at {tip:?}: {options:?}");
        }
    }
}
