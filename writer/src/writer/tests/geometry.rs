//! Ring size, page length and index capacity belong to the ring; numbers and positions belong to the writer.

use super::*;

/// An append with default options shrank a ring of 330 pages to 8 and dropped 194,012 records without a word.
#[test]
fn other_options_change_nothing_unless_a_change_is_asked_for() {
    for options in regimes() {
        let home = Home::new();
        let ring = WriterOptions { ring_size: 12, ..options.clone() };
        let mut writer = home.open(&ring);
        let mut last = 0;
        while writer.committed().page() < 12 {
            last += 1;
            writer.append_payloads(&[payload(last)]).unwrap();
        }
        writer.close().unwrap();

        let other = WriterOptions { ring_size: 2, page_len: 64 << 10, index_capacity: 32, ..options.clone() };
        let mut writer = home.open(&other);
        assert!(writer.open_report().geometry_kept);
        let kept = writer.options();
        assert_eq!((kept.ring_size, kept.page_len, kept.index_capacity), (12, ring.page_len, 16));
        writer.append_payloads(&payloads(last + 1..=last + 5)).unwrap();
        writer.close().unwrap();
        assert_eq!(read_all(home.path()).0[0].0, 1, "nothing has gone");

        let grown = home.open(&WriterOptions { geometry_change: GeometryChange::Grow, ..other.clone() });
        assert_eq!((grown.options().ring_size, grown.options().page_len), (12, 64 << 10));
        assert!(grown.open_report().geometry_kept, "the ring size is not what was asked for");
        drop(grown);

        let applied = WriterOptions { geometry_change: GeometryChange::Apply, ..other };
        let mut writer = home.open(&applied);
        assert!(!writer.open_report().geometry_kept);
        for start in (last + 6..=last + 405).step_by(10) {
            writer.append_payloads(&payloads(start..=start + 9)).unwrap();
        }
        writer.close().unwrap();
        assert!(home.page_ids().len() <= 4);
        assert_run(home.path(), last + 405);
        let writer = home.open(&ring);
        assert_eq!(writer.options().ring_size, 2, "a change stays");
    }
}

/// The empty last page of a ring with short pages refused records that longer pages take, for as long as the
/// writer lived.
#[test]
fn an_empty_page_does_not_limit_records_when_pages_get_longer() {
    for options in regimes() {
        let home = Home::new();
        drop(home.open(&options));
        let longer =
            WriterOptions { page_len: 256 << 10, geometry_change: GeometryChange::Apply, ..options.clone() };
        let mut writer = home.open(&longer);
        writer.append_payloads(&[vec![1; 100_000]]).unwrap();
        writer.close().unwrap();
        assert_eq!(read_all(home.path()).0, [(1, vec![1; 100_000])]);
    }
}

/// The writer took its positions from shared memory into record headers, into the metadata, and into the
/// decision whether to flush. One stray store there made an undamaged ring unopenable.
#[test]
fn whatever_stands_in_shared_memory_does_not_get_into_the_ring() {
    for options in regimes() {
        for word in [0, 1, 1 << 28, 7 << 28 | 99, u64::MAX] {
            let home = Home::new();
            let mut writer = home.open(&options);
            writer.append_payloads(&payloads(1..=40)).unwrap();
            let stray = crate::Position::from_word(word);
            let core = writer.core();
            let publisher = core.control.publisher();
            publisher.commit(stray, word, word);
            publisher.set_durable(stray);
            publisher.set_oldest_page(word);
            writer.append_payloads(&payloads(41..=41)).unwrap();
            publisher.commit(stray, word, word);
            publisher.set_durable(stray);
            writer.sync().unwrap();
            assert_eq!(writer.core.durable(), writer.committed());
            // Crashed, and closed.
            let image = Home::new();
            home.copy_to(&image);
            publisher.commit(stray, word, word);
            publisher.set_durable(stray);
            writer.close().unwrap();
            for home in [&image, &home] {
                let mut writer = home.open(&options);
                assert_eq!(
                    (writer.tip(), &writer.open_report().cut),
                    (Some(41), &None),
                    "{options:?} {word:#x}"
                );
                writer.append_payloads(&payloads(42..=60)).unwrap();
                assert_run(home.path(), 60);
            }
        }
    }
}

/// A clock that was set ahead and back pins the time of every later record, over restarts, and nothing said
/// so.
#[test]
fn times_that_are_ahead_of_the_clock_are_told() {
    let options = small(Io::Pwrite, LAZY);
    let home = Home::new();
    let mut writer = home.open(&options);
    writer.append_payloads(&payloads(1..=1)).unwrap();
    assert_eq!(counter(&writer, Counter::TimeAheadNs), 0);
    let hour = std::time::Duration::from_secs(3600).as_nanos() as u64;
    // What a clock that was an hour ahead for a moment leaves.
    let ahead = writer.stamp.time_ns + hour;
    writer.stamp.time_ns = ahead;
    for seq_no in 2..=3 {
        writer.append_payloads(&payloads(seq_no..=seq_no)).unwrap();
        let told = counter(&writer, Counter::TimeAheadNs);
        assert!(told > hour / 2 && told <= hour, "{told}");
        assert_eq!(writer.stamp.time_ns, ahead, "times never fall");
    }
    writer.close().unwrap();
    let mut writer = home.open(&options);
    writer.append_payloads(&payloads(4..=4)).unwrap();
    assert!(counter(&writer, Counter::TimeAheadNs) > hour / 2, "also in the next life");
    writer.stamp.time_ns -= hour;
    writer.append_payloads(&payloads(5..=5)).unwrap();
    assert_eq!(counter(&writer, Counter::TimeAheadNs), 0, "the clock has caught up");
}

/// With metadata from a backup a start took a number that an earlier one had had.
#[test]
fn a_start_has_a_number_above_all_that_are_named_anywhere() {
    let options = small(Io::Pwrite, Durability::Sync);
    let home = Home::new();
    let meta = home.path().join("ring.meta");
    home.open(&options).append_payloads(&payloads(1..=3)).unwrap();
    let backup = std::fs::read(&meta).unwrap();
    for start in [4, 7, 10] {
        home.open(&options).append_payloads(&payloads(start..=start + 2)).unwrap();
    }
    std::fs::write(&meta, &backup).unwrap();
    let mut writer = home.open(&options);
    assert_eq!((writer.open_report().epoch, writer.tip()), (5, Some(12)));
    writer.append_payloads(&payloads(13..=40)).unwrap();
    assert_run(home.path(), 40);
    drop(writer);

    // The last one there can be.
    let mut metadata =
        crate::metafile::MetaFile::open(&crate::disk::OsDisk::open(home.path()).unwrap()).unwrap().unwrap();
    metadata.update(|meta| meta.epoch = u32::MAX).unwrap();
    let before = home.content();
    let error = Writer::open(home.path(), options).unwrap_err();
    assert!(matches!(error, OpenError::EpochsExhausted), "{error}");
    assert!(home.content() == before, "nothing may be modified");
}
