//! A ring's sizes changed: what goes, what stays, and what an interruption leaves.

use super::*;
use crate::disk::faulty::FaultyDisk;
use crate::testing::{Home, assert_run, payload, payloads, read_all, small};
use std::sync::atomic::Ordering;

/// A closed ring of 12 pages, full, and its last record.
fn ring_of_12() -> (Home, WriterOptions, u64) {
    let home = Home::new();
    let options = WriterOptions { ring_size: 12, ..small(Io::Pwrite, Durability::Sync) };
    let mut writer = home.open(&options);
    let mut last = 0;
    while writer.committed().page() < 14 {
        last += 1;
        writer.append_payloads(&[payload(last)]).unwrap();
    }
    writer.close().unwrap();
    (home, options, last)
}

fn sizes(options: &WriterOptions) -> RingGeometry {
    RingGeometry {
        ring_size: options.ring_size,
        page_len: options.page_len,
        index_capacity: options.index_capacity,
    }
}

/// The numbers of the records in the files, the first and the last.
fn held(home: &Home) -> (u64, u64, u64) {
    let (records, _) = read_all(home.path());
    (records[0].0, records[records.len() - 1].0, records.len() as u64)
}

/// The command dropped pages at some time after the opening, and said which page it would begin with.
#[test]
fn exactly_the_planned_records_go_and_the_others_keep_their_numbers() {
    for ring_size in [12, 11, 5, 1] {
        let (home, options, last) = ring_of_12();
        let before = read_all(home.path()).0;
        let content = home.content();
        let to = RingGeometry { ring_size, ..sizes(&options) };
        let planned = plan(home.path(), to).unwrap();
        assert!(home.content() == content, "a plan changes nothing");
        let first = before[0].0;
        if ring_size == 12 {
            assert!(planned.changes_nothing(), "{planned:?}");
        } else {
            assert_eq!(
                (planned.dropped.pages, planned.kept.pages),
                (12 - u64::from(ring_size), ring_size.into())
            );
            assert_eq!(planned.dropped.first_seq_no, Some(first));
        }
        apply(home.path(), &planned).unwrap();
        let stays = planned.kept.first_seq_no.unwrap();
        assert_eq!(planned.dropped.last_seq_no.unwrap_or(first - 1) + 1, stays);
        assert_eq!(held(&home), (stays, last, planned.kept.records));
        assert_eq!(planned.dropped.records + planned.kept.records, before.len() as u64);
        assert_run(home.path(), last);
        assert!(plan(home.path(), to).unwrap().changes_nothing(), "it is done when it returns");
        // The next writer has nothing to recover, and keeps the sizes without being told.
        let mut writer = home.open(&options);
        assert!(writer.open_report().clean);
        assert_eq!(writer.options().ring_size, ring_size);
        writer.append_payloads(&payloads(last + 1..=last + 9)).unwrap();
        writer.close().unwrap();
        assert_run(home.path(), last + 9);
    }
}

#[test]
fn pages_of_another_length_stay_until_their_turn_comes() {
    let (home, options, mut last) = ring_of_12();
    let to = RingGeometry { ring_size: 20, page_len: 64 << 10, index_capacity: 32 };
    let planned = plan(home.path(), to).unwrap();
    assert_eq!((planned.dropped.pages, planned.kept.pages), (0, 12));
    assert_eq!(planned.disk_bytes_max(), to.disk_bytes());
    let smaller = RingGeometry { ring_size: 20, page_len: 16 << 10, index_capacity: 16 };
    let peak = plan(home.path(), smaller).unwrap();
    assert_eq!(peak.disk_bytes_max(), (12 * 32 + 10 * 16) << 10, "12 long pages stay at first");
    let before = held(&home);
    apply(home.path(), &planned).unwrap();
    assert_eq!(held(&home), before);
    let mut writer = home.open(&options);
    let start = last;
    while writer.committed().page() < 40 {
        last += 1;
        writer.append_payloads(&[payload(last)]).unwrap();
    }
    writer.close().unwrap();
    assert!(last > start);
    assert_run(home.path(), last);
    let longer =
        home.page_ids().iter().all(|id| std::fs::metadata(home.page(*id)).unwrap().len() == 64 << 10);
    assert!(longer, "the short pages have left the ring");
}

