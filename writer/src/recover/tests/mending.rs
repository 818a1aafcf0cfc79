//! What an opening changes in the files, and what it leaves as it is.

use super::*;
use std::sync::atomic::Ordering;
use waldo_shm_protocol::page::{PageFooter, PageGeometry};
use waldo_shm_protocol::record::{Record, RecordNumbers, Stamp};
use waldo_shm_protocol::{PageSeed, Position, payload_hash};
use zerocopy::IntoBytes;

const FOOTER_LEN: u64 = 128;

fn open_faulty(
    home: &Home,
    prepare: impl FnOnce(&crate::disk::faulty::Faults),
) -> (Result<Writer, OpenError>, u64) {
    let disk = FaultyDisk::open(home.path());
    let faults = Arc::clone(&disk.faults);
    prepare(&faults);
    let writer = Writer::open_on(home.path(), Arc::new(disk), options(Io::Pwrite));
    let flushes = faults.syncs.load(Ordering::Relaxed);
    (writer, flushes)
}

/// Files of a writer that was killed, of many pages; `close` for one that was not.
fn many_pages(close: bool) -> (Home, u64) {
    let live = Home::new();
    let mut writer = live.open(&WriterOptions { ring_size: 8, ..options(Io::Pwrite) });
    let mut last = 0;
    while writer.committed().page() < 5 {
        last += 1;
        writer.append_payloads(&payloads(last..=last)).unwrap();
    }
    // The record that follows names as durable what is durable now.
    writer.sync().unwrap();
    writer.append_payloads(&payloads(last + 1..=last + 1)).unwrap();
    writer.settle();
    if close {
        writer.close().unwrap();
    }
    (copy(&live), last + 1)
}

/// What an opening cannot remove would stand in the way of the log later: the ring is not opened. What has
/// gone by itself is no reason for that.
#[test]
fn a_left_over_that_cannot_be_removed_keeps_the_ring_from_opening() {
    let image = crashed(Io::Pwrite, 10);
    let left_over = image.path().join("scratch-trim-0000000000000001");
    fs::write(&left_over, b"trimmed").unwrap();
    let (refused, _) = open_faulty(&image, |faults| faults.remove.store(libc::EIO as u64, Ordering::Relaxed));
    let error = refused.unwrap_err();
    assert!(matches!(&error, OpenError::Io { action: "remove", path, .. } if path.exists()), "{error}");
    let (opened, _) =
        open_faulty(&image, |faults| faults.remove.store(libc::ENOENT as u64, Ordering::Relaxed));
    assert_eq!(opened.unwrap().tip(), Some(RECORDS));
    recovers_to(Io::Pwrite, &image, RECORDS);
    assert!(!left_over.exists());
}

/// A page whose writer died before it wrote the footer gets one, so that only one opening has to walk through
/// it. The page that the log ends in gets none: it is not complete.
#[test]
fn every_complete_page_has_its_footer_after_an_opening_and_no_other() {
    let (image, last) = many_pages(false);
    let footer = |home: &Home, id: u64| {
        let bytes = fs::read(home.page(id)).unwrap();
        bytes[bytes.len() - FOOTER_LEN as usize..].to_vec()
    };
    let whole = copy(&image);
    for id in 1..=5 {
        let len = fs::metadata(image.page(id)).unwrap().len();
        overwrite(&image, id, len - FOOTER_LEN, &[0; FOOTER_LEN as usize]);
    }
    // Of one page the seal is lost as well.
    let (_, offset, size) = *places(image.path()).iter().rfind(|place| place.0 == 4).unwrap();
    let torn = copy(&image);
    overwrite(&torn, 4, offset + size as u64, &[0; RECORD_HEADER_LEN]);
    for image in [image, torn] {
        let (writer, _) = open_faulty(&image, |_| ());
        assert_eq!(writer.as_ref().unwrap().tip(), Some(last));
        for id in 1..=4 {
            let bytes = fs::read(image.page(id)).unwrap();
            let header = PageHeader::check_any(&bytes, bytes.len() as u64).unwrap();
            let told = |bytes: &[u8]| PageFooter::check(bytes, &header).unwrap().summary();
            assert_eq!(told(&footer(&image, id)), told(&footer(&whole, id)), "page {id}");
        }
        assert_eq!(footer(&image, 5), [0; FOOTER_LEN as usize]);
    }
}

/// A ring may be larger than memory. An opening writes and flushes again what may not be durable, and not the
/// rest; after a clean close nothing but the page that is ready.
#[test]
fn an_opening_flushes_no_page_that_is_durable() {
    let (killed, last) = many_pages(false);
    let (writer, flushes) = open_faulty(&killed, |_| ());
    assert_eq!(writer.unwrap().tip(), Some(last));
    assert!(flushes <= 2, "the last page is cut and written again, and no other: {flushes}");
    let (closed, last) = many_pages(true);
    // Also where a footer has to be done without.
    for len in [0, FOOTER_LEN] {
        let image = copy(&closed);
        let end = fs::metadata(image.page(5)).unwrap().len();
        overwrite(&image, 5, end - len, &vec![0; len as usize]);
        let (writer, flushes) = open_faulty(&image, |_| ());
        let writer = writer.unwrap();
        assert_eq!((writer.tip(), writer.open_report().clean), (Some(last), true));
        assert!(flushes <= 1, "{flushes}");
        assert_eq!(writer.open_report().cut, None);
    }
}

