//! Appending, rotating, trimming, recycling, closing; and what faults of the disk do.

mod full_disk;
mod geometry;
mod in_flight;
mod keep_for;
mod restarts;
mod strange_payloads;
mod trimming;

use crate::disk::faulty::{Faults, FaultyDisk};
use crate::testing::*;
use crate::{
    AppendError, ControlPlace, Durability, EngineKind, GeometryChange, Io, Log, OpenError, Writer,
    WriterOptions,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use waldo_shm_protocol::limits::PAYLOAD_LEN_MAX;
use waldo_shm_protocol::segment::{Counter, WriterState};

fn counter(writer: &Writer, counter: Counter) -> u64 {
    writer.core.control.publisher().segment().counters().get(counter)
}

/// Lets flushes go on, also where a test fails: the writer waits for them when it is dropped.
struct Permit(Arc<Faults>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.permit_syncs(None);
    }
}

#[test]
fn what_is_appended_is_in_the_files_in_every_regime() {
    for options in regimes() {
        let home = Home::new();
        let mut writer = home.open(&options);
        for start in (1..=400).step_by(7) {
            let appended = writer.append_payloads(&payloads(start..=start + 6)).unwrap();
            assert_eq!(
                (appended.first_seq_no, appended.last_seq_no, appended.records),
                (start, start + 6, 7)
            );
        }
        let last = writer.tip().unwrap();
        assert_run(home.path(), last);
        assert!(counter(&writer, Counter::Rotations) > 4, "{options:?}");
        writer.close().unwrap();
        assert_run(home.path(), last);
        let writer = home.open(&options);
        assert!(
            writer.open_report().clean && writer.open_report().cut.is_none(),
            "{:?}",
            writer.open_report()
        );
        assert_eq!(writer.tip(), Some(last));
        assert_eq!(writer.open_report().epoch, 2);
    }
}

#[test]
fn disk_use_is_bounded_and_pages_are_recycled() {
    for options in regimes() {
        let home = Home::new();
        let mut writer = home.open(&options);
        for start in (1..=3000).step_by(10) {
            writer.append_payloads(&payloads(start..=start + 9)).unwrap();
            let files = std::fs::read_dir(home.path()).unwrap().count();
            // Pages of the ring, one ready, one being trimmed; and meta, lock and link.
            assert!(files <= options.ring_size as usize + 2 + 3, "{files} files");
        }
        assert!(counter(&writer, Counter::RecycledPages) > counter(&writer, Counter::FreshPages));
        assert_eq!(counter(&writer, Counter::StuckPages), 0);
        writer.close().unwrap();
        let left: Vec<String> = home.content().into_iter().map(|(name, _)| name).collect();
        assert!(!left.iter().any(|name| name.starts_with("scratch")), "{left:?}");
    }
}

#[test]
fn an_append_longer_than_the_ring_keeps_the_files_within_their_bound() {
    for options in regimes() {
        for ring_size in [1, 2, 5] {
            let home = Home::new();
            let disk = FaultyDisk::open(home.path());
            let faults = Arc::clone(&disk.faults);
            let options = WriterOptions { ring_size, ..options.clone() };
            let mut writer = Writer::open_on(home.path(), Arc::new(disk), options.clone()).unwrap();
            for start in [1, 401, 801] {
                writer.append_payloads(&payloads(start..=start + 399)).unwrap();
            }
            assert!(counter(&writer, Counter::Rotations) > 20);
            assert_run(home.path(), 1200);
            writer.close().unwrap();
            let max = faults.files_max();
            assert!(max <= ring_size as usize + 2, "{max} files: {options:?}");
        }
    }
}

