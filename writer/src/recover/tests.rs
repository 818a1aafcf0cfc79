//! What recovery makes of what a crash can leave. Each case starts from the files as they were while a writer
//! ran: a copy taken behind its back is what a crash of the machine leaves if nothing was lost, and damage is
//! done to it.

use crate::disk::faulty::FaultyDisk;
use crate::disk::simulated::{Faults, Rng, SimDisk, State, Style, Styled};
use crate::testing::*;
use crate::{ControlPlace, Durability, Io, OpenError, Writer, WriterOptions};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waldo_shm_protocol::limits::RECORD_HEADER_LEN;
use waldo_shm_protocol::page::PageHeader;
use waldo_shm_protocol::scan::{PageScan, PayloadCheck, Step};
use waldo_shm_protocol::segment::STATUS_OFFSET;

mod mending;
mod noting;

/// The last one is short, so that it can be torn at each of its bytes.
const RECORDS: u64 = 61;

fn options(io: Io) -> WriterOptions {
    small(io, LAZY)
}

/// The files of a ring that nobody closed, with nothing known to be durable beyond record `durable`.
fn crashed(io: Io, durable: u64) -> Home {
    let live = Home::new();
    let mut writer = live.open(&options(io));
    // Footers are there, as they may well be after a crash.
    if durable > 0 {
        writer.append_payloads(&payloads(1..=durable)).unwrap();
        writer.sync().unwrap();
    }
    for start in durable + 1..=RECORDS {
        writer.append_payloads(&payloads(start..=start)).unwrap();
    }
    writer.settle();
    // A page that gets its name while the files are copied is in the copy under neither.
    await_ready(&live, &writer);
    let image = Home::new();
    live.copy_to(&image);
    image
}

/// Waits until the page behind the one that the log ends in has its name. Returns its number.
fn await_ready(home: &Home, writer: &Writer) -> u64 {
    let ready = writer.committed().page() + 1;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !home.page(ready).exists() {
        assert!(Instant::now() < deadline, "no page is made ready");
        std::thread::yield_now();
    }
    ready
}

/// Page, offset and size of every record.
fn places(home: &Path) -> Vec<(u64, u64, usize)> {
    let mut places = Vec::new();
    for id in 1.. {
        let Ok(bytes) = fs::read(home.join(waldo_shm_protocol::names::page(id))) else { break };
        let header = PageHeader::check_any(&bytes, bytes.len() as u64).unwrap();
        let mut scan = PageScan::new(&header, None, 0, PayloadCheck::Verify);
        while let Step::Record { offset, record } = scan.step(&bytes, 0) {
            places.push((id, offset, record.size()));
        }
    }
    places
}

