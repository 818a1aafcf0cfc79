//! The control segment, laid over heap memory.

#![allow(unsafe_code, reason = "lays a segment over heap memory")]

use super::*;
use crate::limits::*;
use crate::page::RECORDS_UNKNOWN;
use crate::record::PageEnd;
use crate::segment::SegmentCounts;
use crate::sync::AtomicU64;
use proptest::prelude::*;

#[repr(C, align(128))]
struct Block([AtomicU64; 16]);

/// Zeroed memory in place of a mapping.
struct Memory {
    blocks: Vec<Block>,
    geometry: SegmentGeometry,
}

impl Memory {
    fn new(page_slots: u32, index_capacity: u32, wake_words: u32) -> Memory {
        let geometry =
            SegmentGeometry::new(SegmentCounts { page_slots, index_capacity, wake_words }).unwrap();
        let blocks = (0..geometry.segment_len() / 128)
            .map(|_| Block(std::array::from_fn(|_| AtomicU64::new(0))))
            .collect();
        Memory { blocks, geometry }
    }

    fn base(&self) -> NonNull<u8> {
        NonNull::from(self.blocks.as_slice()).cast()
    }

    fn segment(&self) -> Segment<'_> {
        // SAFETY: the blocks are aligned to 128, `segment_len` bytes in all, live as long as `self`, and
        // consist of atomics.
        unsafe { Segment::from_raw(self.base(), self.geometry) }
    }

    fn publisher(&self) -> Publisher<'_> {
        // SAFETY: heap memory of this very process.
        unsafe { Publisher::new(self.segment()) }
    }

    fn header(&self) -> &SegmentHeader {
        // SAFETY: as in `segment`; there are at least 8192 bytes.
        unsafe { header_at(self.base()) }
    }

    fn len(&self) -> u64 {
        self.blocks.len() as u64 * 128
    }

    /// The 64-bit word `offset` bytes into the segment.
    fn word(&self, offset: usize) -> &AtomicU64 {
        &self.blocks[offset / 128].0[offset % 128 / 8]
    }
}

const IDENTITY: SegmentIdentity =
    SegmentIdentity { ring_id: *b"0123456789abcdef", boot_id: [9; 16], home: [3, 4], instance: 77 };

fn info(page_id: u64) -> PageInfo {
    PageInfo {
        page_id,
        first_seq_no: page_id * 100 + 1,
        prev_seq_no: page_id * 100,
        first_time_ns: page_id * 1000,
        records_before: RECORDS_UNKNOWN,
        page_len: 65536,
        ..PageInfo::default()
    }
}

fn entry(n: u64) -> IndexEntry {
    IndexEntry { seq_no: n, time_ns: n * 10, offset: n * 8 }
}

#[test]
fn parts_lie_where_the_constants_say() {
    let memory = Memory::new(3, 4, 64);
    let segment = memory.segment();
    let at = |address: *const u8| address.addr() - memory.base().as_ptr().addr();
    assert_eq!(at((&raw const *segment.header).cast()), 0);
    assert_eq!(at((&raw const *segment.committed).cast()), 256);
    assert_eq!(at((&raw const *segment.durable).cast()), 384);
    assert_eq!(at((&raw const *segment.status).cast()), 512);
    assert_eq!(at((&raw const *segment.counters).cast()), 640);
    assert_eq!(at((&raw const *segment.wake_word(0)).cast()), 1024);
    assert_eq!(at((&raw const *segment.wake_word(63)).cast()), 1024 + 63 * 64);
    assert_eq!(at(segment.slots.as_ptr().cast()), 8192);
    assert_eq!(at(segment.index.as_ptr().cast()), 8192 + 3 * 128);
    assert_eq!(segment.geometry().index_offset(), 8192 + 3 * 128);
    assert_eq!(segment.geometry().segment_len(), 12288);
    assert_eq!(segment.index.len(), 12);
    assert_eq!((segment.wake_words(), segment.geometry().page_slots()), (64, 3));
}

