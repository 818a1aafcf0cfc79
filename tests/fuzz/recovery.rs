//! A writer opens a damaged ring: an error that says what is wrong and has changed nothing, or a log in order
//! that stays as it is.

use crate::damage::{Content, Damaged};
use crate::payload;
use crate::sample;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use waldo::protocol::names;
use waldo::reader::{Cursor, Integrity, ReadError, ReaderOptions, Ring};
use waldo::writer::{OpenError, Writer};

/// The first byte of `input` chooses the ring, the second one how it is opened; the rest is damage.
pub fn run(input: &[u8]) {
    let [which, how, steps @ ..] = input else { return };
    let samples = sample::all();
    let sample = &samples[usize::from(*which) % samples.len()];
    let damaged = Damaged::new(sample, false, steps);
    let root = sample::room();
    let home = root.path().join("ring");
    fs::create_dir(&home).unwrap();
    damaged.lay(&home).unwrap();
    let ring_size = [3, 3, 1, 5][usize::from(*how) % 4];
    let page_len = [16 << 10, 32 << 10][usize::from(*how >> 2) % 2];
    let options = sample::options(&home, ring_size, page_len);
    let writer = match Writer::open(&home, options.clone()) {
        Ok(writer) => writer,
        Err(error) => return check_refusal(&error, &damaged, &home),
    };
    let opened = writer.open_report().clone();
    let tip = writer.tip().unwrap_or(0);
    let held = read(&home, damaged.forged);
    // Where somebody has made a checksum fit, nobody can tell: all that counts is that everything comes to an
    // end.
    if damaged.forged {
        writer.close().unwrap();
        return;
    }
    if let Ok(held) = held {
        let last = held.map_or(0, |held| held.1);
        assert!(last == tip, "readers see {held:?}, the writer's tip is {tip}");
    }
    if sample.closed && !damaged.meta && !damaged.forged {
        assert!(
            tip >= sample.last,
            "the ring was closed after record {}, and opens after {tip}: {opened:?}",
            sample.last
        );
    }
    // The next one finds the same, whether this one closes or is killed here.
    if how & 0x80 == 0 {
        writer.close().unwrap();
        again(&home, options, tip, held);
    } else {
        let copy = root.path().join("copy");
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&home).unwrap().map(Result::unwrap) {
            let linked =
                [names::LOCK, names::LINK, sample::CONTROL].contains(&entry.file_name().to_str().unwrap());
            if !linked && entry.file_type().unwrap().is_file() {
                // The preparer gives files other names meanwhile.
                let _ = fs::copy(entry.path(), copy.join(entry.file_name()));
            }
        }
        writer.close().unwrap();
        again(&copy, sample::options(&copy, ring_size, page_len), tip, held);
    }
}

fn again(home: &Path, options: waldo::writer::WriterOptions, tip: u64, held: Held) {
    let writer = match Writer::open(home, options) {
        Ok(writer) => writer,
        // The first one went by footers, as after a clean close, and this one read the page: readers were
        // told before.
        Err(OpenError::Corrupt { .. }) if held.is_err() => return,
        Err(error) => panic!("the second opening: {error}"),
    };
    assert_eq!(writer.tip().unwrap_or(0), tip, "the second opening: {:?}", writer.open_report());
    assert!(writer.open_report().cut.is_none(), "the second opening: {:?}", writer.open_report());
    if let (Ok(Some(now)), Ok(Some(before))) = (read(home, true), held) {
        // The beginning may be trimmed if the ring is smaller now.
        assert!(now.0 >= before.0 && now.1 == before.1, "{now:?} after {before:?}");
    }
    writer.close().unwrap();
}

/// The first and the last record that a reader sees; or that the reader tells of damage, which opening does
/// not look for in pages that are complete.
type Held = Result<Option<(u64, u64)>, ()>;

/// What a reader sees. Each record proves itself.
fn read(home: &Path, forged: bool) -> Held {
    let options = ReaderOptions::default().integrity(Integrity::Payloads);
    let ring = Ring::attach(home).unwrap_or_else(|error| panic!("opened, but {error}"));
    let mut reader = match ring.reader_with(Cursor::Oldest, options) {
        Ok(reader) => reader,
        Err(ReadError::Corrupt { .. } | ReadError::Page { .. }) => return Err(()),
        Err(error) => panic!("opened, but {error}"),
    };
    let mut held: Option<(u64, u64)> = None;
    loop {
        match reader.poll() {
            Ok(None) => return Ok(held),
            Ok(Some(batch)) => {
                held = Some((held.map_or(batch.first_seq_no(), |held| held.0), batch.last_seq_no()));
                for record in batch.iter().filter(|_| !forged) {
                    let origin = payload::read(record.data());
                    let right = origin.is_some_and(|origin| origin.seq_no == record.seq_no());
                    assert!(right, "record {} holds {origin:?}", record.seq_no());
                }
            }
            Err(ReadError::Corrupt { .. } | ReadError::Page { .. }) => return Err(()),
            Err(error) => panic!("opened, but {error}"),
        }
    }
}

/// Damage that is refused is left as it is.
fn check_refusal(error: &OpenError, damaged: &Damaged, home: &Path) {
    assert!(!error.to_string().is_empty());
    let untouched = matches!(
        error,
        OpenError::Corrupt { .. }
            | OpenError::Page { .. }
            | OpenError::MissingPage { .. }
            | OpenError::Meta { .. }
            | OpenError::NoMeta { .. }
    );
    if untouched {
        let now: BTreeMap<String, Content> = fs::read_dir(home)
            .unwrap()
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                let bytes = fs::read(entry.path()).unwrap();
                (name, Content::Bytes(bytes))
            })
            .filter(|(name, _)| ![names::LOCK, names::LINK, sample::CONTROL].contains(&name.as_str()))
            .collect();
        let files = damaged.files.iter().filter(|(_, content)| matches!(content, Content::Bytes(_)));
        let before: BTreeMap<String, Content> = files
            .filter(|(name, _)| ![names::LOCK, names::LINK, sample::CONTROL].contains(&name.as_str()))
            .map(|(name, content)| (name.clone(), content.clone()))
            .collect();
        let changed: Vec<&String> =
            before.keys().filter(|name| now.get(*name) != before.get(*name)).collect();
        assert!(changed.is_empty(), "refused ({error}), but {changed:?} were changed");
    }
}
