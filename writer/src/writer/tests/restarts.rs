//! Rings that are opened again with other wishes for what leaves them, with another size, or on a disk that
//! has become full.

use super::keep_for::{HOUR, fill, oldest, until};
use super::*;
use crate::OnFull;
use crate::clock::realtime_ns;
use crate::resize::{self, RingGeometry};
use crate::testing::Home;
use std::time::Duration;

const HOUR_LONG: Duration = Duration::from_nanos(HOUR);

/// Every durability, with pages made ahead and at the rotation. What leaves a ring does not go by the engine.
fn ways() -> Vec<WriterOptions> {
    let all = [Durability::Sync, LAZY, Durability::PageCache].map(|durability| {
        [true, false].map(|prepare_ahead| WriterOptions { prepare_ahead, ..small(Io::Pwrite, durability) })
    });
    all.concat()
}

/// Opens a ring on a disk that has no room for another page file.
fn on_full_disk(home: &Home, options: &WriterOptions) -> Result<Writer, OpenError> {
    let disk = FaultyDisk::open(home.path());
    disk.faults.files_max.store(home.page_ids().len() as u64, Ordering::Relaxed);
    Writer::open_on(home.path(), Arc::new(disk), options.clone())
}

fn append_up_to_page(writer: &mut Writer, page: u64) {
    while writer.committed().page() < page {
        let tip = writer.tip().unwrap_or(0);
        writer.append_payloads(&payloads(tip + 1..=tip + 20)).unwrap();
    }
}