#[test]
fn shape_has_its_limits() {
    assert!(
        SegmentGeometry::new(SegmentCounts { page_slots: 1, index_capacity: 1, wake_words: 1 }).is_some()
    );
    assert!(
        SegmentGeometry::new(SegmentCounts {
            page_slots: RING_SIZE_MAX + 2,
            index_capacity: 1,
            wake_words: WAKE_WORDS_MAX
        })
        .is_some()
    );
    for (slots, capacity, words) in [
        (0, 1, 1),
        (1, 0, 1),
        (1, 1, 0),
        (RING_SIZE_MAX + 3, 1, 1),
        (1, INDEX_CAPACITY_MAX + 1, 1),
        (1, 1, WAKE_WORDS_MAX + 1),
        (RING_SIZE_MAX, INDEX_CAPACITY_MAX, 1),
        (u32::MAX, u32::MAX, u32::MAX),
    ] {
        assert_eq!(
            SegmentGeometry::new(SegmentCounts {
                page_slots: slots,
                index_capacity: capacity,
                wake_words: words
            }),
            None,
            "{slots} {capacity} {words}"
        );
    }
}

#[test]
fn header_round_trips() {
    let memory = Memory::new(3, 4, 2);
    assert_eq!(memory.header().check(memory.len()), Err(SegmentFault::Unfinished));
    memory.publisher().format(memory.geometry, IDENTITY);
    assert_eq!(memory.header().check(memory.len()), Ok((memory.geometry, IDENTITY)));
    assert_eq!(memory.segment().identity(), IDENTITY);
    assert_eq!(memory.word(0).load(Ordering::Relaxed).to_le_bytes(), *b"WALDOCS\n");
}

/// A reader checks the header before it maps anything: from bytes of its own.
#[test]
fn a_header_that_was_read_says_what_the_mapped_one_says() {
    let memory = Memory::new(3, 4, 2);
    let read = || {
        let mut bytes = [0; size_of::<SegmentHeader>()];
        for (at, place) in bytes.chunks_exact_mut(8).enumerate() {
            place.copy_from_slice(&memory.word(8 * at).load(Ordering::Relaxed).to_le_bytes());
        }
        SegmentHeader::from_bytes(&bytes)
    };
    assert_eq!(read().check(memory.len()), Err(SegmentFault::Unfinished));
    memory.publisher().format(memory.geometry, IDENTITY);
    assert_eq!(read().check(memory.len()), Ok((memory.geometry, IDENTITY)));
    assert_eq!(read().stored_identity(), IDENTITY);
    for at in (0..size_of::<SegmentHeader>()).step_by(4) {
        let word = memory.word(at / 8 * 8);
        let before = word.load(Ordering::Relaxed);
        word.store(before ^ 1 << (at % 8 * 8), Ordering::Relaxed);
        assert_eq!(read().check(memory.len()), memory.header().check(memory.len()), "changed at {at}");
        assert_eq!(read().stored_identity(), memory.header().stored_identity(), "changed at {at}");
        word.store(before, Ordering::Relaxed);
    }
}

#[test]
fn header_faults_name_their_causes() {
    let check = |offset: usize, word: u64| {
        let memory = Memory::new(3, 4, 2);
        memory.publisher().format(memory.geometry, IDENTITY);
        memory.word(offset).store(word, Ordering::Relaxed);
        memory.header().check(memory.len())
    };
    assert_eq!(check(0, SEGMENT_MAGIC ^ 1), Err(SegmentFault::Magic));
    let newer = check(8, 2 | 2 << 32).unwrap_err();
    assert_eq!(newer, SegmentFault::Version { found: 2, known: 1 });
    assert!(newer.to_string().contains("use a newer waldo"), "{newer}");
    let newer = check(16, 8).unwrap_err();
    assert_eq!(newer, SegmentFault::Incompatible { flags: 8 });
    assert!(newer.to_string().contains("use a newer waldo"), "{newer}");
    assert!(check(24, 8).is_ok(), "compatible features are ignored");
    for (offset, word) in [
        (8, 1),
        (8, 1 | 65 << 32),
        (72, 12280),
        (72, u64::MAX),
        (80, 0),
        (80, 4 | 4 << 32),
        (80, 3 | 60 << 32),
        (80, u64::MAX),
        (88, 8192),
        (88, u64::MAX),
    ] {
        assert_eq!(check(offset, word), Err(SegmentFault::Range), "{word:#x} at {offset}");
    }
    let memory = Memory::new(3, 4, 2);
    memory.publisher().format(memory.geometry, IDENTITY);
    assert_eq!(memory.header().check(memory.len() - 1), Err(SegmentFault::Range), "the mapping is too short");
    // Found by those who open the object and know ring and boot.
    for fault in [SegmentFault::TooShort { len: 12 }, SegmentFault::ForeignRing, SegmentFault::Stale] {
        assert!(!fault.to_string().is_empty());
    }
}