#[test]
fn an_append_that_fails_takes_no_page_of_the_ring_with_it() {
    let durable = |options: &WriterOptions| options.durability == Durability::Sync;
    for options in regimes_in_place().filter(durable) {
        for ring_size in [1, 2, 3] {
            let home = Home::new();
            let disk = FaultyDisk::open(home.path());
            let faults = Arc::clone(&disk.faults);
            let options = WriterOptions { ring_size, ..options.clone() };
            let mut writer = Writer::open_on(home.path(), Arc::new(disk), options.clone()).unwrap();
            // The first record of the ring's oldest page, and the last of all.
            let (mut first, mut last) = (None, 0);
            while writer.committed().page() < u64::from(ring_size) + 2 {
                last += 1;
                writer.append_payloads(&[payload(last)]).unwrap();
                first = first.or((writer.committed().page() == 3).then_some(last));
            }
            writer.settle();
            // Without a preparer the page before them goes at the next rotation.
            let ready = usize::from(options.prepare_ahead);
            await_pages(&home, ring_size as usize + 1, ready);
            // It goes on to pages that are ready, and would have to be flushed there.
            faults.sync.store(libc::EIO as u64, Ordering::Relaxed);
            let outcome = writer.append_payloads(&payloads(last + 1..=last + 1000));
            assert!(matches!(outcome, Err(AppendError::Failed { .. })), "{outcome:?}");
            drop(writer);
            let left = read_all(home.path()).0;
            let numbers = |record: Option<&(u64, Vec<u8>)>| record.map(|record| record.0);
            assert!(numbers(left.first()) <= first, "{:?} of {first:?}: {options:?}", left.first());
            assert!(numbers(left.last()) >= Some(last), "{:?} of {last}: {options:?}", left.last());
        }
    }
}

/// Waits until so many pages have their names, and so many are blank.
fn await_pages(home: &Home, named: usize, blank: usize) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let count = |prefix: &str| {
        let names = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(prefix)).count()
    };
    while (count("page-"), count("scratch-")) != (named, blank) {
        assert!(std::time::Instant::now() < deadline, "{} and {}", count("page-"), count("scratch-"));
        std::thread::yield_now();
    }
}

#[test]
fn a_page_is_blank_beyond_the_ready_one_after_the_first_rotation() {
    let home = Home::new();
    let options = small(Io::Pwrite, LAZY);
    let mut writer = home.open(&options);
    for start in (1..=3000).step_by(10) {
        writer.append_payloads(&payloads(start..=start + 9)).unwrap();
    }
    await_pages(&home, options.ring_size as usize + 1, 1);
    let disk = options.page_len * u64::from(options.ring_size + 2);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while counter(&writer, Counter::DiskBytes) != disk {
        assert!(std::time::Instant::now() < deadline, "{}", counter(&writer, Counter::DiskBytes));
        std::thread::yield_now();
    }
}

#[test]
fn a_mapped_page_is_never_recycled() {
    for prepare_ahead in [true, false] {
        let options = WriterOptions { prepare_ahead, ..small(Io::Pwrite, LAZY) };
        let home = Home::new();
        let mut writer = home.open(&options);
        writer.append_payloads(&payloads(1..=10)).unwrap();
        let file = std::fs::File::open(home.page(1)).unwrap();
        let before = std::fs::read(home.page(1)).unwrap();
        let end = writer.active.offset as usize;
        // Held open only, without a mapping: that must be enough.
        for start in (11..=2000).step_by(10) {
            writer.append_payloads(&payloads(start..=start + 9)).unwrap();
        }
        let mut now = vec![0; end];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut now, 0).unwrap();
        assert_eq!(now, before[..end]);
        assert_eq!(counter(&writer, Counter::StuckPages), 1);
        drop(file);
        for start in (2001..=2200).step_by(10) {
            writer.append_payloads(&payloads(start..=start + 9)).unwrap();
        }
        // Trimming looks after stuck pages; the last trim may still be under way when the last append
        // returns.
        writer.preparer.take(0).unwrap();
        assert_eq!(counter(&writer, Counter::StuckPages), 0);
    }
}

