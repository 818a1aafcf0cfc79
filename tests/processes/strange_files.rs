//! Files of a ring that are not what they should be: torn, of another length, of another kind, of another
//! page, of another ring. Whoever opens the ring says so and names the file, and nothing is changed.

use crate::roles::writer_append;
use crate::support::payload::check_batch;
use crate::support::ring::{NEVER_MS, Setup, TestRing, attach, careful};
use std::fs;
use std::path::Path;
use waldo::protocol::limits::PAGE_HEADER_LEN;
use waldo::protocol::{meta, names};
use waldo::reader::{Cursor, Ring, verify};
use waldo::writer::{Writer, WriterOptions};

const MAX: usize = 600;

fn setup() -> Setup {
    Setup { interval_ms: Some(NEVER_MS), page_len: 32 << 10, ring_size: 8, max: MAX, ..Setup::default() }
}

fn options() -> WriterOptions {
    // Where the log ends the next page may or may not be there.
    setup().options().prepare_ahead(false)
}

/// A ring of three pages with records that was closed, and its last record.
fn closed() -> (TestRing, u64) {
    let ring = TestRing::new();
    let mut writer = Writer::open(ring.home(), options()).unwrap();
    while writer.committed().page() < 3 {
        writer_append(&mut writer, 1, 1, MAX);
    }
    writer_append(&mut writer, 5, 1, MAX);
    let tip = writer.tip().unwrap();
    writer.close().unwrap();
    (ring, tip)
}