#[test]
fn watermarks_and_status_round_trip() {
    let memory = Memory::new(1, 1, 1);
    let (segment, publisher) = (memory.segment(), memory.publisher());
    assert!(segment.committed().is_none() && segment.durable().is_none());
    assert_eq!(segment.status().state(), Some(WriterState::Init));
    let (end, durable) = (Position::new(5, 8200).unwrap(), Position::new(5, 8192).unwrap());
    publisher.commit(end, u64::MAX, 12);
    publisher.set_durable(durable);
    assert_eq!(segment.records(), Some(12));
    publisher.commit(end, u64::MAX, RECORDS_UNKNOWN);
    assert_eq!(segment.records(), None);
    publisher.set_writer(4, 1234, 250);
    publisher.beat(99);
    publisher.set_oldest_page(2);
    publisher.set_state(WriterState::Live);
    assert_eq!((segment.committed(), segment.durable(), segment.tip_seq_no()), (end, durable, u64::MAX));
    let status = segment.status();
    assert_eq!((status.epoch(), status.writer_pid(), status.heartbeat_interval_ns()), (4, 1234, 250));
    assert_eq!((status.heartbeat_ns(), status.oldest_page(), segment.oldest_page()), (99, 2, 2));
    assert_eq!((status.state(), status.errno()), (Some(WriterState::Live), 0));
    publisher.fail(5);
    assert_eq!((status.state(), status.errno()), (Some(WriterState::Failed), 5));
    publisher.set_writer(5, 1235, 250);
    assert_eq!((status.state(), status.errno()), (Some(WriterState::Failed), 5), "still that failure");
}

#[test]
fn states_have_their_numbers() {
    use WriterState::*;
    for (number, state) in [Init, Recovering, Live, Closed, Failed, Retired].into_iter().enumerate() {
        assert_eq!(WriterState::from_word(number as u32), Some(state));
    }
    assert_eq!(WriterState::from_word(6), None);
    let memory = Memory::new(1, 1, 1);
    memory.word(STATUS_OFFSET).store(u64::MAX, Ordering::Relaxed);
    assert_eq!(memory.segment().status().state(), None);
}

#[test]
fn counters_have_their_places() {
    let memory = Memory::new(1, 1, 1);
    let publisher = memory.publisher();
    for (n, (counter, name)) in Counter::ALL.into_iter().enumerate() {
        assert_eq!(counter as usize, n, "{name}");
        publisher.set(counter, 100);
        publisher.add(counter, n as u64);
        assert_eq!(memory.segment().counters().get(counter), 100 + n as u64);
        assert_eq!(memory.word(COUNTERS_OFFSET + 8 * n).load(Ordering::Relaxed), 100 + n as u64);
    }
    publisher.set(Counter::Records, u64::MAX);
    publisher.add(Counter::Records, 1);
    assert_eq!(memory.segment().counters().get(Counter::Records), 0, "wraps, does not panic");
}

