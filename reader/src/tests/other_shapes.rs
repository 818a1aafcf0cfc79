//! Segments with less room, or more, than the ring has pages.
//!
//! A ring was reopened with a smaller `ring_size`. Its pages stayed until newer ones took their place, but
//! the directory had room for a few of them only, and readers took its size for the most pages there can be:
//! until enough had been trimmed, every seek and every `status()` failed with "lengths are impossible". Page
//! length and index capacity may be others as well: each page says its own.

use crate::testing::{Forge, drain, read_n};
use crate::{Cursor, ReadError, ReaderOptions, WriterStatus};
use std::time::{Duration, UNIX_EPOCH};
use waldo_shm_protocol::segment::{SegmentCounts, SegmentGeometry};

const PAGE: u64 = 16384;

/// Page lengths and index capacities of the next writer.
const GEOMETRIES: [(u64, u32); 4] = [(PAGE, 32), (PAGE, 1), (4 * PAGE, 32), (2 * PAGE, 400)];

/// A ring of many pages, and the next writer's segment with room for so many of them, and so many index
/// entries.
fn reopened(slots: u32, index: u32, geometry: (u64, u32)) -> (Forge, crate::Ring) {
    let mut forge = Forge::live(PAGE, 12);
    forge.append_n(3000);
    assert!(forge.oldest > 1 && forge.position().page() - forge.oldest >= 8);
    let before = forge.attach();
    forge.start_unseen();
    forge.change_geometry(geometry.0, geometry.1);
    forge.write_meta();
    forge.append_n(3);
    forge.open_control_of(
        SegmentGeometry::new(SegmentCounts { page_slots: slots, index_capacity: index, wake_words: 4 })
            .unwrap(),
    );
    (forge, before)
}

#[test]
fn everything_is_found_whatever_room_the_directory_has() {
    for slots in [1, 2, 3, 5, 14, 300] {
        for (index, geometry) in [1, 32, 500].into_iter().flat_map(|i| GEOMETRIES.map(|g| (i, g))) {
            let (mut forge, before) = reopened(slots, index, geometry);
            let context = format!("{slots} slots of {index}, pages of {geometry:?}");
            let kept: Vec<_> = forge.kept().to_vec();
            let numbers: Vec<u64> = kept.iter().map(|e| e.seq).collect();
            for ring in [&before, &forge.attach()] {
                let status = ring.status().unwrap_or_else(|e| panic!("{context}: {e}"));
                assert_eq!(status.writer, WriterStatus::Live, "{context}");
                assert_eq!(status.oldest_page, forge.oldest, "{context}");
                assert_eq!(status.pages, forge.position().page() - forge.oldest + 1, "{context}");
                assert_eq!(status.oldest_seq_no, Some(kept[0].seq), "{context}");
                assert_eq!(status.after_seq_no, Some(kept[0].prev), "{context}");
                assert_eq!(
                    (status.page_len, status.tip_seq_no),
                    (geometry.0, Some(forge.tip())),
                    "{context}"
                );
                assert!(
                    status.records.is_none_or(|n| n == kept.len() as u64),
                    "{context}: {:?}",
                    status.records
                );
                let mut reader = ring.reader(Cursor::Oldest).unwrap_or_else(|e| panic!("{context}: {e}"));
                assert_eq!(drain(&mut reader), numbers, "{context}");
                let once = ReaderOptions { batch_bytes: 1, ..ReaderOptions::default() };
                let mut reader = ring.reader_with(Cursor::Tip, once).unwrap();
                for at in (0..kept.len()).step_by(37) {
                    reader.seek(Cursor::From(kept[at].seq)).unwrap_or_else(|e| panic!("{context}: {e}"));
                    assert_eq!(reader.poll().unwrap().unwrap().first_seq_no(), kept[at].seq, "{context}");
                    reader.seek(Cursor::Since(UNIX_EPOCH + Duration::from_nanos(kept[at].time))).unwrap();
                    assert_eq!(reader.poll().unwrap().unwrap().first_seq_no(), kept[at].seq, "{context}");
                }
                let lapsed = ring.reader(Cursor::After(1)).unwrap_err();
                assert!(
                    matches!(lapsed, ReadError::Lapped { oldest, .. } if oldest == kept[0].seq),
                    "{lapsed}"
                );
            }
            let mut reader = before.reader(Cursor::Tip).unwrap();
            let tip = forge.tip();
            forge.append_n(2);
            assert_eq!(read_n(&mut reader, 2), [tip + 1, tip + 2], "{context}");
        }
    }
}

#[test]
fn a_reader_from_before_goes_on_where_it_was() {
    for slots in [1, 2, 14, 300] {
        let mut forge = Forge::live(PAGE, 12);
        forge.append_n(1500);
        let ring = forge.attach();
        let options = ReaderOptions { batch_bytes: 1000, ..ReaderOptions::default() };
        let mut reader = ring.reader_with(Cursor::Oldest, options).unwrap();
        let first = reader.poll().unwrap().unwrap().last_seq_no();
        let before = forge.start_unseen().unwrap();
        forge.open_control_of(
            SegmentGeometry::new(SegmentCounts { page_slots: slots, index_capacity: 1, wake_words: 1 })
                .unwrap(),
        );
        before.state(waldo_shm_protocol::segment::WriterState::Retired);
        let rest: Vec<u64> = (first + 1..=forge.tip()).collect();
        assert_eq!(read_n(&mut reader, rest.len()), rest, "{slots}");
    }
}

#[test]
fn more_pages_than_a_ring_can_have_are_nonsense() {
    let mut forge = Forge::live(PAGE, 3);
    forge.append_n(20);
    let ring = forge.attach();
    let beyond = waldo_shm_protocol::Position::new(1 << 30, 4096).unwrap();
    forge.control.as_ref().unwrap().publisher().commit(beyond, 1, 1);
    assert!(matches!(ring.status(), Err(ReadError::Control { .. })));
    assert!(matches!(ring.reader(Cursor::Oldest), Err(ReadError::Control { .. })));
}