#[test]
fn a_recycled_page_that_has_left_the_page_cache_comes_back_as_a_whole() {
    for durability in [Durability::Sync, LAZY] {
        let home = Home::new();
        let options =
            WriterOptions { page_len: 1 << 20, prepare_ahead: false, ..small(Io::Pwrite, durability) };
        let mut writer = home.open(&options);
        // Two laps: after that only recycled pages come.
        let batch = vec![vec![7; 10_000]; 100];
        while counter(&writer, Counter::Rotations) < 8 {
            writer.append_payloads(&batch).unwrap();
        }
        let fresh = counter(&writer, Counter::FreshPages);
        writer.sync().unwrap();
        for id in home.page_ids() {
            let file = std::fs::File::open(home.page(id)).unwrap();
            // Elsewhere than in the active page nothing is dirty but footers.
            file.sync_data().unwrap();
            let all = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
            nix::fcntl::posix_fadvise(&file, 0, 0, all).unwrap();
        }
        let rotations = counter(&writer, Counter::Rotations);
        while counter(&writer, Counter::Rotations) == rotations {
            writer.append_payloads(&batch[..1]).unwrap();
        }
        // One record has been written to it so far. (A tmpfs lets nothing go, and then this shows nothing.)
        // What no page has ever held at the end of the file is left to the log.
        let file = &writer.active.page.file;
        let held = file.next_unwritten(4096).unwrap();
        assert!(held > options.page_len * 9 / 10 && file.cached(0, held).unwrap(), "{held}");
        assert_eq!(counter(&writer, Counter::FreshPages), fresh);
        assert_eq!(read_all(home.path()).0.last().unwrap().1, batch[0]);
    }
}

#[test]
fn without_a_page_ahead_every_rotation_waits_and_the_ring_is_the_same() {
    for ring_size in [1, 4] {
        let home = Home::new();
        let options = WriterOptions { ring_size, prepare_ahead: false, ..small(Io::Pwrite, LAZY) };
        let mut writer = home.open(&options);
        for start in (1..=1000).step_by(10) {
            writer.append_payloads(&payloads(start..=start + 9)).unwrap();
        }
        let rotations = counter(&writer, Counter::Rotations);
        assert_eq!(counter(&writer, Counter::RotationStalls), rotations);
        // One more than the ring is there before one can be trimmed.
        let fresh = u64::from(ring_size);
        assert_eq!(counter(&writer, Counter::FreshPages), fresh);
        assert_eq!(counter(&writer, Counter::RecycledPages), rotations - fresh);
        assert_eq!(home.page_ids().len(), ring_size as usize + 1);
        assert_run(home.path(), 1000);
        writer.close().unwrap();
        // And the other way round: what one has left, the other goes on with.
        let mut writer = home.open(&WriterOptions { prepare_ahead: true, ..options });
        writer.append_payloads(&payloads(1001..=1500)).unwrap();
        writer.close().unwrap();
        assert_run(home.path(), 1500);
    }
}

#[test]
fn extremes_of_length() {
    for options in regimes() {
        let home = Home::new();
        let options = WriterOptions { page_len: 4 << 20, buffer_len: 64 << 10, ..options };
        let mut writer = home.open(&options);
        let largest = vec![5; PAYLOAD_LEN_MAX];
        writer.append_payloads(&[&[][..], &largest, &[], b"x"]).unwrap();
        let too_large = vec![0; PAYLOAD_LEN_MAX + 1];
        let error = writer.append_payloads(&[&b"a"[..], &too_large]).unwrap_err();
        assert!(matches!(error, AppendError::TooLarge { seq_no: 6, .. }), "{error}");
        assert_eq!(writer.tip(), Some(4), "nothing of a refused batch is appended");
        let (records, _) = read_all(home.path());
        assert_eq!(records[0].1, b"");
        assert_eq!(records[1].1, largest);
        assert_eq!(records[3].1, b"x");
        // A batch larger than the ring.
        let batch: Vec<Vec<u8>> = (0..40).map(|i| vec![i; 600_000]).collect();
        writer.append_payloads(&batch).unwrap();
        assert_eq!(read_all(home.path()).0.last().unwrap().1, vec![39; 600_000]);
    }
}