/// Appends until there is no page; the records that are there then.
fn append_until_it_stops(writer: &mut Writer) -> u64 {
    loop {
        let tip = writer.tip().unwrap_or(0);
        match writer.append_payloads(&payloads(tip + 1..=tip + 20)) {
            Ok(_) => assert!(tip < 10_000),
            Err(AppendError::NoPage { tip, .. }) => return tip,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_ring_that_is_opened_on_a_full_disk_drops_its_oldest_or_stops_as_it_is_asked_to() {
    for options in ways() {
        let home = Home::new();
        let options = WriterOptions { ring_size: 8, ..options };
        let mut writer = faulty_with(&home, options.clone()).0;
        append_up_to_page(&mut writer, 5);
        writer.close().unwrap();
        // What was made ready is there, and nothing else.
        let mut writer = on_full_disk(&home, &options).unwrap();
        let tip = append_until_it_stops(&mut writer);
        assert_eq!((oldest(&home), counter(&writer, Counter::TrimmedPages)), (1, 0), "{options:?}");
        assert_run(home.path(), tip);
        drop(writer);
        let dropping = WriterOptions { on_full: OnFull::DropOldest, ..options.clone() };
        let mut writer = on_full_disk(&home, &dropping).unwrap();
        append_up_to_page(&mut writer, 20);
        assert!(counter(&writer, Counter::FullDiskTrims) > 5, "{dropping:?}");
        assert!(writer.core.pages_max() < 8);
        let tip = writer.tip();
        drop(writer);
        // It is smaller for want of room, and that ends with the writer.
        let mut writer = on_full_disk(&home, &options).unwrap();
        assert_eq!((writer.tip(), writer.core.pages_max()), (tip, 8));
        let (first, tip) = (oldest(&home), append_until_it_stops(&mut writer));
        assert_eq!(oldest(&home), first, "{options:?}");
        assert_run(home.path(), tip);
        drop(writer);
        let mut writer = faulty_with(&home, dropping.clone()).0;
        let before = counter(&writer, Counter::FullDiskTrims);
        append_up_to_page(&mut writer, 35);
        assert_eq!(counter(&writer, Counter::FullDiskTrims), before, "{dropping:?}");
        assert!(home.page_ids().len() >= 8, "{:?}", home.page_ids());
        assert_run(home.path(), writer.tip().unwrap());
        writer.close().unwrap();
    }
}

/// A power cut can take the page that the log went on in, and leave the seal of the page before.
#[test]
fn a_ring_that_lacks_its_last_page_opens_on_a_full_disk_without_its_oldest() {
    for options in ways().into_iter().filter(|options| options.durability != Durability::Sync) {
        let home = Home::new();
        let options = WriterOptions { ring_size: 8, ..options };
        let mut writer = faulty_with(&home, options.clone()).0;
        append_up_to_page(&mut writer, 6);
        writer.settle();
        let image_up_to = |last: u64| {
            let image = Home::new();
            home.copy_to(&image);
            for id in image.page_ids().into_iter().filter(|id| *id > last) {
                std::fs::remove_file(image.page(id)).unwrap();
            }
            image
        };
        let (image, short) = (image_up_to(5), image_up_to(2));
        drop(writer);
        let (first, _) = read_all(image.path());
        let last = first.last().unwrap().0;
        let error = on_full_disk(&image, &options).unwrap_err();
        assert!(matches!(&error, OpenError::Io { .. }) && error.errno() == libc::ENOSPC, "{error}");
        assert_eq!(read_all(image.path()).0, first);
        let options = WriterOptions { on_full: OnFull::DropOldest, ..options };
        on_full_disk(&short, &options).unwrap_err();
        assert_eq!(short.page_ids(), [1, 2], "that would leave no ring");
        let mut writer = on_full_disk(&image, &options).unwrap();
        assert_eq!((writer.tip(), counter(&writer, Counter::FullDiskTrims) > 0), (Some(last), true));
        // Pages 2 to 5, and the one that was made.
        assert_eq!((oldest(&image) > 1, writer.core.pages_max()), (true, 3));
        append_up_to_page(&mut writer, 20);
        assert!(image.page_ids().len() <= 5 && writer.core.pages_max() < 8);
        assert_run(image.path(), writer.tip().unwrap());
        writer.close().unwrap();
    }
}

/// Four pages of an old time, four of now, the last of them begun.
fn old_and_new(home: &Home, options: &WriterOptions) -> Writer {
    let (mut writer, _) = faulty_with(home, options.clone());
    fill(&mut writer, 4, realtime_ns() - 3 * HOUR);
    fill(&mut writer, 3, realtime_ns());
    writer.sync().unwrap();
    writer
}

/// The time belongs to the writer and not to the ring: each opening goes by its own.
#[test]
fn each_opening_keeps_what_is_as_old_as_it_was_asked_to_keep() {
    for options in ways() {
        let home = Home::new();
        let options = WriterOptions { ring_size: 20, ..options };
        let mut tip = old_and_new(&home, &options).tip();
        // Longer than the oldest record is old, and for as long as there is room.
        for keep_for in [Some(HOUR_LONG * 9), None] {
            let (mut writer, _) = faulty_with(&home, WriterOptions { keep_for, ..options.clone() });
            assert_eq!(writer.tip(), tip);
            fill(&mut writer, 1, realtime_ns());
            writer.sync().unwrap();
            fill(&mut writer, 1, realtime_ns());
            tip = writer.tip();
            writer.close().unwrap();
            assert_eq!(oldest(&home), 1, "{keep_for:?} {options:?}");
        }
        let keep_for = Some(HOUR_LONG);
        let (mut writer, _) = faulty_with(&home, WriterOptions { keep_for, ..options.clone() });
        assert_eq!(writer.tip(), tip);
        // Without a thread the next rotation looks.
        fill(&mut writer, 1, realtime_ns());
        until("the old pages have gone", || oldest(&home) == 5);
        tip = writer.tip();
        writer.close().unwrap();
        // They are gone for those too who would have kept them.
        let (writer, _) = faulty_with(&home, options.clone());
        assert_eq!((oldest(&home), writer.tip()), (5, tip), "{options:?}");
    }
}

/// A ring that is made smaller has fewer pages whatever their age, and one that is made larger drops what is
/// too old all the same.
#[test]
fn a_ring_of_another_size_drops_what_is_too_old_and_what_is_too_much() {
    for options in ways() {
        for (ring_size, keep_for, first) in [
            (20, Some(HOUR_LONG), 5),
            (20, Some(HOUR_LONG * 9), 1),
            // Pages 7 and 8, and the one that is begun now.
            (3, Some(HOUR_LONG * 9), 7),
            (3, Some(HOUR_LONG), 7),
            (5, Some(HOUR_LONG), 5),
        ] {
            let home = Home::new();
            let options = WriterOptions { ring_size: 10, ..options.clone() };
            let tip = old_and_new(&home, &options).tip();
            let change = GeometryChange::Apply;
            let options = WriterOptions { ring_size, keep_for, geometry_change: change, ..options };
            let (mut writer, _) = faulty_with(&home, options.clone());
            assert_eq!(writer.tip(), tip);
            fill(&mut writer, 1, realtime_ns());
            writer.sync().unwrap();
            // Without a thread a page goes when the next one is begun.
            let last = if options.prepare_ahead { 9 } else { 10 };
            fill(&mut writer, last - 9, realtime_ns());
            until("the oldest has gone", || oldest(&home) >= first);
            assert_eq!((oldest(&home), writer.committed().page()), (first, last), "{options:?}");
            writer.close().unwrap();
            assert_eq!(*home.page_ids().first().unwrap(), first);
        }
    }
}

/// Changing the size drops what the plan says, and goes by no writer's time.
#[test]
fn a_resize_drops_nothing_for_its_age() {
    let home = Home::new();
    let options = WriterOptions { ring_size: 20, ..small(Io::Pwrite, Durability::Sync) };
    let tip = old_and_new(&home, &options).tip();
    for (ring_size, first) in [(30, 1), (7, 2)] {
        let to =
            RingGeometry { ring_size, page_len: options.page_len, index_capacity: options.index_capacity };
        let plan = resize::plan(home.path(), to).unwrap();
        resize::apply(home.path(), &plan).unwrap();
        assert_eq!((oldest(&home), plan.dropped.pages), (first, first - 1));
    }
    let keep_for = Some(HOUR_LONG);
    let (writer, _) = faulty_with(&home, WriterOptions { keep_for, ring_size: 7, ..options });
    until("the old pages have gone", || oldest(&home) == 5);
    assert_eq!(writer.tip(), tip);
}
