//! Metadata slots: every fault, torn slots, any bytes.

use super::*;
use crate::page::PageGeometry;
use proptest::prelude::*;

fn meta(counter: u64) -> Meta {
    Meta {
        durable_names: counter.is_multiple_of(2),
        trims_early: counter.is_multiple_of(3),
        ring_id: *b"0123456789abcdef",
        counter,
        ring_size: 8,
        geometry: PageGeometry::new(64 << 20, 4096).unwrap(),
        epoch: counter as u32,
        created_ns: 1_700_000_000_000_000_000,
        clean_end: Position::new(3, 8192).unwrap(),
        durable: Position::new(3, 4104).unwrap(),
    }
}

/// A file in which these were written one after the other.
fn file(metas: &[Meta]) -> Vec<u8> {
    let mut file = vec![0; META_LEN];
    for meta in metas {
        let (offset, slot) = meta.encode();
        file[offset as usize..][..META_SLOT_LEN].copy_from_slice(&slot);
    }
    file
}

/// Changes a field of the slot with this counter and makes its checksum fit again.
fn change(file: &mut [u8], counter: u64, at: usize, bytes: &[u8]) {
    let slot = &mut file[(counter as usize % 2) * META_SLOT_LEN..][..128];
    slot[at..at + bytes.len()].copy_from_slice(bytes);
    let checksum = plain(&slot[..124]);
    slot[124..].copy_from_slice(&checksum.to_le_bytes());
}

/// As if the slot with this counter had been torn.
fn tear(file: &mut [u8], counter: u64) {
    file[(counter as usize % 2) * META_SLOT_LEN + 50] ^= 0xff;
}

fn unclean(meta: Meta) -> Meta {
    Meta { clean_end: Position::NONE, ..meta }
}

/// What is believed of a slot whose neighbour is lost.
fn lone(meta: Meta) -> Meta {
    Meta { epoch: meta.epoch + 1, ..unclean(meta) }
}

#[test]
fn slots_are_written_in_turn_and_the_newest_counts() {
    assert_eq!(meta(4).encode().0, 0);
    assert_eq!(meta(5).encode().0, 4096);
    for newest in [5, 6, u64::MAX] {
        assert_eq!(Meta::check(&file(&[meta(newest - 1), meta(newest)])), Ok(meta(newest)));
    }
}

#[test]
fn a_torn_slot_leaves_the_other() {
    for newest in [5, 6] {
        let mut torn = file(&[meta(newest - 1), meta(newest)]);
        tear(&mut torn, newest);
        assert_eq!(Meta::check(&torn), Ok(lone(meta(newest - 1))));
        let mut torn = file(&[meta(newest - 1), meta(newest)]);
        tear(&mut torn, newest - 1);
        assert_eq!(Meta::check(&torn), Ok(lone(meta(newest))));
    }
}

#[test]
fn a_lone_slot_does_not_promise_a_clean_end() {
    // Slot 6 said that a writer runs, and was lost: the log may go on behind what slot 5 calls its end.
    let mut lost = file(&[meta(5), unclean(meta(6))]);
    assert!(Meta::check(&lost).unwrap().clean_end.is_none());
    lost[..META_SLOT_LEN].fill(0);
    let found = Meta::check(&lost).unwrap();
    assert!(found.clean_end.is_none());
    assert_eq!(found.epoch, 6, "which the lost slot's writer used");
    assert!(!Meta::check(&file(&[unclean(meta(5)), meta(6)])).unwrap().clean_end.is_none());
}