#[test]
fn numbers_must_continue_the_log() {
    let home = Home::new();
    let mut writer = home.open(&small(Io::Pwrite, LAZY));
    // Any predecessor begins an empty ring.
    writer.append(&[Log::new_borrowed(10, 7, b"a"), Log::new_borrowed(15, 10, b"b")]).unwrap();
    let wrong = writer.append(&[Log::new_borrowed(16, 14, b"c")]).unwrap_err();
    assert!(matches!(wrong, AppendError::Sequence { seq_no: 16, prev_seq_no: 14, expected: 15 }));
    let batch = [Log::new_borrowed(16, 15, b"c"), Log::new_borrowed(18, 17, b"d")];
    assert!(matches!(writer.append(&batch), Err(AppendError::Sequence { seq_no: 18, expected: 16, .. })));
    assert!(matches!(
        writer.append(&[Log::new_borrowed(15, 15, b"c")]),
        Err(AppendError::NotIncreasing { .. })
    ));
    assert_eq!(writer.tip(), Some(15));
    assert_eq!(writer.append(&[]).unwrap().records, 0);
    writer.append(&[Log::new_borrowed(u64::MAX, 15, b"last")]).unwrap();
    assert!(matches!(writer.append_payloads(&[b"more"]), Err(AppendError::Exhausted { tip: u64::MAX })));
    drop(writer);
    assert_eq!(home.open(&small(Io::Pwrite, LAZY)).tip(), Some(u64::MAX));
}

#[test]
fn lazy_records_become_durable_by_sync_and_by_close() {
    let home = Home::new();
    let mut writer = home.open(&small(Io::Pwrite, LAZY));
    writer.append_payloads(&payloads(1..=100)).unwrap();
    assert!(writer.core.durable() < writer.core.committed());
    writer.sync().unwrap();
    assert_eq!(writer.core.durable(), writer.core.committed());
    assert!(counter(&writer, Counter::Flushes) > 0);
}

#[test]
fn a_short_interval_flushes_by_itself() {
    let home = Home::new();
    let interval = Durability::Interval(std::time::Duration::from_millis(5));
    let mut writer = home.open(&small(Io::Pwrite, interval));
    writer.append_payloads(&payloads(1..=100)).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while writer.core.durable() < writer.core.committed() {
        assert!(std::time::Instant::now() < deadline, "no flush came");
        std::thread::yield_now();
    }
}

#[test]
fn options_may_change_between_openings() {
    let home = Home::new();
    let options = small(Io::Pwrite, Durability::Sync);
    let mut writer = home.open(&options);
    writer.append_payloads(&payloads(1..=150)).unwrap();
    writer.close().unwrap();
    let options = WriterOptions { geometry_change: GeometryChange::Apply, ..options };
    let larger = WriterOptions { page_len: 64 << 10, ring_size: 2, index_capacity: 32, ..options.clone() };
    let mut writer = home.open(&larger);
    assert_eq!(writer.tip(), Some(150));
    for start in (151..=500).step_by(10) {
        writer.append_payloads(&payloads(start..=start + 9)).unwrap();
    }
    assert_run(home.path(), 500);
    writer.close().unwrap();
    let lens: Vec<u64> =
        home.page_ids().iter().map(|id| std::fs::metadata(home.page(*id)).unwrap().len()).collect();
    assert!(lens.iter().all(|len| *len == 64 << 10), "{lens:?}");
    home.open(&options).append_payloads(&payloads(501..=900)).unwrap();
    assert_run(home.path(), 900);
}