/// What is cut is the torn record and not what lies behind it, which may be gigabytes that were never
/// written.
#[test]
fn a_cut_clears_the_record_that_was_torn_and_no_more() {
    for io in Io::ALL {
        let image = crashed(io, 10);
        let (page, offset, size) = *places(image.path()).last().unwrap();
        overwrite(&image, page, offset + RECORD_HEADER_LEN as u64, &[0xee]);
        let cut = recovers_to(io, &image, RECORDS - 1).cut.expect("reported");
        assert_eq!((cut.page, cut.offset, cut.zeroed), (page, offset, size as u64));
    }
}

/// Metadata from a backup can call a log closed that went on. What stands behind that end, however far, would
/// be taken for a record once the log has grown up to it: it is cleared, and told.
#[test]
fn records_far_behind_the_end_of_a_closed_ring_are_cleared_and_told() {
    let options = WriterOptions { page_len: 8 << 20, buffer_len: 256 << 10, ..options(Io::Pwrite) };
    let home = Home::new();
    let mut writer = home.open(&options);
    writer.append_payloads(&payloads(1..=3)).unwrap();
    let end = u64::from(writer.committed().offset());
    writer.close().unwrap();
    let bytes = fs::read(home.page(1)).unwrap();
    let header = PageHeader::check_any(&bytes, bytes.len() as u64).unwrap();
    overwrite(&home, 1, options.page_len - FOOTER_LEN, &[0; FOOTER_LEN as usize]);
    let seed = PageSeed::new(&header.fields().ring_id, 1);
    let far = end + (3 << 20);
    let stamp = Stamp { time_ns: 1, durable: Position::NONE, epoch: 1 };
    let numbers = RecordNumbers { seq_no: 9, prev_seq_no: 8 };
    let record = Record::encode(seed, far as u32, numbers, 8, payload_hash(&[7; 8]), stamp);
    overwrite(&home, 1, far, record.as_bytes());
    overwrite(&home, 1, far + RECORD_HEADER_LEN as u64, &[7; 8]);

    let writer = home.open(&options);
    let cut = writer.open_report().cut.clone().expect("told");
    let zeroed = far + RECORD_HEADER_LEN as u64 + 8 - end;
    assert_eq!((writer.tip(), cut.offset, cut.zeroed), (Some(3), end, zeroed));
    let bytes = fs::read(home.page(1)).unwrap();
    assert!(
        bytes[end as usize..PageGeometry::new(8 << 20, 16).unwrap().records_limit() as usize]
            .iter()
            .all(|byte| *byte == 0)
    );
}

/// A writer that was killed between a page's seal and the next page left a page that readers know to be
/// complete: nothing is appended to it any more.
#[test]
fn a_page_that_was_sealed_stays_as_it_is() {
    for io in Io::ALL {
        let image = crashed(io, 0);
        for id in image.page_ids().into_iter().filter(|id| *id > 1) {
            fs::remove_file(image.page(id)).unwrap();
        }
        // Without the footer the page is read, and mended.
        let len = fs::metadata(image.page(1)).unwrap().len();
        overwrite(&image, 1, len - FOOTER_LEN, &[0; FOOTER_LEN as usize]);
        let all = places(image.path());
        let end = (all.last().unwrap().1 + all.last().unwrap().2 as u64) as usize + RECORD_HEADER_LEN;
        let before = fs::read(image.page(1)).unwrap()[..end].to_vec();
        let mut writer = image.open(&options(io));
        assert_eq!(writer.tip(), Some(all.len() as u64));
        writer.append_payloads(&[b""]).unwrap();
        assert_eq!(writer.committed().page(), 2);
        writer.close().unwrap();
        assert!(fs::read(image.page(1)).unwrap()[..end] == before);
    }
}

/// A power cut takes records of a page whose footer is on the disk, and the log goes on in front of it with
/// others. The footer that it gets then need not reach the disk.
#[test]
fn a_cut_takes_the_footer_that_speaks_for_what_is_cut() {
    let home = Home::new();
    let options = WriterOptions { durability: Durability::PageCache, ..options(Io::Pwrite) };
    let mut writer = home.open(&options);
    let mut last = 0;
    while writer.committed().page() < 2 {
        last += 1;
        writer.append_payloads(&payloads(last..=last)).unwrap();
    }
    writer.settle();
    let image = copy(&home);
    let footer = || fs::read(image.page(1)).unwrap()[(options.page_len - FOOTER_LEN) as usize..].to_vec();
    assert_ne!(footer(), [0; FOOTER_LEN as usize]);
    let (_, offset, size) = places(image.path())[4];
    overwrite(&image, 1, offset, &vec![0; size]);
    let writer = image.open(&options);
    assert_eq!((writer.tip(), writer.committed().page()), (Some(4), 1));
    assert_eq!(footer(), [0; FOOTER_LEN as usize]);
}