/// A page may be gone although the plan said that it stays, if a writer came in between.
#[test]
fn a_ring_that_has_changed_since_the_plan_is_left_alone() {
    let (home, options, last) = ring_of_12();
    let planned = plan(home.path(), RingGeometry { ring_size: 3, ..sizes(&options) }).unwrap();
    let mut writer = home.open(&options);
    let held = plan(home.path(), planned.to).unwrap_err();
    assert!(matches!(held, ResizeError::Open(OpenError::Locked { .. })), "{held}");
    let held = apply(home.path(), &planned).unwrap_err();
    assert!(matches!(held, ResizeError::Open(OpenError::Locked { .. })), "{held}");
    writer.append_payloads(&payloads(last + 1..=last + 1)).unwrap();
    writer.close().unwrap();
    let content = home.content();
    let error = apply(home.path(), &planned).unwrap_err();
    assert!(matches!(error, ResizeError::Changed(_)), "{error}");
    assert!(home.content() == content, "nothing may be modified");
}

#[test]
fn what_is_no_ring_is_not_made_one() {
    let home = Home::new();
    let to = sizes(&small(Io::Pwrite, Durability::Sync));
    for path in [home.path().to_owned(), home.path().join("missing")] {
        let error = plan(&path, to).unwrap_err();
        assert!(matches!(error, ResizeError::NotARing(_)), "{error}");
    }
    assert!(home.content().is_empty());
    let (home, options, _) = ring_of_12();
    let error = plan(home.path(), RingGeometry { page_len: 12345, ..sizes(&options) }).unwrap_err();
    assert!(matches!(error, ResizeError::Open(OpenError::Options { .. })), "{error}");
}

/// The sizes are durable first. Whoever opens the ring then finishes what was begun.
#[test]
fn what_could_not_be_dropped_is_told_and_dropped_later() {
    let (home, options, last) = ring_of_12();
    let to = RingGeometry { ring_size: 3, ..sizes(&options) };
    let planned = plan(home.path(), to).unwrap();
    let disk = FaultyDisk::open(home.path());
    disk.faults.trim.store(libc::EIO as u64, Ordering::Relaxed);
    let dir = Directory::open(home.path()).unwrap();
    let error = apply_on(home.path(), Arc::new(disk), &dir, &planned).unwrap_err();
    assert!(matches!(error, ResizeError::Unfinished(_)), "{error}");
    assert_run(home.path(), last);
    let rest = plan(home.path(), to).unwrap();
    assert_eq!((rest.from, rest.dropped), (to, planned.dropped));
    apply(home.path(), &rest).unwrap();
    assert_eq!(held(&home).0, planned.kept.first_seq_no.unwrap());
}

/// A power cut after the command has returned must not bring the names of pages back.
#[test]
fn the_removal_of_pages_is_durable_when_it_returns() {
    let (home, options, _) = ring_of_12();
    let planned = plan(home.path(), RingGeometry { ring_size: 3, ..sizes(&options) }).unwrap();
    let disk = FaultyDisk::open(home.path());
    let faults = Arc::clone(&disk.faults);
    let dir = Directory::open(home.path()).unwrap();
    apply_on(home.path(), Arc::new(disk), &dir, &planned).unwrap();
    let log = faults.log();
    let trimmed = log.iter().rposition(|entry| entry.contains("trim-")).unwrap();
    assert!(log[trimmed..].iter().any(|entry| entry == "sync_dir"), "{log:?}");
}

/// The mode of a ring that others read, and a segment in a place of its own, are what they were.
#[test]
fn who_may_read_the_ring_and_where_its_segment_is_stay() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let segment = home.path().join("segment");
    let options = WriterOptions {
        mode: Some(0o644),
        control: crate::ControlPlace::Path(segment.clone()),
        ..small(Io::Pwrite, Durability::Sync)
    };
    home.open(&options).close().unwrap();
    let planned = plan(home.path(), RingGeometry { ring_size: 9, ..sizes(&options) }).unwrap();
    apply(home.path(), &planned).unwrap();
    let link = std::fs::read_to_string(home.path().join(names::LINK)).unwrap();
    assert!(link.contains(segment.to_str().unwrap()), "{link}");
    for file in [&segment, &home.path().join(names::META), &home.path().join(names::LINK)] {
        let mode = std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o644, "{}", file.display());
    }
}

/// The plan looked at the lock file alone: with that gone it said what a change would do under a writer.
#[test]
fn a_writer_whose_lock_file_is_gone_is_noticed_before_anybody_is_asked() {
    let (home, options, _) = ring_of_12();
    let _writer = home.open(&options);
    std::fs::remove_file(home.path().join(names::LOCK)).unwrap();
    let error = plan(home.path(), RingGeometry { ring_size: 3, ..sizes(&options) }).unwrap_err();
    assert!(matches!(error, ResizeError::Open(OpenError::Locked { .. })), "{error}");
}
