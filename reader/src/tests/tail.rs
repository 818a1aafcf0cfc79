//! Reading what a sleeping reader is woken for: as a copy, or in place.

use super::sleeping::resident;
use crate::batch_storage::BatchStorage;
use crate::testing::{Forge, drain, numbers};
use crate::{Batch, Cursor, ReadError, Reader, ReaderOptions, Ring, WaitStrategy, Wakeup};
use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

const PAGE: u64 = 65536;

/// A ring whose writer makes each append durable.
fn flushing(page_len: u64, ring_size: u32) -> Forge {
    let mut forge = Forge::live(page_len, ring_size);
    forge.flushes = true;
    forge
}

fn attach(forge: &Forge, copying: bool) -> Ring {
    let ring = forge.attach();
    ring.inner.pages.set_read_without_lock(copying);
    ring
}

fn options() -> ReaderOptions {
    ReaderOptions { wait: WaitStrategy::Park, ..ReaderOptions::default() }
}

/// A reader that has read `n` records, and slept.
fn sleeper(forge: &mut Forge, copying: bool, n: u64) -> Reader {
    forge.append_n(n);
    let mut reader = attach(forge, copying).reader_with(Cursor::Oldest, options()).unwrap();
    assert_eq!(drain(&mut reader).len() as u64, n);
    sleep(&mut reader);
    reader
}

fn sleep(reader: &mut Reader) {
    assert_eq!(reader.wait(Some(Duration::from_millis(1))).unwrap(), Wakeup::TimedOut);
}

fn is_copy(batch: &Batch) -> bool {
    matches!(batch.held, BatchStorage::Copied(_))
}

/// A sleeper that has nothing of the page in its page tables.
fn unmapped(forge: &mut Forge, n: u64) -> Reader {
    let mut reader = sleeper(forge, true, n - 1);
    forge.append_n(1);
    assert!(is_copy(&reader.poll().unwrap().unwrap()));
    assert_eq!(reader.poll().unwrap().map(|batch| batch.len()), None);
    sleep(&mut reader);
    assert_eq!(descriptors(&forge.page_path(forge.position().page())), 1);
    reader
}

/// Descriptors of this process that lead, for reading, to what is or was `path`: the forged writer's is for
/// writing too. All of them have to leave the access time alone.
fn descriptors(path: &Path) -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let ours = |name: std::ffi::OsString| {
        // Other tests close theirs meanwhile.
        let target = std::fs::read_link(Path::new("/proc/self/fd").join(&name)).ok()?;
        let info = std::fs::read_to_string(Path::new("/proc/self/fdinfo").join(&name)).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?.trim();
        let flags = i32::from_str_radix(flags, 8).unwrap();
        let ours = flags & libc::O_ACCMODE == libc::O_RDONLY
            && target.to_str()?.trim_end_matches(" (deleted)") == path.to_str()?;
        assert!(!ours || flags & libc::O_NOATIME != 0);
        Some(ours)
    };
    all.filter(|entry| ours(entry.as_ref().unwrap().file_name()) == Some(true)).count()
}

#[test]
fn both_ways_give_the_same_records() {
    // Bytes of each record, and how many of them between two sleeps: nothing, a few, more than a page of
    // memory, a large one, more than is copied.
    let rounds = [(0, 1), (100, 3), (100, 40), (5000, 1), (3000, 4), (30_000, 1), (40_000, 1), (500, 100)];
    for batch_bytes in [1, 1000, 256 << 10] {
        for copying in [false, true] {
            let mut forge = flushing(PAGE, 32);
            forge.append(1, b"first");
            let options = ReaderOptions { batch_bytes, ..options() };
            let mut reader = attach(&forge, copying).reader_with(Cursor::Oldest, options).unwrap();
            let (mut seen, mut copies) = (Vec::new(), 0);
            for (n, (len, records)) in rounds.iter().cycle().take(3 * rounds.len()).enumerate() {
                while let Some(batch) = reader.poll().unwrap() {
                    batch.verify().unwrap();
                    copies += usize::from(is_copy(&batch));
                    seen.extend(
                        batch.iter().map(|r| (r.seq_no(), r.prev_seq_no(), r.time_ns(), r.data().to_vec())),
                    );
                }
                sleep(&mut reader);
                for _ in 0..*records {
                    let data = vec![n as u8; *len];
                    forge.write(forge.tip() + 1 + n as u64 % 3, &data);
                }
                forge.commit();
            }
            let known: Vec<_> = forge.log.iter().map(|e| (e.seq, e.prev, e.time, e.data.clone())).collect();
            assert!(forge.position().page() > 4 && forge.oldest == 1);
            assert_eq!(seen, known[..seen.len()]);
            assert_eq!(seen.len(), known.len() - rounds[rounds.len() - 1].1);
            assert_eq!(copies > 0, copying);
        }
    }
}