fn overwrite(home: &Home, page: u64, offset: u64, bytes: &[u8]) {
    let mut content = fs::read(home.page(page)).unwrap();
    content[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
    fs::write(home.page(page), content).unwrap();
}

fn copy(home: &Home) -> Home {
    let copy = Home::new();
    home.copy_to(&copy);
    copy
}

/// Opens, checks the tip, appends, and checks that what is there then is right; also when that is done twice.
fn recovers_to(io: Io, home: &Home, tip: u64) -> crate::OpenReport {
    let mut writer = home.open(&options(io));
    let report = writer.open_report().clone();
    assert_eq!(writer.tip().unwrap_or(0), tip, "{report:?}");
    if tip > 0 {
        assert_run(home.path(), tip);
    }
    // A crash right after recovery comes to the same.
    let again = copy(home);
    let second = again.open(&options(io));
    assert_eq!((second.tip().unwrap_or(0), second.open_report().cut.clone()), (tip, None));
    drop(second);
    writer.append_payloads(&payloads(tip + 1..=tip + 30)).unwrap();
    assert_run(home.path(), tip + 30);
    report
}

#[test]
fn an_unharmed_crash_loses_nothing() {
    for io in Io::ALL {
        let report = recovers_to(io, &crashed(io, 0), RECORDS);
        assert!(!report.clean && report.cut.is_none() && report.epoch == 2, "{report:?}");
    }
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_exactly() {
    for io in Io::ALL {
        let image = crashed(io, 10);
        let (page, offset, size) = *places(image.path()).last().unwrap();
        let last_payload = payload(RECORDS).len();
        for kept in 0..RECORD_HEADER_LEN + last_payload {
            for filler in [0x00, 0xa5] {
                let torn = copy(&image);
                overwrite(&torn, page, offset + kept as u64, &vec![filler; size - kept]);
                // Some bytes may happen to be what they should be.
                if fs::read(torn.page(page)).unwrap() == fs::read(image.page(page)).unwrap() {
                    continue;
                }
                let intact = fs::read(torn.page(page)).unwrap()[offset as usize..]
                    [..RECORD_HEADER_LEN + last_payload]
                    == fs::read(image.page(page)).unwrap()[offset as usize..]
                        [..RECORD_HEADER_LEN + last_payload];
                let writer = torn.open(&options(io));
                let expected = if intact { RECORDS } else { RECORDS - 1 };
                assert_eq!(writer.tip(), Some(expected), "torn after {kept} bytes");
                if kept >= RECORD_HEADER_LEN && !intact {
                    let cut = writer.open_report().cut.clone().expect("a torn record is reported");
                    assert_eq!((cut.page, cut.offset, cut.after_seq_no), (page, offset, RECORDS - 1));
                }
            }
        }
    }
}

#[test]
fn what_was_written_out_of_order_is_cut_before_the_hole_and_never_comes_back() {
    for io in Io::ALL {
        let image = crashed(io, 10);
        let all = places(image.path());
        let lost = all.len() - 8;
        let (page, offset, size) = all[lost];
        overwrite(&image, page, offset, &vec![0; size]);
        let report = recovers_to(io, &image, lost as u64);
        let cut = report.cut.expect("reported");
        assert_eq!((cut.page, cut.offset, cut.after_seq_no), (page, offset, lost as u64));
        // `recovers_to` has appended records of the same sizes: old ones would fit behind them exactly.
    }
}

#[test]
fn a_hole_before_a_page_boundary_removes_the_pages_behind_it() {
    for io in Io::ALL {
        let image = crashed(io, 3);
        let all = places(image.path());
        let last_of_first = all.iter().rposition(|place| place.0 == 1).unwrap();
        let (page, offset, size) = all[last_of_first - 2];
        overwrite(&image, page, offset, &vec![0; size]);
        let report = recovers_to(io, &image, last_of_first as u64 - 2);
        assert!(report.cut.unwrap().pages_removed >= 1);
    }
}

#[test]
fn damage_below_the_durable_position_is_refused_and_nothing_is_touched() {
    for io in Io::ALL {
        let image = crashed(io, 40);
        for (number, (page, offset, size)) in places(image.path()).into_iter().enumerate().take(39) {
            // Sealed pages are believed by their footers; `verify` reads them.
            if page != 1 && places(image.path()).last().unwrap().0 != page {
                continue;
            }
            for at in [0, 7, 20, 46, size - 8] {
                let damaged = copy(&image);
                // The footers go, so that every page is read.
                for id in damaged.page_ids() {
                    let len = fs::metadata(damaged.page(id)).unwrap().len();
                    overwrite(&damaged, id, len - 128, &[0; 128]);
                }
                let mut byte = [fs::read(damaged.page(page)).unwrap()[offset as usize + at]];
                if at == size - 8 && !payload(number as u64 + 1).len().is_multiple_of(8) {
                    continue; // padding is not covered
                }
                byte[0] ^= 0x10;
                overwrite(&damaged, page, offset + at as u64, &byte);
                let before = damaged.content();
                match Writer::open(damaged.path(), options(io)) {
                    Err(OpenError::Corrupt { path, offset: told, after_seq_no, .. }) => {
                        assert_eq!(path, damaged.page(page));
                        assert_eq!((told, after_seq_no), (offset, number as u64));
                    }
                    other => panic!("record {}, byte {at}: {other:?}", number + 1),
                }
                assert!(damaged.content() == before, "nothing may be modified");
            }
        }
    }
}

#[test]
fn a_lost_seal_or_footer_is_made_again() {
    for io in Io::ALL {
        let image = crashed(io, 3);
        let all = places(image.path());
        let boundary = all.iter().rposition(|place| place.0 == 1).unwrap();
        let end = all[boundary].1 + all[boundary].2 as u64;
        let len = fs::metadata(image.page(1)).unwrap().len();
        for (at, bytes) in [(end, vec![0; 48]), (len - 128, vec![0; 128]), (len - 100, vec![0xff; 4])] {
            let harmed = copy(&image);
            overwrite(&harmed, 1, at, &bytes);
            recovers_to(io, &harmed, RECORDS);
        }
    }
}

#[test]
fn missing_foreign_and_impossible_files_are_refused_by_name() {
    for io in Io::ALL {
        let image = crashed(io, RECORDS);
        assert!(image.page_ids().len() >= 3, "the test needs three pages");
        type Harm<'a> = &'a dyn Fn(&Home);
        let cases: [(&str, Harm<'_>); 8] = [
            ("page-0000000000000002 is missing", &|home| fs::remove_file(home.page(2)).unwrap()),
            ("page-0000000000000001", &|home| overwrite(home, 1, 0, b"not a page")),
            ("checksum", &|home| overwrite(home, 1, 70, &[0xee])),
            ("another ring", &|home| {
                let other = crashed(io, 0);
                fs::copy(other.page(1), home.page(1)).unwrap();
            }),
            ("bytes long", &|home| {
                fs::OpenOptions::new().write(true).open(home.page(1)).unwrap().set_len(40_000).unwrap();
            }),
            ("no ring.meta", &|home| fs::remove_file(home.path().join("ring.meta")).unwrap()),
            ("ring.meta", &|home| fs::write(home.path().join("ring.meta"), [7; 8192]).unwrap()),
            ("ring.meta", &|home| fs::write(home.path().join("ring.meta"), b"").unwrap()),
        ];
        for (word, harm) in cases {
            let harmed = copy(&image);
            harm(&harmed);
            let before = harmed.content();
            let error = Writer::open(harmed.path(), options(io)).expect_err(word);
            assert!(error.to_string().contains(word), "{word}: {error}");
            assert!(harmed.content() == before, "{word}: nothing may be modified");
        }
    }
}

#[test]
fn pages_that_disappeared_at_the_end_are_noticed_if_they_had_been_durable() {
    for io in Io::ALL {
        let image = crashed(io, RECORDS);
        let newest = places(image.path()).last().unwrap().0;
        for id in image.page_ids().into_iter().filter(|id| *id >= newest) {
            fs::remove_file(image.page(id)).unwrap();
        }
        // The record that told was in the page that is gone; the metadata of a clean close tells as well.
        let closed = Home::new();
        let mut writer = closed.open(&options(io));
        writer.append_payloads(&payloads(1..=RECORDS)).unwrap();
        writer.close().unwrap();
        let newest = places(closed.path()).last().unwrap().0;
        for id in closed.page_ids().into_iter().filter(|id| *id >= newest) {
            fs::remove_file(closed.page(id)).unwrap();
        }
        let error = Writer::open(closed.path(), options(io)).unwrap_err();
        assert!(matches!(error, OpenError::MissingPage { .. } | OpenError::Corrupt { .. }), "{error}");
    }
}

#[test]
fn what_was_never_part_of_the_log_is_swept_up() {
    for io in Io::ALL {
        let image = crashed(io, 10);
        let next = image.page_ids().last().unwrap() + 1;
        fs::write(image.path().join("scratch-fresh-0000000000000009"), b"half made").unwrap();
        fs::write(image.path().join("scratch-trim-0000000000000001"), b"trimmed").unwrap();
        // Of a writer that was killed just before it had told readers of its control segment.
        fs::write(image.path().join("scratch-link"), b"").unwrap();
        // Given its name, but the content was lost.
        fs::write(image.page(next), vec![0; 32 << 10]).unwrap();
        recovers_to(io, &image, RECORDS);
        assert!(!image.path().join("scratch-fresh-0000000000000009").exists());
    }
}

/// A trimmed page may come back under its name in a power cut. It must then be the page that it was: the
/// writer changes the file only once the name is durably gone. So what looks like a trimmed page that was
/// used again is damage, and was taken for a left-over once: two exchanged pages were both deleted without a
/// word.
#[test]
fn a_trim_that_was_half_done_is_finished_and_no_page_is_taken_for_another() {
    for io in Io::ALL {
        let live = Home::new();
        // One page leaves at each rotation.
        let mut writer = live.open(&WriterOptions { prepare_ahead: false, ..options(io) });
        for start in (1..=200).step_by(10) {
            writer.append_payloads(&payloads(start..=start + 9)).unwrap();
        }
        let earlier = copy(&live);
        let oldest_then = earlier.page_ids()[0];
        let mut next = 200;
        while live.page(oldest_then).exists() {
            next += 10;
            assert!(next < 2000, "never trimmed");
            writer.append_payloads(&payloads(next - 9..=next)).unwrap();
            writer.settle();
        }
        let image = copy(&live);
        assert_eq!(image.page_ids()[0], oldest_then + 1);
        let (spoilt, exchanged) = (copy(&image), copy(&image));
        fs::copy(earlier.page(oldest_then), image.page(oldest_then)).unwrap();
        let writer = image.open(&options(io));
        assert_eq!(writer.tip(), Some(next));
        drop(writer);

        let mut content = fs::read(earlier.page(oldest_then)).unwrap();
        content[..128].copy_from_slice(&PageHeader::retired_bytes());
        fs::write(spoilt.page(oldest_then), content).unwrap();
        let error = Writer::open(spoilt.path(), options(io)).expect_err("a page that was durable is dead");
        assert!(matches!(error, OpenError::Page { .. }), "{error}");

        let (a, b) = (exchanged.page(oldest_then + 1), exchanged.page(oldest_then + 2));
        let content = fs::read(&a).unwrap();
        fs::copy(&b, &a).unwrap();
        fs::write(&b, content).unwrap();
        let before = exchanged.content();
        let error = Writer::open(exchanged.path(), options(io)).expect_err("two pages are exchanged");
        assert!(matches!(error, OpenError::Page { .. }), "{error}");
        assert!(exchanged.content() == before, "nothing may be modified");
    }
}

#[test]
fn one_slot_of_the_metadata_is_enough() {
    for io in Io::ALL {
        let image = crashed(io, 10);
        for slot in [0, 4096] {
            let harmed = copy(&image);
            let path = harmed.path().join("ring.meta");
            let mut content = fs::read(&path).unwrap();
            content[slot..slot + 512].fill(0xdb);
            fs::write(&path, content).unwrap();
            recovers_to(io, &harmed, RECORDS);
        }
    }
}

#[test]
fn a_clean_close_needs_no_scan_and_keeps_the_page_that_is_ready() {
    for io in Io::ALL {
        let home = Home::new();
        let mut writer = home.open(&small(io, Durability::Sync));
        writer.append_payloads(&payloads(1..=20)).unwrap();
        // One that is closed before has none, and then the next one makes it.
        let ready = await_ready(&home, &writer);
        writer.close().unwrap();
        let ids = home.page_ids();
        assert_eq!(ids.last(), Some(&ready));
        let writer = home.open(&small(io, Durability::Sync));
        assert!(writer.open_report().clean);
        assert_eq!(home.page_ids(), ids);
        drop(writer);
        // Damage that is met all the same is not taken for the end of the log.
        let (page, offset, _) = places(home.path())[5];
        let len = fs::metadata(home.page(page)).unwrap().len();
        overwrite(&home, page, len - 128, &[0; 128]);
        overwrite(&home, page, offset + 16, &[0xff]);
        assert!(matches!(Writer::open(home.path(), options(io)), Err(OpenError::Corrupt { .. })));
    }
}

/// After a flush that failed the page cache holds records that the disk does not, and calls them clean. The
/// next opening finds them there and calls them durable, so it has to write them again: a flush alone would
/// do nothing.
#[test]
fn what_a_failed_flush_left_in_the_page_cache_only_is_written_again() {
    let mut kept = 0;
    for seed in 0..40 {
        let home = Home::new();
        let place = ControlPlace::Path(home.path().join("control"));
        let options = WriterOptions { control: place, ..options(Io::Pwrite) };
        let open =
            |disk: &SimDisk| Writer::open_on(home.path(), Arc::new(disk.clone()), options.clone()).unwrap();
        let disk = SimDisk::new(State::default(), Faults::none());
        let mut writer = open(&disk);
        writer.append_payloads(&payloads(1..=10)).unwrap();
        writer.sync().unwrap();
        // In the same page, so that the flush of the page is what fails and not that of its name.
        writer.append_payloads(&payloads(11..=25)).unwrap();
        assert_eq!(writer.committed().page(), 1);
        disk.set_faults(Faults { flush: 1, rng: Rng::new(seed), ..Faults::none() });
        writer.sync().unwrap_err();
        disk.set_faults(Faults::none());
        let killed = SimDisk::new(disk.state().kill(&mut Rng::new(seed)), Faults::none());
        drop(writer);

        let writer = open(&killed);
        let tip = writer.tip().unwrap();
        let cut = killed.state().cut(&mut Styled::of_style(Rng::new(seed), Style::Oldest));
        drop(writer);
        assert_eq!(open(&SimDisk::new(cut, Faults::none())).tip(), Some(tip), "seed {seed}");
        kept += u64::from(tip > 10);
    }
    assert!(kept > 5, "{kept}");
}

/// A writer that mended the files for longer than some intervals was taken for dead, and readers went by the
/// files that it was changing.
#[test]
fn the_heart_beats_while_the_files_are_mended() {
    let image = crashed(Io::Pwrite, 10);
    let (page, offset, size) = *places(image.path()).last().unwrap();
    overwrite(&image, page, offset + RECORD_HEADER_LEN as u64, &vec![0xa5; size - RECORD_HEADER_LEN]);
    let segment = image.path().join("control");
    let place = ControlPlace::Path(segment.clone());
    let options = options(Io::Pwrite).heartbeat(Duration::from_millis(10)).control(place);
    let disk = FaultyDisk::open(image.path());
    let faults = Arc::clone(&disk.faults);
    // The mended page is flushed before anything else is done.
    faults.permit_syncs(Some(0));
    let home = image.path().to_owned();
    let opening = std::thread::spawn(move || Writer::open_on(home, Arc::new(disk), options));
    let beat = || {
        let bytes = fs::read(&segment).ok()?;
        bytes.get(STATUS_OFFSET + 16..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
    };
    let (mut beats, mut last) = (0, None);
    let deadline = Instant::now() + Duration::from_secs(20);
    while beats < 5 {
        assert!(!opening.is_finished(), "the recovery waited for no flush");
        assert!(Instant::now() < deadline, "{beats} beats while the files are mended");
        let now = beat();
        beats += u32::from(now != last);
        last = now;
        std::thread::yield_now();
    }
    faults.permit_syncs(None);
    assert!(opening.join().unwrap().unwrap().open_report().cut.is_some());
}

/// A start takes the note of the clean close before it back, before it does anything else: from then on the
/// ring is one that nobody has closed.
#[test]
fn a_start_that_was_killed_before_it_appended_anything_was_no_clean_close() {
    for io in Io::ALL {
        let home = Home::new();
        let mut writer = home.open(&options(io));
        writer.append_payloads(&payloads(1..=20)).unwrap();
        writer.close().unwrap();
        let writer = home.open(&options(io));
        assert!(writer.open_report().clean);
        let killed = copy(&home);
        drop(writer);
        let report = killed.open(&options(io)).open_report().clone();
        assert!(!report.clean && report.cut.is_none() && report.tip == Some(20), "{report:?}");
        let closed = copy(&home);
        assert!(closed.open(&options(io)).open_report().clean);
    }
}