/// Reads from the oldest record to the end, from the files alone; the last record, or the error.
fn read(home: &Path) -> Result<u64, String> {
    let ring = Ring::attach(home).map_err(|error| error.to_string())?;
    let mut reader = ring.reader_with(Cursor::Oldest, careful()).map_err(|error| error.to_string())?;
    let mut last = 0;
    loop {
        match reader.poll() {
            Ok(Some(batch)) => last = check_batch(&batch, batch.first_seq_no() - 1, MAX),
            Ok(None) => return Ok(last),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Writer and `verify` refuse the ring, and nothing is changed. A reader gets an error, or ends before `tip`,
/// but reads nothing wrong.
fn refused(ring: &TestRing, name: &str, tip: u64, context: &str) {
    let before = ring.snapshot();
    let error = Writer::open(ring.home(), options()).err().map(|error| error.to_string());
    let error = error.unwrap_or_else(|| panic!("{context}: {name} was accepted"));
    assert!(error.contains(name), "{context}: {error}");
    assert!(ring.snapshot() == before, "{context}: something was changed");
    assert!(verify::verify(ring.home(), &mut |_| {}).is_err(), "{context}: {name} is called intact");
    let read = read(ring.home());
    assert!(!read.as_ref().is_ok_and(|last| *last >= tip), "{context}: {read:?}");
}

#[test]
fn a_file_of_the_wrong_length_kind_or_version_is_refused_by_name_and_nothing_is_changed() {
    let (ring, tip) = closed();
    let files = [
        (names::META.to_owned(), meta::META_LEN),
        (names::page(1), 32 << 10),
        (names::page(2), 32 << 10),
        (names::page(3), 32 << 10),
    ];
    type Harm = fn(&mut Vec<u8>);
    let harms: [(&str, Harm); 9] = [
        ("empty", |bytes| bytes.clear()),
        ("127 bytes", |bytes| bytes.truncate(127)),
        ("half as long", |bytes| bytes.truncate(bytes.len() / 2)),
        ("a byte short", |bytes| bytes.truncate(bytes.len() - 1)),
        ("a byte too long", |bytes| bytes.push(0)),
        ("twice as long", |bytes| bytes.resize(bytes.len() * 2, 0)),
        ("another magic", |bytes| each_start(bytes, |start| start[..8].copy_from_slice(b"NOTWALDO"))),
        ("a later version", |bytes| each_start(bytes, |start| start[8] += 1)),
        // What a big-endian machine would have written.
        ("bytes turned round", |bytes| {
            each_start(bytes, |start| start.chunks_exact_mut(8).for_each(<[u8]>::reverse))
        }),
    ];
    for (name, len) in &files {
        for (how, harm) in &harms {
            let copy = ring.copy();
            let path = copy.home().join(name);
            let mut bytes = fs::read(&path).unwrap();
            assert_eq!(bytes.len(), *len);
            harm(&mut bytes);
            fs::write(&path, bytes).unwrap();
            refused(&copy, name, tip, &format!("{name}, {how}"));
        }
    }
}

/// Where the structures of a file begin: a page at its start, the metadata at both of its slots.
fn each_start(bytes: &mut [u8], harm: impl Fn(&mut [u8])) {
    let starts: &[usize] = if bytes.len() == meta::META_LEN { &[0, meta::META_LEN / 2] } else { &[0] };
    for start in starts {
        harm(&mut bytes[*start..start + 128]);
    }
}

/// Every page under every other page's name, exchanged and copied; and pages of another ring of the same
/// shape.
#[test]
fn pages_under_each_others_names_are_refused_wherever_they_stand() {
    let ((ring, tip), (other, _)) = (closed(), closed());
    for a in 1..=3 {
        for b in (1..=3).filter(|b| *b != a) {
            for exchange in [true, false] {
                let copy = ring.copy();
                fs::copy(ring.page(a), copy.page(b)).unwrap();
                if exchange {
                    fs::copy(ring.page(b), copy.page(a)).unwrap();
                }
                refused(&copy, "page-", tip, &format!("page {a} as page {b}, exchanged: {exchange}"));
            }
        }
        let copy = ring.copy();
        fs::copy(other.page(a), copy.page(a)).unwrap();
        refused(&copy, &names::page(a), tip, &format!("page {a} of another ring"));
        let copy = ring.copy();
        fs::remove_file(copy.page(a)).unwrap();
        // Without its first page the ring is one that has trimmed it.
        if a > 1 {
            refused(&copy, &names::page(a), tip, &format!("page {a} is gone"));
        }
    }
}

/// The metadata are written slot by slot. At each byte such a write may end; the other slot is whole then.
#[test]
fn metadata_torn_at_any_byte_open_the_ring_and_two_bad_slots_are_refused() {
    let (ring, tip) = closed();
    let path = |ring: &TestRing| ring.home().join(names::META);
    let closed_meta = fs::read(path(&ring)).unwrap();
    let mut writer = Writer::open(ring.home(), options()).unwrap();
    let open = ring.copy();
    let open_meta = fs::read(path(&open)).unwrap();
    writer_append(&mut writer, 3, 1, MAX);
    writer.close().unwrap();
    let closed_again = fs::read(path(&ring)).unwrap();
    // The start writes one slot or two, the close one.
    for (files, before, after, tip) in
        [(&open, &closed_meta, &open_meta, tip), (&ring, &open_meta, &closed_again, tip + 3)]
    {
        let changed: Vec<usize> = (0..after.len()).filter(|at| before[*at] != after[*at]).collect();
        let slot = changed.iter().map(|at| at / (meta::META_LEN / 2)).max().unwrap() * (meta::META_LEN / 2);
        let image = files.copy();
        for kept in 0..=128 {
            let mut torn = after.clone();
            torn[slot + kept..slot + 512].copy_from_slice(&before[slot + kept..slot + 512]);
            fs::write(path(&image), &torn).unwrap();
            let copy = image.copy();
            let writer =
                Writer::open(copy.home(), options()).unwrap_or_else(|error| panic!("{kept}: {error}"));
            assert_eq!(
                (writer.tip(), &writer.open_report().cut),
                (Some(tip), &None),
                "{kept} bytes were written"
            );
        }
        let copy = files.copy();
        let mut bad = after.clone();
        each_start(&mut bad, |start| start[40] ^= 1);
        fs::write(path(&copy), bad).unwrap();
        refused(&copy, names::META, tip, "both slots are bad");
    }
}

/// The header of a page that nothing durable is in, written up to any byte: the log ends before that page.
/// One that something durable is in is damage.
#[test]
fn a_page_header_torn_at_any_byte_ends_the_log_or_is_damage() {
    let ring = TestRing::new();
    let mut writer = Writer::open(ring.home(), options()).unwrap();
    let mut last_of_second = 0;
    while writer.committed().page() < 3 {
        last_of_second = writer.tip().unwrap_or(0);
        if writer.committed().page() == 2 && last_of_second > 0 {
            writer.sync().unwrap();
        }
        writer_append(&mut writer, 1, 1, MAX);
    }
    // What a crash leaves while the third page is not durable, and once it is.
    let crashed = ring.copy();
    writer.sync().unwrap();
    writer_append(&mut writer, 1, 1, MAX);
    let durable = ring.copy();
    let tip = writer.tip().unwrap();
    writer.close().unwrap();
    let header = fs::read(crashed.page(3)).unwrap()[..PAGE_HEADER_LEN].to_vec();
    let end = 1 + header.iter().rposition(|byte| *byte != 0).unwrap();
    for kept in 0..end {
        let torn = |ring: &TestRing| {
            let copy = ring.copy();
            let mut bytes = fs::read(copy.page(3)).unwrap();
            bytes[kept..end].fill(0);
            fs::write(copy.page(3), bytes).unwrap();
            copy
        };
        let copy = torn(&crashed);
        let writer = Writer::open(copy.home(), options()).unwrap_or_else(|error| panic!("{kept}: {error}"));
        assert_eq!(writer.tip(), Some(last_of_second), "{kept} bytes of the header are there");
        assert!(writer.open_report().cut.is_some(), "{kept}: a record is lost without a word");
        drop(writer);
        assert_eq!(attach(copy.home()).status().unwrap().tip_seq_no, Some(last_of_second));
        refused(&torn(&durable), &names::page(3), tip, &format!("{kept} bytes of a durable header"));
    }
}
