//! Pages that leave the ring because their records are too old. The test says what time it is by the times
//! that it gives to records.

use super::*;
use crate::Log;
use crate::clock::realtime_ns;
use crate::testing::Home;
use std::time::{Duration, Instant};
use waldo_shm_protocol::names;

pub(super) const HOUR: u64 = 3_600_000_000_000;

/// Fills so many pages with records of a time; the next record begins another page.
pub(super) fn fill(writer: &mut Writer, pages: u64, time_ns: u64) {
    let last = writer.committed().page() + pages;
    while writer.committed().page() < last {
        let tip = writer.tip().unwrap_or(0);
        writer.append_at(time_ns, &[Log::new_borrowed(tip + 1, tip, &[7; 1000])]).unwrap();
    }
}

pub(super) fn oldest(home: &Home) -> u64 {
    home.names().iter().filter_map(|name| names::parse_page(name)).min().unwrap()
}

pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Four pages of an old time are complete, and a record of that time is in the fifth.
fn old_pages(home: &Home, options: WriterOptions) -> Writer {
    let (mut writer, _) = faulty_with(home, options);
    fill(&mut writer, 4, realtime_ns() - 3 * HOUR);
    writer
}

fn kept_for_an_hour(options: WriterOptions) -> WriterOptions {
    WriterOptions { ring_size: 20, keep_for: Some(Duration::from_secs(3600)), ..options }
}

#[test]
fn what_is_too_old_leaves_and_what_is_not_stays_though_the_ring_has_room() {
    for options in regimes() {
        let home = Home::new();
        let mut writer = old_pages(&home, kept_for_an_hour(options.clone()));
        if options.durability != Durability::Sync {
            assert_eq!(counter(&writer, Counter::ExpiredPages), 0, "nothing behind them is durable");
            assert_eq!(oldest(&home), 1);
        }
        writer.sync().unwrap();
        fill(&mut writer, 3, realtime_ns());
        until("the four old pages have gone", || counter(&writer, Counter::ExpiredPages) == 4);
        fill(&mut writer, 3, realtime_ns());
        assert_eq!((oldest(&home), counter(&writer, Counter::TrimmedPages)), (5, 4), "{options:?}");
        assert_eq!(counter(&writer, Counter::FullDiskTrims), 0);
        writer.close().unwrap();
    }
}

/// However old: it is what the log goes on in.
#[test]
fn the_page_that_the_log_ends_in_stays_and_an_opening_looks_at_once() {
    let home = Home::new();
    let options = WriterOptions { ring_size: 20, ..small(Io::Pwrite, Durability::Sync) };
    let writer = old_pages(&home, options.clone());
    let tip = writer.tip();
    assert_eq!((oldest(&home), counter(&writer, Counter::TrimmedPages)), (1, 0), "nobody asked for that");
    writer.close().unwrap();
    let (writer, _) = faulty_with(&home, kept_for_an_hour(options.clone()));
    until("the old pages have gone", || counter(&writer, Counter::ExpiredPages) == 4);
    assert_eq!((oldest(&home), writer.tip()), (5, tip));
    writer.close().unwrap();
    let (writer, _) = faulty_with(&home, options);
    assert_eq!(writer.tip(), tip);
}

/// A ring that takes records without a pause has no time to look at anything but its rotations.
#[test]
fn each_rotation_looks_at_the_clock() {
    for prepare_ahead in [true, false] {
        let home = Home::new();
        let keep_for = Some(Duration::from_nanos(1));
        let options = WriterOptions { prepare_ahead, keep_for, ..small(Io::Pwrite, Durability::Sync) };
        let (mut writer, _) = faulty_with(&home, WriterOptions { ring_size: 1000, ..options });
        // What was too old when the ring was opened is none of these.
        until("a page has become too old", || {
            fill(&mut writer, 1, realtime_ns());
            counter(&writer, Counter::ExpiredPages) > 0
        });
        assert!(oldest(&home) > 1 && writer.committed().page() < 1000);
        writer.close().unwrap();
    }
}

/// A ring that has once been full has room again when old pages have gone: an append waits for the disk only
/// when it is full once more.
#[test]
fn what_has_room_again_since_old_pages_have_gone_does_not_wait_for_the_disk() {
    for prepare_ahead in [true, false] {
        let home = Home::new();
        let keep_for = Some(Duration::from_secs(3600));
        let options = WriterOptions { prepare_ahead, keep_for, ..small(Io::Pwrite, LAZY) };
        let (mut writer, faults) = faulty_with(&home, options);
        fill(&mut writer, 8, realtime_ns() - 3 * HOUR);
        writer.sync().unwrap();
        fill(&mut writer, 1, realtime_ns());
        writer.sync().unwrap();
        fill(&mut writer, 1, realtime_ns());
        until("the old pages have gone", || oldest(&home) == 9);
        // Pages 9 to 11 are there, and the next two can be begun.
        assert_eq!(writer.committed().page(), 11);
        let permit = Permit(Arc::clone(&faults));
        faults.permit_syncs(Some(0));
        let core = writer.core();
        let waits = || core.control.publisher().segment().counters().get(Counter::DiskWaits);
        let before = waits();
        let appending = std::thread::spawn(move || {
            fill(&mut writer, 3, realtime_ns());
            writer
        });
        until("two more pages are begun", || {
            assert!(waits() == before || core.committed().page() >= 13, "{}", core.committed());
            core.committed().page() >= 13
        });
        until("the ring is full", || waits() > before);
        assert_eq!((oldest(&home), core.committed().page()), (9, 13));
        drop(permit);
        let writer = appending.join().unwrap();
        writer.close().unwrap();
    }
}