#[test]
fn options_that_cannot_work_are_refused_with_the_reason() {
    let home = Home::new();
    let good = small(Io::Pwrite, LAZY);
    let cases = [
        (WriterOptions { ring_size: 0, ..good.clone() }, "ring_size"),
        (WriterOptions { page_len: 5000, ..good.clone() }, "page_len"),
        (WriterOptions { page_len: 1 << 40, ..good.clone() }, "page_len"),
        (WriterOptions { index_capacity: 100_000, ..good.clone() }, "index_capacity"),
        (WriterOptions { index_sparse_bytes: 0, ..good.clone() }, "index_sparse_bytes"),
        (WriterOptions { queue_depth: 0, ..good.clone() }, "queue_depth"),
        (WriterOptions { buffers: 0, ..good.clone() }, "buffers"),
        (WriterOptions { buffer_len: 5000, ..good.clone() }, "buffer_len"),
        (WriterOptions { huge_buffers: true, ..good.clone() }, "2 MiB"),
        (WriterOptions { mode: Some(0o777), ..good.clone() }, "mode"),
        (WriterOptions { control: ControlPlace::Path("x".into()), ..good.clone() }, "absolute"),
        (
            WriterOptions { linger: std::time::Duration::from_secs(2), ..good.clone() },
            "linger is 2s, it must be 0 to 1 s",
        ),
        (
            WriterOptions { keep_for: Some(std::time::Duration::ZERO), ..good.clone() },
            "keep_for is 0, nothing would be kept",
        ),
        (WriterOptions { durability: Durability::Interval(std::time::Duration::ZERO), ..good }, "interval"),
    ];
    for (options, word) in cases {
        match Writer::open(home.path(), options) {
            Err(error @ OpenError::Options { .. }) => assert!(error.to_string().contains(word), "{error}"),
            other => panic!("{word}: {other:?}"),
        }
    }
    assert_eq!(home.content(), Vec::new(), "a refused opening leaves nothing behind");
}

#[test]
fn huge_buffers_are_used_or_refused_with_a_hint() {
    let home = Home::new();
    let options = WriterOptions { huge_buffers: true, buffer_len: 2 << 20, ..small(Io::Pwrite, LAZY) };
    match Writer::open(home.path(), options) {
        Ok(mut writer) => drop(writer.append_payloads(&payloads(1..=50)).unwrap()),
        Err(error) => assert!(error.to_string().contains("vm.nr_hugepages"), "{error}"),
    }
}

#[test]
fn engines_are_what_was_asked_for() {
    let home = Home::new();
    assert_eq!(home.open(&small(Io::Pwrite, LAZY)).open_report().engine, EngineKind::Pwrite);
    let kind = home.open(&small(Io::Uring, LAZY)).open_report().engine;
    assert!(matches!(kind, EngineKind::Uring { inline_max: 0, .. }), "{kind:?}");
    for engine in EngineOverride::ALL {
        EngineOverride::set(Some(engine));
        let options = small(Io::Uring, LAZY);
        let kind = home.open(&options).open_report().engine;
        let EngineKind::Uring { inline_max, streams, registered } = kind else { panic!("{kind:?}") };
        let expected = match engine {
            EngineOverride::Unregistered => (inline_max == 0, streams, !registered),
            EngineOverride::SmallInPlace => (inline_max == 512, streams, true),
            EngineOverride::AllInPlace => (inline_max == usize::MAX, !streams, true),
        };
        assert_eq!(expected, (true, true, true), "{kind:?}");
    }
    EngineOverride::set(None);
}

#[test]
fn no_engine_is_missing_from_the_list() {
    // An engine that is added does not compile here, and has to go into the list as well.
    let place = |io| match io {
        Io::Auto => 0,
        Io::Uring => 1,
        Io::Pwrite => 2,
    };
    assert_eq!(Io::ALL.map(place), [0, 1, 2]);
}