#[test]
fn any_number_picks_a_wake_word() {
    let memory = Memory::new(1, 1, 3);
    let (segment, publisher) = (memory.segment(), memory.publisher());
    for n in [0, 1, 2, 3, 4, u32::MAX] {
        let token = segment.wake_token(n);
        let word = publisher.bump_wake(n % 3);
        assert!(core::ptr::eq(word, segment.wake_word(n)));
        assert_eq!(segment.wake_token(n), token + 1);
    }
    segment.wake_word(0).store(u32::MAX, Ordering::Relaxed);
    publisher.bump_wake(0);
    assert_eq!(segment.wake_token(0), 0);
}

/// Who has changed a word wakes sleepers of before, and not those who have looked since.
#[test]
fn the_next_thirty_one_values_of_a_wake_word_have_other_bits() {
    for token in [0, 1, 30, 31, 32, 1 << 31, u32::MAX] {
        assert_eq!(wake_bit(token).count_ones(), 1);
        for later in 1..32 {
            assert_ne!(wake_bit(token), wake_bit(token.wrapping_add(later)), "{token} {later}");
        }
        assert_eq!(wake_bit(token), wake_bit(token.wrapping_add(32)));
    }
}

#[test]
fn directory_says_what_it_was_told() {
    let memory = Memory::new(3, 4, 1);
    let (segment, publisher) = (memory.segment(), memory.publisher());
    for page in [0, 1, 2, 3, u64::MAX] {
        assert_eq!(segment.page(page), None);
        assert_eq!(segment.index_floor(page, IndexKey::SeqNo(u64::MAX)), None);
    }
    for page in 1..=3 {
        publisher.enter_page(&info(page));
    }
    assert_eq!([1, 2, 3].map(|page| segment.page(page)), [1, 2, 3].map(|page| Some(info(page))));
    publisher.seal_page(2, PageEnd { offset: 9000, last_seq_no: 299, records: 44 });
    let sealed = PageInfo { records_end: 9000, last_seq_no: 299, records: 44, ..info(2) };
    assert_eq!(segment.page(2), Some(sealed));
    publisher.seal_page(5, PageEnd { offset: 1, last_seq_no: 2, records: 3 });
    assert_eq!(segment.page(2), Some(sealed), "page 5 is not in the directory");
}

#[test]
fn where_a_page_begins_is_told_as_long_as_it_is_in_the_directory() {
    let memory = Memory::new(3, 4, 1);
    let (segment, publisher) = (memory.segment(), memory.publisher());
    assert_eq!([0, 1, 3].map(|page| segment.page_begin(page)), [None; 3], "of slots that were never used");
    for page in 1..=4 {
        publisher.enter_page(&info(page));
    }
    assert_eq!((segment.page_begin(2), segment.page_begin(4)), (Some((201, 2000)), Some((401, 4000))));
    assert_eq!((segment.page_begin(1), segment.page_begin(5)), (None, None));
    let version = memory.word(SLOTS_OFFSET + 2 * 128);
    version.store(version.load(Ordering::Relaxed) | 1, Ordering::Relaxed); // as while it changes
    assert_eq!(segment.page_begin(2), None);
}

#[test]
fn a_slot_is_reused_by_the_page_one_round_later() {
    let memory = Memory::new(3, 2, 1);
    let (segment, publisher) = (memory.segment(), memory.publisher());
    publisher.enter_page(&info(2));
    assert!(publisher.push_index(2, &entry(201)));
    publisher.seal_page(2, PageEnd { offset: 9000, last_seq_no: 299, records: 44 });
    publisher.enter_page(&info(5));
    assert_eq!((segment.page(2), segment.page(5)), (None, Some(info(5))));
    assert_eq!(segment.index_floor(2, IndexKey::SeqNo(u64::MAX)), None);
    assert_eq!(segment.index_floor(5, IndexKey::SeqNo(u64::MAX)), None, "entries of page 2 are gone");
    assert!(!publisher.push_index(2, &entry(202)), "so is the page");
    assert!(publisher.push_index(5, &entry(501)));
    assert_eq!(segment.index_floor(5, IndexKey::SeqNo(501)), Some(entry(501)));
    // A recovered page comes with what is known of it.
    let known = PageInfo { records_end: 8192, last_seq_no: 899, records: 9, ..info(8) };
    publisher.enter_page(&known);
    assert_eq!(segment.page(8), Some(known));
}

