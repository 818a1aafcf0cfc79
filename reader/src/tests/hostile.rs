//! Any bytes at all: a clean error or good records, never a panic, a hang or a read out of bounds.

use crate::testing::Forge;
use crate::verify::verify;
use crate::{AttachOptions, Cursor, Integrity, OnLapped, ReaderOptions, Ring, Visibility};
use futures_core::{FusedStream, Stream};
use proptest::prelude::*;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};
use waldo_shm_protocol::Position;

/// Does everything a reader can do; only that it comes to an end counts.
fn exercise(forge: &Forge, files_only: bool) {
    let options = AttachOptions::default().files_only(files_only);
    let Ok(ring) = Ring::attach_with(forge.home(), options) else { return };
    let _ = ring.status();
    let cursors = [
        Cursor::Oldest,
        Cursor::Tip,
        Cursor::After(0),
        Cursor::After(50),
        Cursor::From(u64::MAX),
        Cursor::Since(UNIX_EPOCH + Duration::from_nanos(1500)),
    ];
    for cursor in cursors {
        for on_lapped in [OnLapped::Fail, OnLapped::Oldest, OnLapped::Tip] {
            let integrity =
                if on_lapped == OnLapped::Fail { Integrity::Structure } else { Integrity::Payloads };
            let visibility =
                if on_lapped == OnLapped::Tip { Visibility::Durable } else { Visibility::Committed };
            let options = ReaderOptions { on_lapped, integrity, visibility, ..ReaderOptions::default() };
            let Ok(mut reader) = ring.reader_with(cursor, options) else { continue };
            let _ = reader.wait(Some(Duration::ZERO));
            for _ in 0..50 {
                match reader.poll() {
                    Ok(Some(batch)) => {
                        assert_eq!(batch.iter().count(), batch.len());
                        let _ = batch.verify();
                        let _ = reader.checkpoint().map(|c| ring.resume(&c, ReaderOptions::default()));
                    }
                    Ok(None) => break,
                    Err(_) => {
                        let _ = reader.seek(Cursor::Tip);
                    }
                }
            }
        }
    }
}

fn poke(path: &std::path::Path, pokes: &[(usize, Vec<u8>)]) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    for (at, bytes) in pokes {
        let at = *at as u64 % len;
        let fits = bytes.len().min((len - at) as usize);
        file.write_all_at(&bytes[..fits], at).unwrap();
    }
}

/// Values that break assumptions.
fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<u64>(),
        Just(0),
        Just(u64::MAX),
        Just(1),
        (1..20u64, 0..20_000u64).prop_map(|(p, o)| Position::new(p, o & !7).unwrap().word()),
        (0..64u32).prop_map(|b| 1 << b),
    ]
    .prop_map(|word: u64| word.to_le_bytes().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_segment_with_nonsense_in_its_words(
        pokes in prop::collection::vec((prop_oneof![0..600usize, 8192..9200usize, 256..264usize, 384..392usize,
            512..560usize, 0..20_000usize].prop_map(|at| at & !7), word()), 1..6),
    ) {
        let mut forge = Forge::live(16384, 3);
        forge.append_n(300);
        poke(&forge.control.as_ref().unwrap().path, &pokes);
        exercise(&forge, false);
    }

    #[test]
    fn a_segment_that_changes_under_the_reader(
        pokes in prop::collection::vec((prop_oneof![256..272usize, 384..392usize, 512..560usize, 8192..9200usize]
            .prop_map(|at| at & !7), word()), 1..30),
    ) {
        let mut forge = Forge::live(16384, 3);
        forge.append_n(300);
        let ring = forge.attach();
        let options = ReaderOptions { on_lapped: OnLapped::Oldest, batch_bytes: 500, ..ReaderOptions::default() };
        let mut reader = ring.reader_with(Cursor::Oldest, options).unwrap();
        for one in pokes {
            poke(&forge.control.as_ref().unwrap().path, &[one]);
            let _ = reader.poll();
            let _ = reader.wait(Some(Duration::ZERO));
            let _ = ring.status();
        }
    }

    #[test]
    fn a_segment_of_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..10_000)) {
        let mut forge = Forge::live(16384, 3);
        forge.append_n(20);
        std::fs::write(&forge.control.as_ref().unwrap().path, bytes).unwrap();
        exercise(&forge, false);
    }

    #[test]
    fn pages_with_nonsense_in_them(
        pokes in prop::collection::vec((prop_oneof![0..16384usize, 4096..5000usize, 0..128usize,
            15_000..16384usize], prop_oneof![word(), prop::collection::vec(any::<u8>(), 1..64)], 0..3u64), 1..6),
        files_only in any::<bool>(),
    ) {
        let mut forge = Forge::live(16384, 3);
        forge.append_n(700);
        for (at, bytes, page) in pokes {
            poke(&forge.page_path(forge.oldest + page), &[(at, bytes)]);
        }
        exercise(&forge, files_only);
        let _ = verify(forge.home(), &mut |_| {});
    }

    #[test]
    fn metadata_and_link_with_nonsense_in_them(
        meta in prop::collection::vec((0..8192usize, word()), 0..4),
        link in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut forge = Forge::live(16384, 3);
        forge.append_n(20);
        poke(&forge.home().join("ring.meta"), &meta);
        exercise(&forge, false);
        std::fs::write(forge.home().join("control.link"), link).unwrap();
        exercise(&forge, false);
        let _ = verify(forge.home(), &mut |_| {});
    }
}

