//! Journals as they are found after a crash, and the log that they are held against.

use super::entry::{Intent, put_intents, put_name};
use super::load::replay;
use super::*;
use crate::producers::{Claim, Producer};
use nix::sys::stat::Mode;
use proptest::prelude::*;
use std::path::Path;
use std::time::Duration;
use waldo::reader::Ring;
use waldo::writer::{ControlPlace, Durability, Writer, WriterOptions};

const ID: u32 = 5;

fn claim(number: u64, seq_no: u64, count: u32) -> Claim {
    Claim { number, seq_no, count }
}

fn name_entry() -> Vec<u8> {
    let mut out = Vec::new();
    put_name(&mut out, ID, &Producer::new("name".into(), 7));
    out
}

fn intent_entry(claims: &[Claim]) -> Vec<u8> {
    let mut out = Vec::new();
    let intents: Vec<Intent> = claims.iter().map(|claim| Intent { id: ID, claim: *claim }).collect();
    put_intents(&mut out, 9, &intents);
    out
}

fn last(producers: &Producers) -> u64 {
    producers.find("name").and_then(|id| producers.get(id)).map_or(0, Producer::last)
}

/// A ring in a directory, opened by one program after the other.
struct Rings(tempfile::TempDir);

impl Rings {
    fn new() -> Rings {
        Rings(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Writer {
        let options = WriterOptions::default()
            .ring_size(4)
            .page_len(64 << 10)
            .index_capacity(64)
            .durability(Durability::Interval(Duration::from_secs(3600)))
            .control(ControlPlace::Path(self.0.path().join("control")));
        Writer::open(self.0.path().join("ring"), options).unwrap()
    }

    fn place(&self, writer: &Writer) -> Place {
        let ring_id = Ring::attach(writer.home()).unwrap().ring_id();
        Place::of(writer, ring_id).unwrap()
    }

    fn load(&self, writer: &Writer) -> Producers {
        load(&self.place(writer), writer.tip().unwrap_or(0)).unwrap().producers
    }

    /// A service's life: it intended three batches of ten, and was killed when `stored` records were there.
    fn life(&self, stored: usize) {
        let mut writer = self.open();
        let mut journal = Journal::create(self.place(&writer), &self.load(&writer)).unwrap();
        let tip = writer.tip().unwrap_or(0);
        journal.append(&name_entry(), false).unwrap();
        let claims = [0, 10, 20].map(|n| claim(1 + n, tip + 1 + n, 10));
        journal.append(&intent_entry(&claims), true).unwrap();
        writer.append_payloads(&vec![b"x"; stored]).unwrap();
    }
}

#[test]
fn what_was_intended_counts_as_far_as_the_log_goes() {
    for stored in [0, 1, 10, 15, 29, 30] {
        let rings = Rings::new();
        rings.life(stored);
        assert_eq!(last(&rings.load(&rings.open())), stored as u64, "{stored}");
    }
}

#[test]
fn records_of_another_program_in_between_are_not_the_producers() {
    for (stored, others) in [(0, 7), (15, 7), (30, 7), (15, 30), (15, 0)] {
        let rings = Rings::new();
        rings.life(stored);
        // Two other starts: one that appends, one that does not.
        rings.open().append_payloads(&vec![b"other"; others]).unwrap();
        drop(rings.open());
        let writer = rings.open();
        assert_eq!(writer.tip().unwrap_or(0), (stored + others) as u64);
        assert_eq!(last(&rings.load(&writer)), stored as u64, "{stored} {others}");
    }
}

#[test]
fn records_that_have_left_the_ring_count_as_stored() {
    let rings = Rings::new();
    rings.life(30);
    let mut other = rings.open();
    for _ in 0..20 {
        other.append_payloads(&vec![[0; 1000]; 50]).unwrap();
    }
    drop(other);
    assert_eq!(last(&rings.load(&rings.open())), 30);
}

#[test]
fn a_journal_of_another_ring_or_none_names_nobody() {
    let rings = Rings::new();
    let writer = rings.open();
    assert_eq!(rings.load(&writer).len(), 0);
    let place = Place::of(&writer, [9; 16]).unwrap();
    let mut journal = Journal::create(place, &Producers::default()).unwrap();
    journal.append(&name_entry(), false).unwrap();
    assert_eq!(rings.load(&writer).len(), 0);
}

#[test]
fn a_damaged_header_is_told_and_a_torn_end_is_left_out() {
    let rings = Rings::new();
    rings.life(30);
    let writer = rings.open();
    let path = writer.home().join(NAME);
    let good = std::fs::read(&path).unwrap();
    for (at, bit) in [(0, 1), (9, 1), (25, 8)] {
        let mut bad = good.clone();
        bad[at] ^= bit;
        std::fs::write(&path, &bad).unwrap();
        let error = load(&rings.place(&writer), 30).unwrap_err();
        assert!(matches!(error, ServiceError::JournalDamaged { .. }), "{error}");
    }
    std::fs::write(&path, &good[..20]).unwrap();
    assert!(load(&rings.place(&writer), 30).is_err());
}

#[test]
fn sequence_numbers_that_went_to_others_are_void() {
    let rings = Rings::new();
    let mut writer = rings.open();
    let mut journal = Journal::create(rings.place(&writer), &Producers::default()).unwrap();
    journal.append(&name_entry(), false).unwrap();
    journal.append(&intent_entry(&[claim(1, 1, 4)]), false).unwrap();
    writer.append_payloads(&[b"1", b"2"]).unwrap();
    // The append failed in the middle; what comes next is somebody else's.
    journal.void(2, &Producers::default(), false).unwrap();
    writer.append_payloads(&[b"a", b"b"]).unwrap();
    drop(writer);
    assert_eq!(last(&rings.load(&rings.open())), 2);
}

#[test]
fn a_journal_that_was_written_anew_says_the_same() {
    let rings = Rings::new();
    rings.life(30);
    let writer = rings.open();
    let producers = rings.load(&writer);
    let mut journal = Journal::create(rings.place(&writer), &producers).unwrap();
    assert_eq!(last(&rings.load(&writer)), 30);
    // Longer than what is written ahead.
    let mut number = 31;
    while journal.growth() < 2 * RESERVE as u64 {
        let claims: Vec<Claim> = (0..500).map(|n| claim(number + n, number + n, 1)).collect();
        number += 500;
        journal.append(&intent_entry(&claims), false).unwrap();
    }
    let bytes = std::fs::read(writer.home().join(NAME)).unwrap();
    let replayed = replay(&bytes[entry::HEADER_LEN..]);
    assert_eq!((last(&replayed.producers), replayed.torn), (number - 1, 0));
    journal.compact(&replayed.producers).unwrap();
    let bytes = std::fs::read(writer.home().join(NAME)).unwrap();
    assert_eq!(last(&replay(&bytes[entry::HEADER_LEN..]).producers), number - 1);
}

proptest! {
    /// Cut anywhere, it holds the entries that are whole.
    #[test]
    fn a_torn_journal_holds_a_beginning(batches in 1..20_u64, cut in any::<prop::sample::Index>(), flip in any::<bool>()) {
        let mut bytes = name_entry();
        let mut ends = vec![0, bytes.len()];
        for batch in 0..batches {
            bytes.extend(intent_entry(&[claim(1 + batch, 1 + batch, 1)]));
            ends.push(bytes.len());
        }
        let at = cut.index(bytes.len());
        if flip { bytes[at] ^= 1 } else { bytes[at..].fill(0) }
        let whole = ends.iter().filter(|end| **end <= at).count() as u64 - 1;
        let found = last(&replay(&bytes).producers);
        // Zeros may be what was there anyway.
        prop_assert!(found + 1 >= whole && (flip || found < batches + 1));
        if flip { prop_assert_eq!(found, whole.saturating_sub(1)) }
    }

    #[test]
    fn any_bytes_are_replayed_without_harm(bytes in any::<Vec<u8>>()) {
        let _ = replay(&bytes);
    }
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let rings = Rings::new();
    let writer = rings.open();
    let place = rings.place(&writer);
    let (path, new) = (writer.home().join(NAME), writer.home().join(NEW_NAME));
    type Put = fn(&Path);
    let put: [(&str, Put); 3] = [
        ("FIFO", |path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap()),
        ("link", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
        ("directory", |path| std::fs::create_dir(path).unwrap()),
    ];
    for (what, put) in put {
        put(&path);
        // Nobody writes to the FIFO: to open it as others are opened never ends.
        let error = load(&place, 0).unwrap_err();
        assert!(
            matches!(&error, ServiceError::Journal { path: named, .. } if *named == path),
            "{what}: {error}"
        );
        std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path)).unwrap();

        put(&new);
        let written = Journal::create(rings.place(&writer), &Producers::default());
        match what {
            "directory" => {
                assert!(written.is_err());
                std::fs::remove_dir(&new).unwrap();
            }
            _ => {
                written.unwrap();
                assert!(std::fs::symlink_metadata(&path).unwrap().is_file(), "{what}");
                std::fs::remove_file(&path).unwrap();
            }
        }
    }
}

#[test]
fn the_journal_stays_with_the_directory_that_the_writer_has_opened() {
    let rings = Rings::new();
    let writer = rings.open();
    let place = rings.place(&writer);
    let (home, moved) = (writer.home().to_owned(), writer.home().with_extension("moved"));
    std::fs::rename(&home, &moved).unwrap();
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join(NAME), "somebody else's").unwrap();
    assert_eq!(load(&place, 0).unwrap().producers.len(), 0, "the journal of another ring was read");
    let mut journal = Journal::create(place, &Producers::default()).unwrap();
    journal.append(&name_entry(), true).unwrap();
    journal.compact(&Producers::default()).unwrap();
    assert_eq!(std::fs::read(home.join(NAME)).unwrap(), b"somebody else's");
    assert!(moved.join(NAME).exists());
    // The writer closes where it is.
    std::fs::remove_file(home.join(NAME)).unwrap();
}