#[test]
fn a_control_segment_at_a_path() {
    let home = Home::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("ring.control");
    let options = WriterOptions { control: ControlPlace::Path(path.clone()), ..small(Io::Pwrite, LAZY) };
    let mut writer = home.open(&options);
    writer.append_payloads(&payloads(1..=10)).unwrap();
    let instance = writer.core.control.publisher().segment().identity().instance;
    writer.close().unwrap();
    assert!(path.exists());
    let writer = home.open(&options);
    assert_eq!(writer.core.control.publisher().segment().identity().instance, instance, "taken over");
    writer.close().unwrap();
    let writer =
        home.open(&WriterOptions { ring_size: 9, geometry_change: GeometryChange::Apply, ..options.clone() });
    assert_ne!(writer.core.control.publisher().segment().identity().instance, instance, "other shape");
    writer.close().unwrap();
    home.open(&WriterOptions { remove_control: true, ..options }).close().unwrap();
    assert!(!path.exists());
}

// ---- faults
// ---------------------------------------------------------------------------------------------------

fn faulty_with(home: &Home, options: WriterOptions) -> (Writer, Arc<Faults>) {
    let disk = FaultyDisk::open(home.path());
    let faults = Arc::clone(&disk.faults);
    let writer = Writer::open_on(home.path(), Arc::new(disk), options).unwrap();
    (writer, faults)
}

#[test]
fn short_and_interrupted_writes_are_completed() {
    for options in regimes_in_place() {
        let home = Home::new();
        let (mut writer, faults) = faulty_with(&home, options.clone());
        faults.piece.store(700, Ordering::Relaxed);
        faults.interrupt.store(1, Ordering::Relaxed);
        for start in (1..=200).step_by(5) {
            writer.append_payloads(&payloads(start..=start + 4)).unwrap();
        }
        assert_run(home.path(), 200);
        writer.close().unwrap();
        let (writer, _) = faulty_with(&home, options);
        assert_eq!(writer.tip(), Some(200));
    }
}

#[test]
fn a_failed_flush_is_final_and_durable_stays_where_it_was() {
    // Without durable appends every engine leaves flushes to another thread, which does them in place.
    let lazy = regimes_in_flight().filter(|options| options.durability == LAZY);
    for options in regimes_in_place().chain(lazy) {
        for errno in [libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EROFS] {
            a_failed_flush_is_final(&options, errno);
        }
    }
}

fn a_failed_flush_is_final(options: &WriterOptions, errno: i32) {
    let (home, durability) = (Home::new(), options.durability);
    let (mut writer, faults) = faulty_with(&home, options.clone());
    writer.append_payloads(&payloads(1..=20)).unwrap();
    writer.sync().unwrap();
    let durable = writer.core.durable();
    faults.sync.store(errno as u64, Ordering::Relaxed);
    let appended = writer.append_payloads(&payloads(21..=30));
    if durability == Durability::Sync {
        assert!(matches!(appended, Err(AppendError::Failed { .. })), "{appended:?}");
    } else {
        appended.unwrap();
        assert!(matches!(writer.sync(), Err(AppendError::Failed { .. })));
    }
    // The disk works again, but nobody can know what it lost meanwhile.
    faults.sync.store(0, Ordering::Relaxed);
    assert!(matches!(writer.append_payloads(&[b"more"]), Err(AppendError::Failed { .. })));
    assert!(matches!(writer.sync(), Err(AppendError::Failed { .. })));
    assert_eq!(writer.core.durable(), durable);
    let status = writer.core.control.publisher().segment().status();
    assert_eq!((status.state(), status.errno()), (Some(WriterState::Failed), errno as u32));
    assert!(writer.close().is_err());
    // Opening again writes what was not provably durable once more, then goes on.
    let (mut writer, faults) = faulty_with(&home, options.clone());
    assert!(!writer.open_report().clean);
    assert!(faults.syncs.load(Ordering::Relaxed) > 0);
    let tip = writer.tip().unwrap();
    assert!((20..=30).contains(&tip), "{tip}");
    writer.append_payloads(&payloads(tip + 1..=tip + 20)).unwrap();
    assert_run(home.path(), tip + 20);
}