#[test]
fn pages_of_the_wrong_length_are_refused() {
    let mut forge = Forge::live(16384, 3);
    forge.append_n(20);
    for len in [0, 1, 127, 128, 4096, 16383, 16385, 1 << 20] {
        OpenOptions::new().write(true).open(forge.page_path(1)).unwrap().set_len(len).unwrap();
        assert!(forge.attach().reader(Cursor::Oldest).is_err(), "{len}");
    }
}

#[test]
fn what_is_no_file_is_no_page() {
    let mut forge = Forge::live(16384, 3);
    forge.append_n(20);
    std::fs::rename(forge.page_path(1), forge.home().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(forge.home().join("elsewhere"), forge.page_path(1)).unwrap();
    assert!(forge.attach().reader(Cursor::Oldest).is_err());
    std::fs::remove_file(forge.page_path(1)).unwrap();
    std::fs::create_dir(forge.page_path(1)).unwrap();
    assert!(forge.attach().reader(Cursor::Oldest).is_err());
}

/// A small generator: what it gives is arbitrary, and the same each time.
fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut x = *state;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 27)
}

/// Changes words of the segment at `path` until `done`, each back to what it was soon after.
fn scribble(path: &std::path::Path, seed: u64, done: &AtomicBool) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut state = seed;
    while !done.load(Ordering::Relaxed) {
        let areas = [(0, 128), (256, 24), (384, 8), (512, 48), (1024, 64), (8192, 1024)];
        let (start, len) = areas[mix(&mut state) as usize % areas.len()];
        let at = start + mix(&mut state) % len / 8 * 8;
        let mut word = [0; 8];
        file.read_exact_at(&mut word, at).unwrap();
        let other = match mix(&mut state) % 4 {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << (mix(&mut state) % 64),
            _ => mix(&mut state),
        };
        file.write_all_at(&other.to_le_bytes(), at).unwrap();
        std::thread::yield_now();
        if mix(&mut state) & 3 > 0 {
            file.write_all_at(&word, at).unwrap();
        }
    }
}

#[test]
fn a_segment_that_changes_at_every_moment() {
    for seed in 0..6 {
        let mut forge = Forge::live(16384, 3);
        forge.append_n(300);
        let path = forge.control.as_ref().unwrap().path.clone();
        let ring = forge.attach();
        let options =
            || ReaderOptions { on_lapped: OnLapped::Oldest, batch_bytes: 500, ..ReaderOptions::default() };
        let mut reader = ring.reader_with(Cursor::Oldest, options()).unwrap();
        let mut stream = ring.reader_with(Cursor::Oldest, options()).unwrap().into_stream();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| scribble(&path, seed, &done));
            for round in 0..300 {
                let _ = reader.poll();
                let _ = reader.wait(Some(Duration::ZERO));
                let _ = reader.recv(Some(Duration::from_micros(50)));
                let _ = ring.status();
                let _ = reader.seek(Cursor::After(round));
                let mut cx = Context::from_waker(Waker::noop());
                if let Poll::Ready(_) = Pin::new(&mut stream).poll_next(&mut cx)
                    && stream.is_terminated()
                    && let Ok(reader) = ring.reader_with(Cursor::Oldest, options())
                {
                    stream = reader.into_stream();
                }
                if round % 30 == 0 {
                    exercise(&forge, false);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