#[test]
fn faults_name_their_causes() {
    use MetaFault::*;
    let good = file(&[meta(5), meta(6)]);
    assert_eq!(Meta::check(&good[1..]), Err(FileLen { len: META_LEN - 1 }));
    assert_eq!(Meta::check(&[]), Err(FileLen { len: 0 }));
    assert_eq!(Meta::check(&[0; META_LEN]), Err(Magic));
    let mut torn = good.clone();
    tear(&mut torn, 5);
    tear(&mut torn, 6);
    assert_eq!(Meta::check(&torn), Err(Checksum));
    let mut first = file(&[meta(5)]);
    tear(&mut first, 5);
    assert_eq!(Meta::check(&first), Err(Checksum), "not 'no such file': something was there");
    for (at, value) in [(12, 0u32), (12, RING_SIZE_MAX + 1), (64, 0), (56, 4095)] {
        let mut wrong = good.clone();
        change(&mut wrong, 5, at, &value.to_le_bytes());
        change(&mut wrong, 6, at, &value.to_le_bytes());
        assert_eq!(Meta::check(&wrong), Err(Range), "{value} at {at}");
    }
}

#[test]
fn newer_formats_are_refused_whatever_the_other_slot_says() {
    for newer in [5, 6] {
        let mut file = file(&[meta(5), meta(6)]);
        change(&mut file, newer, 8, &2u32.to_le_bytes());
        let fault = Meta::check(&file).unwrap_err();
        assert_eq!(fault, MetaFault::Version { found: 2, known: 1 });
        assert!(fault.to_string().contains("use a newer waldo"), "{fault}");
        change(&mut file, newer, 8, &1u32.to_le_bytes());
        change(&mut file, newer, 24, &1u64.to_le_bytes());
        assert!(Meta::check(&file).is_ok(), "compatible features are ignored");
        change(&mut file, newer, 16, &4u64.to_le_bytes());
        tear(&mut file, 11 - newer);
        let fault = Meta::check(&file).unwrap_err();
        assert_eq!(fault, MetaFault::Incompatible { flags: 4 });
        assert!(fault.to_string().contains("use a newer waldo"), "{fault}");
    }
}

#[test]
fn every_flipped_bit_is_detected() {
    let lone = file(&[meta(6)]);
    for bit in 0..128 * 8 {
        let mut flipped = lone.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Meta::check(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn rings_of_one_page_and_of_the_most_there_can_be_are_legal() {
    for ring_size in [1, RING_SIZE_MAX] {
        let extreme = Meta { ring_size, ..meta(6) };
        assert_eq!(Meta::check(&file(&[meta(5), extreme])), Ok(extreme));
    }
}

#[test]
fn the_later_of_both_positions_is_what_is_known_to_be_durable() {
    let (earlier, later) = (Position::new(3, 4104).unwrap(), Position::new(3, 8192).unwrap());
    for (clean_end, durable) in [(later, earlier), (earlier, later), (Position::NONE, later)] {
        assert_eq!(Meta { clean_end, durable, ..meta(5) }.known_durable(), later);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_checked_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Meta::check(&bytes);
        let mut file = vec![0; META_LEN];
        file[..bytes.len()].copy_from_slice(&bytes);
        file[META_SLOT_LEN..][..bytes.len()].copy_from_slice(&bytes);
        let _ = Meta::check(&file);
    }

    #[test]
    fn any_fields_with_a_good_checksum(
        ring_size in prop_oneof![any::<u32>(), 0u32..70_000], page_len: u64, index_capacity: u32,
        counter: u64, words in prop::array::uniform2(any::<u64>()),
    ) {
        let mut file = file(&[meta(5), meta(6)]);
        change(&mut file, 6, 12, &ring_size.to_le_bytes());
        change(&mut file, 6, 48, &counter.to_le_bytes());
        change(&mut file, 6, 80, &words[0].to_le_bytes());
        change(&mut file, 6, 88, &words[1].to_le_bytes());
        let found = Meta::check(&file);
        prop_assert!(found.is_ok_and(|m| (1..=RING_SIZE_MAX).contains(&m.ring_size)));
        change(&mut file, 6, 56, &page_len.to_le_bytes());
        change(&mut file, 6, 64, &index_capacity.to_le_bytes());
        prop_assert!(Meta::check(&file).is_ok());
    }
}