#[test]
fn a_full_index_refuses() {
    let memory = Memory::new(2, 2, 1);
    let publisher = memory.publisher();
    publisher.enter_page(&info(1));
    assert!(publisher.push_index(1, &entry(11)) && publisher.push_index(1, &entry(12)));
    assert!(!publisher.push_index(1, &entry(13)));
    assert_eq!(memory.segment().page(1).unwrap().index_len, 2);
    assert_eq!(memory.segment().index_floor(1, IndexKey::SeqNo(99)), Some(entry(12)));
    // The neighbour's entries are its own.
    publisher.enter_page(&info(2));
    assert_eq!(memory.segment().index_floor(2, IndexKey::SeqNo(99)), None);
}

#[test]
fn floor_finds_the_last_entry_not_above() {
    let memory = Memory::new(1, 8, 1);
    let (segment, publisher) = (memory.segment(), memory.publisher());
    publisher.enter_page(&info(1));
    for n in [10, 20, 30] {
        assert!(publisher.push_index(1, &entry(n)));
    }
    for (key, expected) in [(9, None), (10, Some(10)), (19, Some(10)), (20, Some(20)), (u64::MAX, Some(30))] {
        assert_eq!(segment.index_floor(1, IndexKey::SeqNo(key)), expected.map(entry), "{key}");
    }
    for (key, expected) in [(0, None), (100, None), (101, Some(10)), (300, Some(20)), (u64::MAX, Some(30))] {
        assert_eq!(segment.index_floor(1, IndexKey::TimeBefore(key)), expected.map(entry), "{key}");
    }
}

#[test]
fn floor_finds_its_way_among_uneven_entries() {
    // Evenly spread; in two heaps; growing ever faster; all but one at the end; not in order, as damage
    // leaves them.
    let spreads: [&dyn Fn(u64) -> u64; 5] = [
        &|n| n * 7 + 3,
        &|n| if n < 30 { n + 1 } else { n + 1_000_000 },
        &|n| 1 << n.min(50),
        &|n| if n == 0 { 1 } else { 1_000_000 + n },
        &|n| n * 7919 % 64 + 1,
    ];
    for (number, spread) in spreads.into_iter().enumerate() {
        for len in [1, 2, 3, 10, 50] {
            let memory = Memory::new(1, 64, 1);
            let (segment, publisher) = (memory.segment(), memory.publisher());
            publisher.enter_page(&info(1));
            let numbers: Vec<u64> = (0..len).map(spread).collect();
            for n in &numbers {
                assert!(publisher.push_index(1, &entry(*n)));
            }
            for key in numbers.iter().flat_map(|n| [n - 1, *n, n + 1]).chain([0, u64::MAX / 20, u64::MAX]) {
                let found = segment.index_floor(1, IndexKey::SeqNo(key));
                let before = segment.index_floor(1, IndexKey::TimeBefore(key));
                if number == 4 {
                    continue; // an answer, whichever
                }
                let expected = numbers.iter().rev().find(|n| **n <= key).map(|n| entry(*n));
                assert_eq!(found, expected, "{number} {len} {key}");
                let expected = numbers.iter().rev().map(|n| entry(*n)).find(|e| e.time_ns < key);
                assert_eq!(before, expected, "{number} {len} {key}");
            }
        }
    }
}

#[test]
fn a_slot_left_in_the_middle_of_a_change_is_hidden_until_it_is_replaced() {
    let memory = Memory::new(1, 2, 1);
    let (segment, publisher) = (memory.segment(), memory.publisher());
    publisher.enter_page(&info(1));
    let version = memory.word(SLOTS_OFFSET);
    let before = version.load(Ordering::Relaxed);
    assert_eq!(before % 2, 0);
    version.store(before | 1, Ordering::Relaxed); // as a writer leaves it that is killed here
    assert_eq!(segment.page(1), None);
    assert_eq!(segment.index_floor(1, IndexKey::SeqNo(u64::MAX)), None);
    publisher.enter_page(&info(1));
    assert_eq!(segment.page(1), Some(info(1)));
    assert!(version.load(Ordering::Relaxed) > before && version.load(Ordering::Relaxed).is_multiple_of(2));
}

