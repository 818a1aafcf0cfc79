//! A reader meets a damaged ring and a segment that says anything, and goes on saying other things.

use crate::damage::Damaged;
use crate::sample;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};
use waldo::protocol::Position;
use waldo::reader::verify::verify;
use waldo::reader::{AttachOptions, Cursor, Integrity, OnLapped, ReaderOptions, Ring, Visibility};

/// Bytes that change a word of the segment.
const WORD: usize = 4;

/// The first byte of `input` chooses the ring, the second one how it is read, the third one how many steps of
/// damage to the files come next; the rest are words of the segment.
pub fn run(input: &[u8]) {
    let [which, how, count, rest @ ..] = input else { return };
    let samples = sample::all();
    let sample = &samples[usize::from(*which) % samples.len()];
    let (steps, words) = rest.split_at(rest.len().min(usize::from(*count % 4) * crate::damage::STEP));
    let root = sample::room();
    let home = root.path().join("ring");
    fs::create_dir(&home).unwrap();
    Damaged::new(sample, true, steps).lay(&home).unwrap();
    let control = home.join(sample::CONTROL);
    let changing = how & 0x40 != 0;
    if !changing {
        words.chunks_exact(WORD).for_each(|word| poke(&control, word));
    }
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if changing {
            scope.spawn(|| {
                while !end.load(Ordering::Relaxed) {
                    words.chunks_exact(WORD).for_each(|word| poke(&control, word));
                    std::thread::yield_now();
                }
            });
        }
        exercise(&home, *how);
        end.store(true, Ordering::Relaxed);
    });
    if how & 0x20 != 0 {
        let _ = verify(&home, &mut |_| {});
    }
}

/// A word of the segment becomes something that breaks assumptions.
fn poke(control: &Path, word: &[u8]) {
    let places = [0, 256, 384, 512, 640, 1024, 8192, 8192 + 128, 8192 + 256, 8192 + 640, 9000];
    let at = places[usize::from(word[0]) % places.len()] + u64::from(word[1] % 16) * 8;
    let value = match word[2] % 8 {
        0 => 0,
        1 => u64::MAX,
        2 => 1,
        3 => 1 << (word[3] % 64),
        4 => u64::from(word[3]),
        5 => u64::from(word[3]) * 0x0101_0101_0101_0101,
        _ => Position::new(u64::from(word[3] % 12), u64::from(word[3]) * 64).unwrap_or_default().word(),
    };
    // What it should be written to may be no file, or none that is there.
    let is_file = fs::symlink_metadata(control).is_ok_and(|found| found.is_file() && found.len() > at + 8);
    if is_file && let Ok(file) = OpenOptions::new().write(true).open(control) {
        let _ = file.write_all_at(&value.to_le_bytes(), at);
    }
}

/// Does what a reader can do; only that it comes to an end counts.
fn exercise(home: &Path, how: u8) {
    let Ok(ring) = Ring::attach_with(home, AttachOptions::default().files_only(how & 0x10 != 0)) else {
        return;
    };
    let _ = ring.status();
    let since = Cursor::Since(UNIX_EPOCH + Duration::from_secs(1));
    let cursors = [Cursor::Oldest, Cursor::Tip, Cursor::After(50), Cursor::From(u64::MAX), since];
    let start = usize::from(how % 5);
    for cursor in [cursors[start], cursors[(start + 1) % 5]] {
        for on_lapped in [OnLapped::Fail, OnLapped::Oldest] {
            let lapped = on_lapped == OnLapped::Fail;
            let options = ReaderOptions::default()
                .on_lapped(on_lapped)
                .integrity(if lapped { Integrity::Structure } else { Integrity::Payloads })
                .visibility(if lapped { Visibility::Durable } else { Visibility::Committed });
            let Ok(mut reader) = ring.reader_with(cursor, options) else { continue };
            let _ = reader.wait(Some(Duration::ZERO));
            for _ in 0..30 {
                match reader.poll() {
                    Ok(Some(batch)) => {
                        assert_eq!(batch.iter().count(), batch.len());
                        let _ = batch.verify();
                        let _ =
                            reader.checkpoint().map(|point| ring.resume(&point, ReaderOptions::default()));
                    }
                    Ok(None) => break,
                    Err(_) => drop(reader.seek(Cursor::Tip)),
                }
            }
        }
    }
}