#[test]
fn a_failed_write_is_final() {
    for options in regimes_in_place() {
        let home = Home::new();
        let (mut writer, faults) = faulty_with(&home, options.clone());
        writer.append_payloads(&payloads(1..=20)).unwrap();
        faults.write.store(libc::EIO as u64, Ordering::Relaxed);
        let error = writer.append_payloads(&payloads(21..=22)).unwrap_err();
        assert!(matches!(&error, AppendError::Failed { cause } if cause.errno() == libc::EIO), "{error}");
        faults.write.store(0, Ordering::Relaxed);
        assert!(writer.append_payloads(&payloads(21..=22)).is_err());
        drop(writer);
        let (writer, _) = faulty_with(&home, options);
        assert_eq!(writer.tip(), Some(20));
    }
}

#[test]
fn a_full_disk_ends_the_batch_and_not_the_writer() {
    for options in regimes() {
        let home = Home::new();
        let (mut writer, faults) = faulty_with(&home, options);
        faults.create.store(libc::ENOSPC as u64, Ordering::Relaxed);
        let mut tip = 0;
        let error = loop {
            match writer.append_payloads(&payloads(tip + 1..=tip + 10)) {
                Ok(appended) => tip = appended.last_seq_no,
                Err(error) => break error,
            }
        };
        let AppendError::NoPage { cause, tip: told } = &error else { panic!("{error}") };
        assert_eq!(cause.errno(), libc::ENOSPC);
        assert!(*told >= tip, "records before the end of the page count");
        let tip = writer.tip().unwrap();
        assert_eq!(*told, tip);
        assert_run(home.path(), tip);
        assert!(matches!(writer.append_payloads(&[vec![0; 1400]]), Err(AppendError::NoPage { .. })));
        faults.create.store(0, Ordering::Relaxed);
        writer.append_payloads(&payloads(tip + 1..=tip + 60)).unwrap();
        assert_run(home.path(), tip + 60);
    }
}

#[test]
fn a_page_is_durable_with_its_name_before_it_is_used() {
    for prepare_ahead in [true, false] {
        let home = Home::new();
        let options = WriterOptions { prepare_ahead, ..small(Io::Pwrite, Durability::Sync) };
        let (mut writer, faults) = faulty_with(&home, options);
        for start in (1..=1000).step_by(10) {
            writer.append_payloads(&payloads(start..=start + 9)).unwrap();
        }
        writer.preparer.stop();
        let log = faults.log_with_threads();
        let named: Vec<usize> = (0..log.len())
            .filter(|at| log[*at].1.contains(" page-") && log[*at].1.starts_with("rename scratch"))
            .collect();
        assert!(named.len() > 5);
        for at in &named[..named.len() - 1] {
            let (thread, entry) = &log[*at];
            // While one thread names a page, the other makes files and lets pages go.
            let next = log[at + 1..].iter().find(|(other, _)| other == thread);
            assert_eq!(next.map(|(_, next)| next.as_str()), Some("sync_dir"), "after {entry}");
        }
    }
}

#[test]
fn a_copy_of_a_ring_leaves_the_control_segment_of_the_original_alone() {
    let home = Home::new();
    let mut writer = home.open(&small(Io::Pwrite, LAZY));
    writer.append_payloads(&payloads(1..=10)).unwrap();
    let copy = Home::new();
    home.copy_to(&copy);
    std::fs::copy(home.path().join("control.link"), copy.path().join("control.link")).unwrap();
    let mut other = copy.open(&small(Io::Pwrite, LAZY));
    let identity = |writer: &Writer| writer.core.control.publisher().segment().identity();
    assert_ne!(identity(&other).instance, identity(&writer).instance);
    other.append_payloads(&payloads(11..=20)).unwrap();
    let segment = *writer.core.control.publisher().segment();
    assert_eq!((segment.status().state(), segment.tip_seq_no()), (Some(WriterState::Live), 10));
    other.close().unwrap();
    writer.append_payloads(&payloads(11..=12)).unwrap();
}

