//! Damage in the page that the log ends in, without a control segment to say where that is.

use crate::meanwhile::{Moment, let_happen};
use crate::source::Source;
use crate::source::home::Stamp;
use crate::testing::{DEADLINE, Forge, drain, numbers};
use crate::{Cursor, ReadError, Reader};
use std::cell::{Cell, RefCell};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};
use waldo_shm_protocol::Position;
use waldo_shm_protocol::limits::RECORD_HEADER_LEN;

/// Reads on until the damage, which must be at record `seq` of the forged log.
fn read_to_damage(forge: &Forge, reader: &mut Reader, seq: u64) -> Vec<u64> {
    let victim = forge.log.iter().find(|e| e.seq == seq).unwrap();
    let start = Instant::now();
    let mut seen = Vec::new();
    loop {
        assert!(start.elapsed() < DEADLINE, "only {seen:?} came");
        match reader.recv(Some(Duration::from_millis(20))) {
            Ok(Some(batch)) => seen.extend(numbers(&batch)),
            Ok(None) => {}
            Err(ReadError::Corrupt { page, offset, seq_no, .. }) => {
                assert_eq!((page, offset, seq_no), (victim.page, victim.offset, Some(seq - 1)));
                assert!(reader.poll().is_err(), "asking again leads past it");
                return seen;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The records before the damage.
fn drain_five(reader: &mut Reader) -> Vec<u64> {
    numbers(&reader.poll().unwrap().unwrap())
}

#[test]
fn below_what_the_metadata_calls_durable() {
    for clean in [false, true] {
        let mut forge = Forge::new(16384, 4);
        forge.append_n(10);
        let victim = forge.log[6].clone();
        let end = forge.position();
        if clean {
            forge.meta.clean_end = end;
        } else {
            forge.meta.durable = end;
        }
        forge.write_meta();
        forge.damage(victim.page, victim.offset + 16, b"Z");
        let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
        assert_eq!(read_to_damage(&forge, &mut reader, 7), [1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn below_what_a_record_behind_it_calls_durable() {
    for torn in [false, true] {
        let mut forge = Forge::new(16384, 4);
        forge.append_n(if torn { 6 } else { 7 });
        forge.durable = forge.position();
        forge.append_n(3);
        let victim = forge.log[6].clone();
        forge.damage(victim.page, victim.offset, &[0; RECORD_HEADER_LEN]);
        let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
        if torn {
            // Never durable: the writer cuts it off when it starts.
            assert_eq!(drain(&mut reader), [1, 2, 3, 4, 5, 6]);
        } else {
            assert_eq!(read_to_damage(&forge, &mut reader, 7), [1, 2, 3, 4, 5, 6]);
        }
    }
}

#[test]
fn in_the_first_record_of_the_newest_page() {
    let mut forge = Forge::new(16384, 4);
    while forge.position().page() < 2 {
        forge.append_n(1);
    }
    let first = forge.tip();
    forge.durable = forge.position();
    forge.append_n(3);
    forge.damage(2, 4096 + 16, b"Z");
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    assert_eq!(read_to_damage(&forge, &mut reader, first), (1..first).collect::<Vec<_>>());
}

#[test]
fn in_the_header_of_the_newest_page() {
    for durable in [false, true] {
        let mut forge = Forge::new(16384, 4);
        while forge.position().page() < 2 {
            forge.append_n(1);
        }
        let in_page = forge.tip() - 1;
        if durable {
            forge.durable = forge.position();
        }
        forge.append_n(3);
        // What a power failure leaves of a page that was being made ready, and what none leaves.
        let bytes: &[u8] = if durable { b"Z" } else { &[0; 128] };
        forge.damage(2, if durable { 40 } else { 0 }, bytes);
        let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
        let mut seen = numbers(&reader.poll().unwrap().unwrap());
        let end = loop {
            match reader.poll() {
                Ok(Some(batch)) => seen.extend(numbers(&batch)),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        assert_eq!(seen, (1..=in_page).collect::<Vec<_>>());
        if durable {
            assert!(
                matches!(&end, Some(ReadError::Page { path, .. }) if *path == forge.page_path(2)),
                "{end:?}"
            );
        } else {
            assert!(end.is_none(), "{end:?}");
        }
    }
}

#[test]
fn that_comes_while_a_reader_follows() {
    let mut forge = Forge::new(16384, 4);
    forge.append_n(5);
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader), [1, 2, 3, 4, 5]);
    // As one would see it all at once after a look.
    let before = forge.position();
    forge.append_n(1);
    let victim = forge.log[5].clone();
    forge.damage(victim.page, victim.offset + 20, b"Z");
    forge.durable = forge.position();
    assert!(before < forge.durable);
    forge.append_n(2);
    assert_eq!(read_to_damage(&forge, &mut reader, 6), [0u64; 0]);
    // Who waits for what comes next would wait for ever.
    let mut at_tip = forge.attach().reader(Cursor::Tip).unwrap();
    assert_eq!(read_to_damage(&forge, &mut at_tip, 6), [0u64; 0]);
    // Neither in a stream nor in a sleep without an end does damage go unnoticed.
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    assert_eq!(drain_five(&mut reader), [1, 2, 3, 4, 5]);
    assert!(matches!(reader.recv(None), Err(ReadError::Corrupt { .. })));
}

#[test]
fn a_whole_log_that_is_missing_is_no_empty_ring() {
    let mut forge = Forge::new(16384, 4);
    forge.append_n(5);
    forge.meta.durable = forge.position();
    forge.write_meta();
    std::fs::remove_file(forge.page_path(1)).unwrap();
    let error = forge.attach().reader(Cursor::Oldest).unwrap_err();
    assert!(matches!(&error, ReadError::Io { path, .. } if *path == forge.page_path(1)), "{error}");
}

#[test]
fn damage_that_stands_is_surveyed_once_and_a_mend_is_noticed() {
    // Each look at a damaged ring, ten a second, read all of its pages again.
    let surveys = || crate::source::files::survey::SURVEYS.get();
    for mended_by in ["the byte that was damaged", "metadata that do not call it durable"] {
        let mut forge = Forge::new(16384, 4);
        forge.append_n(10);
        let victim = forge.log[6].clone();
        forge.meta.durable = forge.position();
        forge.write_meta();
        let at = victim.offset + 16;
        let mut good = [0];
        let page =
            std::fs::OpenOptions::new().write(true).read(true).open(forge.page_path(victim.page)).unwrap();
        page.read_exact_at(&mut good, at).unwrap();
        forge.damage(victim.page, at, b"Z");
        let ring = forge.attach();
        let seen = ring.inner.current();
        let Source::Files(files) = &seen.source else { panic!("there is no segment") };

        // A file that may be changed again without a trace is not believed to be as it was.
        page.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
        for _ in 0..3 {
            let before = surveys();
            assert!(!files.look().unwrap() && files.damaged());
            assert_ne!(surveys(), before, "a look went by a file whose time tells nothing");
        }
        page.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        let at_rest = |path: &Path| Stamp::at(path).unwrap().is_at_rest();
        crate::testing::until("files at rest", || {
            std::fs::read_dir(forge.home()).unwrap().all(|file| at_rest(&file.unwrap().path())).then_some(())
        });
        assert!(!files.look().unwrap() && files.damaged());
        let before = surveys();
        for _ in 0..10 {
            assert!(!files.look().unwrap() && files.damaged());
        }
        assert_eq!(surveys(), before, "the ring was surveyed though nothing had been done to it");
        // Thousands may follow this ring, and each look asks for the state of each file.
        assert!(files.pause() >= Duration::from_millis(200), "{:?}", files.pause());

        match mended_by {
            "the byte that was damaged" => forge.damage(victim.page, at, &good),
            _ => {
                forge.meta.durable = Position::new(victim.page, victim.offset).unwrap();
                forge.write_meta();
            }
        }
        files.look().unwrap();
        assert!(!files.damaged(), "{mended_by}");
        let mut reader = ring.reader(Cursor::Oldest).unwrap();
        let expected: &[u64] = if forge.meta.durable > Position::new(victim.page, victim.offset).unwrap() {
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
        } else {
            &[1, 2, 3, 4, 5, 6]
        };
        assert_eq!(drain(&mut reader), expected, "{mended_by}");
    }
}

/// A byte in the header of record `seq`, and what it is.
fn byte_of(forge: &Forge, seq: u64) -> (u64, u64, [u8; 1]) {
    let victim = &forge.log[seq as usize - 1];
    let (at, mut byte) = (victim.offset + 16, [0]);
    std::fs::File::open(forge.page_path(victim.page)).unwrap().read_exact_at(&mut byte, at).unwrap();
    (victim.page, at, byte)
}

/// Torture met it once in 10,000 kills: a reader walked to the end of the log and was held up there. A writer
/// appended meanwhile, and what it wrote behind said that the record where the walk had ended was durable.
#[test]
fn a_writer_that_appends_between_two_reads_damages_nothing() {
    let mut forge = Forge::new(16384, 4);
    forge.append_n(5);
    let ring = forge.attach();
    let seen = ring.inner.current();
    let Source::Files(files) = &seen.source else { panic!("there is no segment") };
    files.look().unwrap();
    forge.append_n(1);
    forge.durable = forge.position();
    forge.append_n(3);
    let (page, at, byte) = byte_of(&forge, 6);
    forge.damage(page, at, b"Z");
    let file = std::fs::OpenOptions::new().write(true).open(forge.page_path(page)).unwrap();
    let written = Rc::new(Cell::new(false));
    let done = Rc::clone(&written);
    let_happen(move |moment| {
        if moment == Moment::Walked {
            file.write_all_at(&byte, at).unwrap();
            done.set(true);
        }
    });
    files.look().unwrap();
    assert!(written.get(), "the look did not go behind the end of the log");
    assert!(!files.damaged(), "a record that has come meanwhile was taken for damage");
    let_happen(|_| {});
    files.look().unwrap();
    assert_eq!(drain(&mut ring.reader(Cursor::Oldest).unwrap()), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

/// The same in a survey: whatever it calls damage is elsewhere when it looks again.
#[test]
fn what_is_damaged_elsewhere_at_each_survey_is_no_damage() {
    const SURVEYS: u64 = 30;
    let mut forge = Forge::new(16384, 4);
    forge.append_n(SURVEYS + 10);
    forge.meta.durable = forge.position();
    forge.write_meta();
    let bytes: Vec<_> = (1..=SURVEYS).map(|seq| byte_of(&forge, seq)).collect();
    let file = std::fs::OpenOptions::new().write(true).open(forge.page_path(1)).unwrap();
    forge.damage(1, bytes[0].1, b"Z");
    let surveyed = Rc::new(Cell::new(0));
    let count = Rc::clone(&surveyed);
    let_happen(move |moment| {
        if moment == Moment::Surveyed {
            let n = count.get();
            let (_, at, byte) = bytes[n];
            file.write_all_at(&byte, at).unwrap();
            if let Some((_, at, _)) = bytes.get(n + 1) {
                file.write_all_at(b"Z", *at).unwrap();
            }
            count.set(n + 1);
        }
    });
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    let_happen(|_| {});
    assert_eq!(surveyed.get() as u64, SURVEYS);
    assert_eq!(drain(&mut reader), (1..=SURVEYS + 10).collect::<Vec<_>>());
}

/// Writers that die at once, one after the other, while each of them mends the files.
#[test]
fn what_is_damaged_while_writers_start_is_looked_at_again() {
    const STARTS: u32 = 60;
    let mut forge = Forge::new(16384, 4);
    forge.append_n(10);
    forge.meta.durable = forge.position();
    forge.write_meta();
    let (page, at, byte) = byte_of(&forge, 6);
    forge.damage(page, at, b"Z");
    let forge = Rc::new(RefCell::new(forge));
    let (starting, starts) = (Rc::clone(&forge), Rc::new(Cell::new(0)));
    let count = Rc::clone(&starts);
    let_happen(move |moment| {
        if moment == Moment::Surveyed && count.get() < STARTS {
            starting.borrow_mut().start_unseen();
            count.set(count.get() + 1);
            if count.get() == STARTS {
                starting.borrow().damage(page, at, &byte);
            }
        }
    });
    let home = forge.borrow().home().to_owned();
    let mut reader = crate::Ring::attach(home).unwrap().reader(Cursor::Oldest).unwrap();
    assert_eq!(starts.get(), STARTS);
    assert_eq!(drain(&mut reader), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let_happen(|_| {});
}