#[test]
fn a_reader_that_slept_has_the_tail_in_no_page_table() {
    let mut forge = flushing(PAGE, 4);
    let mut reader = sleeper(&mut forge, true, 10);
    let path = forge.page_path(1);
    for n in 11..40 {
        forge.append_n(1);
        assert_eq!(drain(&mut reader), [n]);
        sleep(&mut reader);
        assert_eq!(resident(&path), 0, "after record {n}");
    }
    // Much at once is read in place, and given back when it has slept for little again.
    for _ in 0..100 {
        forge.write(forge.tip() + 1, &[7; 400]);
    }
    forge.commit();
    assert!(!is_copy(&reader.poll().unwrap().unwrap()));
    assert!(resident(&path) > 0);
    sleep(&mut reader);
    forge.append_n(1);
    assert_eq!(drain(&mut reader), [140]);
    sleep(&mut reader);
    assert_eq!(resident(&path), 0);
}

#[test]
fn where_reading_takes_a_lock_a_reader_maps_and_opens_nothing() {
    let mut forge = flushing(PAGE, 4);
    let mut reader = sleeper(&mut forge, false, 10);
    forge.append_n(1);
    assert!(!is_copy(&reader.poll().unwrap().unwrap()));
    sleep(&mut reader);
    assert!(resident(&forge.page_path(1)) > 0);
    assert_eq!(descriptors(&forge.page_path(1)), 0);
}

#[test]
fn where_nobody_waits_for_a_flush_a_reader_reads_in_place() {
    let mut forge = Forge::live(PAGE, 4);
    let mut reader = sleeper(&mut forge, true, 3);
    forge.append_n(1);
    assert!(!is_copy(&reader.poll().unwrap().unwrap()));
    assert_eq!(descriptors(&forge.page_path(1)), 0);
}

#[test]
fn a_reader_that_does_not_sleep_any_more_reads_in_place() {
    let mut forge = flushing(PAGE, 4);
    let mut reader = sleeper(&mut forge, true, 10);
    let mut copies = Vec::new();
    for _ in 0..5 {
        forge.append_n(1);
        copies.push(is_copy(&reader.poll().unwrap().unwrap()));
        assert!(reader.poll().unwrap().is_none());
    }
    assert_eq!(copies, [true, true, false, false, false]);
    // A stream shares its mapping.
    sleep(&mut reader);
    let mut reader = reader.into_stream().into_reader();
    forge.append_n(1);
    assert!(!is_copy(&reader.poll().unwrap().unwrap()));
}

#[test]
fn a_batch_in_use_keeps_its_bytes_and_memory_that_is_not_in_use_is_used_again() {
    let mut forge = flushing(PAGE, 4);
    let mut reader = sleeper(&mut forge, true, 10);
    let mut kept = Vec::new();
    for n in 11..20 {
        forge.append_n(1);
        let batch = reader.poll().unwrap().unwrap();
        assert!(is_copy(&batch));
        kept.push((n, batch.clone()));
        assert!(reader.poll().unwrap().is_none());
        sleep(&mut reader);
    }
    for (n, batch) in &kept {
        batch.verify().unwrap();
        assert_eq!(numbers(batch), [*n]);
        assert_eq!(batch.iter().next().unwrap().data(), format!("payload of {n}").as_bytes());
    }
    // They keep no page: neither when the reader is gone, nor when it is.
    drop(reader);
    assert_eq!((descriptors(&forge.page_path(1)), resident(&forge.page_path(1))), (0, 0));
    assert_eq!(numbers(&kept[0].1), [11]);
    let mut reader = attach(&forge, true).reader_with(Cursor::Tip, options()).unwrap();
    sleep(&mut reader);
    let mut places = Vec::new();
    for _ in 0..5 {
        forge.append_n(1);
        let batch = reader.poll().unwrap().unwrap();
        places.push(batch.iter().next().unwrap().data().as_ptr());
        drop(batch);
        assert!(reader.poll().unwrap().is_none());
        sleep(&mut reader);
    }
    assert!(places.iter().all(|place| *place == places[0]));
}

