//! Any bytes at all: a clean error or good records, never a panic, a hang or a read out of bounds.

use crate::testing::Forge;
use crate::verify::verify;
use crate::{AttachOptions, Cursor, Integrity, OnLapped, ReaderOptions, Ring, Visibility};
use proptest::prelude::*;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::{Duration, UNIX_EPOCH};
use waldo_shm_protocol::Position;

/// Does everything a reader can do; only that it comes to an end counts.
fn exercise(forge: &Forge, files_only: bool) {
    let options = AttachOptions::default().files_only(files_only);
    let Ok(ring) = Ring::attach_with(forge.home(), options) else { return };
    let _ = ring.status();
    let cursors = [
        Cursor::Trim,
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
        let mut reader = ring.reader_with(Cursor::Trim, options).unwrap();
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
        assert!(forge.attach().reader(Cursor::Trim).is_err(), "{len}");
    }
}

#[test]
fn what_is_no_file_is_no_page() {
    let mut forge = Forge::live(16384, 3);
    forge.append_n(20);
    std::fs::rename(forge.page_path(1), forge.home().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(forge.home().join("elsewhere"), forge.page_path(1)).unwrap();
    assert!(forge.attach().reader(Cursor::Trim).is_err());
    std::fs::remove_file(forge.page_path(1)).unwrap();
    std::fs::create_dir(forge.page_path(1)).unwrap();
    assert!(forge.attach().reader(Cursor::Trim).is_err());
}