#[test]
fn large_payloads_are_written_from_where_they_are_in_any_mixture() {
    // Lengths around every threshold, so that copied and gathered records follow each other, pages turn in
    // between, and more payloads come than go into one write.
    let lens = [0, 1, 7, 100, 1535, 1536, 1537, 4096, 5000, 12_000, 70_000];
    let batch: Vec<Vec<u8>> = (0..700usize)
        .map(|n| (0..lens[n * 7 % lens.len()]).map(|at| (n * 31 + at * 7) as u8).collect())
        .collect();
    let whole = regimes().map(|options| (options, 0));
    let in_parts = regimes_in_place().map(|options| (options, 3001));
    for (options, piece) in whole.chain(in_parts) {
        let home = Home::new();
        let options = WriterOptions {
            page_len: 1 << 20,
            ring_size: 64,
            buffer_len: 16 << 10,
            page_records_max: 300,
            ..options
        };
        let mut writer = if piece > 0 {
            let disk = FaultyDisk::open(home.path());
            disk.faults.piece.store(piece, Ordering::Relaxed);
            disk.faults.interrupt.store(1, Ordering::Relaxed);
            Writer::open_on(home.path(), Arc::new(disk), options.clone()).unwrap()
        } else {
            home.open(&options)
        };
        writer.append_payloads(&batch[..350]).unwrap();
        let logs: Vec<Log<'_>> =
            (351..).zip(&batch[350..]).map(|(n, data)| Log::new_borrowed(n, n - 1, data)).collect();
        writer.append(&logs).unwrap();
        let (records, _) = read_all(home.path());
        assert!(records.iter().map(|record| &record.1).eq(&batch), "{options:?} {piece}");
        writer.close().unwrap();
        assert_eq!(home.open(&options).tip(), Some(700));
    }
}

#[test]
fn a_failed_write_of_gathered_payloads_is_final() {
    for options in regimes_in_place() {
        let home = Home::new();
        let (mut writer, faults) = faulty_with(&home, options.clone());
        faults.write.store(libc::EIO as u64, Ordering::Relaxed);
        let batch = vec![vec![7; 8000]; 20];
        assert!(matches!(writer.append_payloads(&batch), Err(AppendError::Failed { .. })));
        faults.write.store(0, Ordering::Relaxed);
        assert!(matches!(writer.append_payloads(&batch), Err(AppendError::Failed { .. })));
        drop(writer);
        let (mut writer, _) = faulty_with(&home, options);
        assert_eq!(writer.tip(), None);
        writer.append_payloads(&batch).unwrap();
    }
}

#[test]
fn a_ring_on_tmpfs_works_and_recycles() {
    // Also where leases, fallocate and RWF_DSYNC are another file system's than that of the other tests.
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("skipped: /dev/shm cannot be written to");
        return;
    };
    for (name, durability) in [("sync", Durability::Sync), ("lazy", LAZY)] {
        let home = dir.path().join(name);
        let control = ControlPlace::Path(dir.path().join(format!("{name}.control")));
        let options = WriterOptions { control, ..small(Io::Auto, durability) };
        let mut writer = Writer::open(&home, options.clone()).unwrap();
        for start in (1..=1000).step_by(10) {
            writer.append_payloads(&payloads(start..=start + 9)).unwrap();
        }
        assert!(counter(&writer, Counter::RecycledPages) > 0);
        writer.close().unwrap();
        assert_run(&home, 1000);
        assert_eq!(Writer::open(&home, options).unwrap().tip(), Some(1000));
    }
}