#[test]
fn damage_is_reported_alike() {
    let mut told = Vec::new();
    for copying in [false, true] {
        let mut forge = flushing(PAGE, 4);
        let mut reader = sleeper(&mut forge, copying, 10);
        forge.append_n(3);
        let victim = forge.log[11].clone();
        forge.damage(victim.page, victim.offset + 16, b"Z");
        let batch = reader.poll().unwrap().unwrap();
        assert_eq!((numbers(&batch), is_copy(&batch)), (vec![11], copying));
        for _ in 0..2 {
            match reader.poll() {
                Err(ReadError::Corrupt { page, offset, fault, seq_no, .. }) => {
                    assert_eq!((page, offset, seq_no), (victim.page, victim.offset, Some(11)));
                    told.push(fault);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(told.iter().all(|fault| *fault == told[0]), "{told:?}");
}

#[test]
fn a_file_that_ends_too_early_is_an_error_until_it_does_not() {
    let mut forge = flushing(PAGE, 4);
    let mut reader = unmapped(&mut forge, 10);
    forge.append_n(1);
    let (path, end) = (forge.page_path(1), forge.log[10].offset);
    let bytes = std::fs::read(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(end + 20).unwrap();
    for _ in 0..2 {
        match reader.poll() {
            Err(ReadError::Io { path: found, source }) => {
                assert_eq!((found, source.kind()), (path.clone(), std::io::ErrorKind::UnexpectedEof));
            }
            other => panic!("{other:?}"),
        }
    }
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(drain(&mut reader), [11]);
}

#[test]
fn nothing_beyond_the_watermark_is_taken_for_a_record() {
    let mut forge = flushing(PAGE, 4);
    let mut reader = unmapped(&mut forge, 10);
    forge.append_n(1);
    forge.write(12, b"not published");
    assert_eq!(drain(&mut reader), [11]);
    forge.commit();
    assert_eq!(drain(&mut reader), [12]);
}

#[test]
fn records_before_the_cursor_are_passed_over() {
    for copying in [false, true] {
        let mut forge = flushing(PAGE, 4);
        forge.append_n(10);
        let mut reader = attach(&forge, copying).reader_with(Cursor::After(15), options()).unwrap();
        for n in 11..=17 {
            sleep(&mut reader);
            forge.append_n(1);
            let batch = reader.poll().unwrap();
            assert_eq!(batch.as_ref().map(numbers), (n > 15).then(|| vec![n]));
            assert!(batch.iter().all(|batch| is_copy(batch) == copying));
            assert!(reader.poll().unwrap().is_none());
        }
    }
}

#[test]
fn a_checkpoint_of_a_copied_record_leads_behind_it() {
    let mut forge = flushing(PAGE, 4);
    let mut reader = unmapped(&mut forge, 10);
    forge.append_n(2);
    assert_eq!(drain(&mut reader), [11, 12]);
    let checkpoint = reader.checkpoint().unwrap();
    let mut in_place = forge.attach().reader(Cursor::After(11)).unwrap();
    assert_eq!(drain(&mut in_place), [12]);
    assert_eq!(in_place.checkpoint(), Some(checkpoint));
    forge.append_n(1);
    assert_eq!(drain(&mut forge.attach().resume(&checkpoint, options()).unwrap()), [13]);
}

#[test]
fn a_page_that_has_been_left_is_held_by_nothing() {
    let mut forge = flushing(16384, 3);
    let mut reader = unmapped(&mut forge, 10);
    while forge.position().page() < 2 {
        forge.append_n(1);
    }
    drain(&mut reader);
    assert_eq!((descriptors(&forge.page_path(1)), resident(&forge.page_path(1))), (0, 0));
    sleep(&mut reader);
    forge.append_n(1);
    drain(&mut reader);
    assert_eq!(descriptors(&forge.page_path(2)), 1);
    reader.seek(Cursor::Oldest).unwrap();
    assert_eq!(descriptors(&forge.page_path(2)), 0);
}

#[test]
fn a_reader_that_is_overtaken_in_its_sleep_finishes_its_page() {
    let mut forge = flushing(16384, 3);
    let mut reader = unmapped(&mut forge, 10);
    forge.append_n(2000);
    assert!(!forge.page_path(1).exists());
    let in_page = forge.log.iter().filter(|e| e.page == 1).count() as u64;
    let mut seen = Vec::new();
    let error = loop {
        match reader.poll() {
            Ok(batch) => seen.extend(numbers(&batch.expect("more was published"))),
            Err(error) => break error,
        }
    };
    assert_eq!(seen, (11..=in_page).collect::<Vec<_>>());
    assert!(matches!(error, ReadError::Lapped { requested, .. } if requested == in_page), "{error}");
    assert_eq!(descriptors(&forge.page_path(1)), 0);
}

#[test]
fn another_writer_is_noticed_by_who_has_nothing_mapped() {
    for replaced in [false, true] {
        for rewound in [false, true] {
            let mut forge = flushing(PAGE, 4);
            let mut reader = unmapped(&mut forge, 10);
            // The log as the next writer leaves it, in the same file or in another one under its name.
            let mut other = Forge::new(PAGE, 4);
            other.append_n(if rewound { 9 } else { 10 });
            other.epoch = 2;
            other.append_n(3);
            let bytes = std::fs::read(other.page_path(1)).unwrap();
            if replaced {
                std::fs::write(forge.home().join("scratch"), &bytes).unwrap();
                std::fs::rename(forge.home().join("scratch"), forge.page_path(1)).unwrap();
            } else {
                forge.damage(1, 4096, &bytes[4096..]);
            }
            let publisher = forge.control.as_ref().unwrap().publisher();
            publisher.set_writer(2, 1, 250_000_000);
            publisher.commit(other.position(), other.tip(), other.log.len() as u64);
            publisher.set_durable(other.position());
            if rewound {
                for _ in 0..2 {
                    assert!(matches!(reader.poll(), Err(ReadError::Rewound { seq_no: Some(10), .. })));
                }
                reader.seek(Cursor::After(9)).unwrap();
                assert_eq!(drain(&mut reader), [10, 11, 12]);
            } else {
                let batch = reader.poll().unwrap().unwrap();
                assert_eq!((numbers(&batch), is_copy(&batch)), (vec![11, 12, 13], true));
                assert!(batch.iter().all(|record| record.epoch() == 2));
            }
        }
    }
}

#[test]
fn what_was_copied_under_one_writer_is_not_handed_out_under_the_next() {
    let mut forge = flushing(PAGE, 4);
    forge.append_n(10);
    let options = ReaderOptions { batch_bytes: 1, ..options() };
    let mut reader = attach(&forge, true).reader_with(Cursor::Tip, options).unwrap();
    sleep(&mut reader);
    for _ in 0..3 {
        forge.write(forge.tip() + 1, b"from before");
    }
    forge.commit();
    let batch = reader.poll().unwrap().unwrap();
    assert_eq!((numbers(&batch), is_copy(&batch)), (vec![11], true));
    // The next writer has found only that one, and has written on behind it.
    let mut other = Forge::new(PAGE, 4);
    other.append_n(10);
    other.append(11, b"from before");
    other.epoch = 2;
    other.append(12, b"from then on");
    let bytes = std::fs::read(other.page_path(1)).unwrap();
    forge.damage(1, 4096, &bytes[4096..]);
    let publisher = forge.control.as_ref().unwrap().publisher();
    publisher.set_writer(2, 1, 250_000_000);
    publisher.commit(other.position(), other.tip(), other.log.len() as u64);
    let batch = reader.poll().unwrap().unwrap();
    assert_eq!(batch.iter().next().map(|record| record.data()), Some(&b"from then on"[..]));
}