#[test]
fn half_a_seal_is_no_seal() {
    let memory = Memory::new(1, 1, 1);
    memory.publisher().enter_page(&info(1));
    memory.word(SLOTS_OFFSET + 72).store(199, Ordering::Relaxed); // last_seq_no, records_end still zero
    memory.word(SLOTS_OFFSET + 80).store(7, Ordering::Relaxed);
    assert_eq!(memory.segment().page(1), Some(info(1)));
}

proptest! {
    #[test]
    fn any_header_is_checked_without_panic(
        words in prop::array::uniform16(any::<u64>()),
        keep in prop::array::uniform16(any::<bool>()),
        mapped_len in prop_oneof![any::<u64>(), Just(12288)],
    ) {
        let memory = Memory::new(3, 4, 2);
        memory.publisher().format(memory.geometry, IDENTITY);
        for (n, word) in words.into_iter().enumerate().filter(|(n, _)| !keep[*n]) {
            memory.word(8 * n).store(word, Ordering::Relaxed);
        }
        if let Ok((geometry, _)) = memory.header().check(mapped_len) {
            prop_assert!(geometry.segment_len() <= mapped_len);
            prop_assert!(geometry.page_slots() > 0 && geometry.wake_words() > 0 && geometry.index_capacity() > 0);
        }
    }

    /// Behind a good header anything may stand: readers get an answer or none, and never leave the segment.
    #[test]
    fn any_bytes_behind_the_header_give_an_answer(
        words in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..8], 1536),
        page in prop_oneof![any::<u64>(), 0u64..8],
        key: u64,
        reader: u32,
    ) {
        let memory = Memory::new(3, 40, 5);
        let segment = memory.segment();
        prop_assert_eq!(memory.len(), 12288);
        for (n, word) in words.into_iter().enumerate().skip(32) {
            memory.word(8 * n).store(word, Ordering::Relaxed);
        }
        let _ = (segment.committed(), segment.durable(), segment.tip_seq_no(), segment.oldest_page());
        let _ = (segment.status().state(), segment.wake_token(reader), segment.page(page));
        for (counter, _) in Counter::ALL {
            let _ = segment.counters().get(counter);
        }
        let _ = segment.index_floor(page, IndexKey::SeqNo(key));
        let _ = segment.index_floor(page, IndexKey::TimeBefore(key));
        prop_assert_eq!(segment.page(0), None);
        // A writer that takes such a segment over does not stumble either.
        let publisher = memory.publisher();
        let _ = publisher.push_index(page, &entry(1));
        publisher.seal_page(page, PageEnd { offset: 1, last_seq_no: 2, records: 3 });
    }

    #[test]
    fn floor_agrees_with_a_walk(
        gaps in prop::collection::vec(1u64..5, 0..20),
        key in 0u64..100,
    ) {
        let memory = Memory::new(1, 20, 1);
        memory.publisher().enter_page(&info(1));
        let mut seq_no = 0;
        let entries: Vec<_> = gaps.iter().map(|gap| { seq_no += gap; entry(seq_no) }).collect();
        for entry in &entries {
            prop_assert!(memory.publisher().push_index(1, entry));
        }
        let by_seq = entries.iter().rfind(|e| e.seq_no <= key).copied();
        let by_time = entries.iter().rfind(|e| e.time_ns < key).copied();
        prop_assert_eq!(memory.segment().index_floor(1, IndexKey::SeqNo(key)), by_seq);
        prop_assert_eq!(memory.segment().index_floor(1, IndexKey::TimeBefore(key)), by_time);
    }
}
