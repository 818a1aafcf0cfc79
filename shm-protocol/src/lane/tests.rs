//! Both ends on memory of the test's own, the other end honest and not.

use super::*;
use crate::sync::Ordering;
use proptest::prelude::*;

/// A lane in ordinary memory.
struct Memory {
    producer: ProducerLine,
    service: ServiceLine,
    words: Vec<AtomicU64>,
}

impl Memory {
    fn new(words: usize) -> Memory {
        let words = (0..words).map(|_| AtomicU64::new(u64::MAX)).collect();
        Memory { producer: ProducerLine::default(), service: ServiceLine::default(), words }
    }

    fn lane(&self) -> Lane<'_> {
        Lane { producer: &self.producer, service: &self.service, words: &self.words }
    }
}

#[test]
fn only_powers_of_two_are_sizes() {
    for capacity in [0, 1, 4095, 4097, 12_288, LANE_CAPACITY_MAX * 2, u64::MAX] {
        assert_eq!(LaneGeometry::new(capacity), Err(LaneFault::Capacity { capacity }));
    }
    for capacity in [LANE_CAPACITY_MIN, 256 << 10, LANE_CAPACITY_MAX] {
        let geometry = LaneGeometry::new(capacity).unwrap();
        assert_eq!((geometry.capacity(), geometry.lane_len()), (capacity, 4096 + capacity));
    }
}

#[test]
#[allow(unsafe_code, reason = "the constructor that mappings use, over memory of the test's own")]
fn a_lane_over_raw_memory_has_its_parts_where_the_format_says() {
    #[repr(C, align(128))]
    struct Bytes([u64; 1024]);
    let mut bytes = Box::new(Bytes([0; 1024]));
    let base = NonNull::from(&mut *bytes).cast();
    // SAFETY: the box is aligned, long enough, and outlives the lane; nothing else looks into it meanwhile.
    let lane = unsafe { Lane::from_raw(base, LaneGeometry::new(4096).unwrap()) };
    let (mut filler, mut drain) = (LaneFiller::new(), LaneDrain::new(&lane));
    assert_eq!(filler.put(&lane, &[7; 20]), Ok(20));
    assert!(filler.must_wake(&lane));
    assert_eq!(drain.look(&lane), Ok(24));
    assert_eq!(drain.take(&lane, 16, &mut Vec::new()), 16);
    filler.wait(&lane).unwrap();
    // filled, taken, the words.
    assert_eq!((bytes.0[0], bytes.0[16]), (24, 16));
    assert_eq!(bytes.0[512..516], [0x0707_0707_0707_0707, 0x0707_0707_0707_0707, 0x0707_0707, 0]);
}

#[test]
fn each_side_wakes_the_other_once_and_only_if_it_sleeps() {
    let memory = Memory::new(2);
    let lane = memory.lane();
    let (mut filler, mut drain) = (LaneFiller::new(), LaneDrain::new(&lane));
    filler.put(&lane, &[1; 8]).unwrap();
    assert!(filler.must_wake(&lane), "it sleeps from the beginning");
    assert!(!filler.must_wake(&lane));
    assert!(!drain.sleep(&lane).unwrap(), "there are bytes");
    assert!(!filler.must_wake(&lane));
    assert!(!filler.wait(&lane).unwrap(), "there is room");
    assert!(!drain.must_wake(&lane));
    filler.put(&lane, &[1; 8]).unwrap();
    assert!(filler.wait(&lane).unwrap());
    drain.look(&lane).unwrap();
    drain.take(&lane, 16, &mut Vec::new());
    assert!(drain.must_wake(&lane));
    assert!(!drain.must_wake(&lane));
    assert!(drain.sleep(&lane).unwrap());
    assert!(filler.must_wake(&lane));
}

#[test]
fn a_producer_that_says_what_cannot_be_is_found_out() {
    let memory = Memory::new(8);
    let lane = memory.lane();
    let mut drain = LaneDrain::new(&lane);
    let mut filler = LaneFiller::new();
    filler.put(&lane, &[1; 40]).unwrap();
    drain.look(&lane).unwrap();
    drain.take(&lane, 16, &mut Vec::new());
    // Back, behind what is taken, half a word, and one word more than there is room for.
    for filled in [32, 8, 0, 44, 16 + 64 + 8, u64::MAX, u64::MAX - 7] {
        memory.producer.filled.store(filled, Ordering::Relaxed);
        let fault = LaneFault::Filled { filled, before: 40, taken: 16, capacity: 64 };
        assert_eq!(drain.look(&lane), Err(fault));
        assert_eq!(drain.sleep(&lane), Err(fault));
    }
    // Nothing of that has changed what the service goes by.
    memory.producer.filled.store(16 + 64, Ordering::Relaxed);
    assert_eq!(drain.look(&lane), Ok(64));
}

#[test]
fn a_service_that_says_what_cannot_be_is_found_out() {
    let memory = Memory::new(8);
    let lane = memory.lane();
    let mut filler = LaneFiller::new();
    filler.put(&lane, &[1; 64]).unwrap();
    memory.service.taken.store(32, Ordering::Relaxed);
    assert_eq!(filler.put(&lane, &[2; 100]), Ok(32));
    for taken in [24, 0, 33, 104, u64::MAX - 7] {
        memory.service.taken.store(taken, Ordering::Relaxed);
        let fault = LaneFault::Taken { taken, before: 32, filled: 96 };
        assert_eq!(filler.put(&lane, &[3]), Err(fault));
        assert_eq!(filler.wait(&lane), Err(fault));
    }
}

proptest! {
    /// Frames of any length, put and taken in pieces of any length, over many turns of the circle.
    #[test]
    fn what_is_taken_is_what_was_put(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..90), 1..40),
        pieces in prop::collection::vec(1..12_usize, 1..20),
    ) {
        let memory = Memory::new(4);
        let lane = memory.lane();
        let (mut filler, mut drain) = (LaneFiller::new(), LaneDrain::new(&lane));
        let mut pieces = pieces.iter().cycle().map(|piece| piece * 8);
        for frame in &frames {
            let (mut put, mut out) = (0, Vec::new());
            while out.len() < frame.len() {
                put += filler.put(&lane, &frame[put..]).unwrap();
                drain.look(&lane).unwrap();
                let len = pieces.next().unwrap_or(8).min(frame.len() - out.len());
                drain.take(&lane, len, &mut out);
            }
            prop_assert_eq!(&out, frame);
        }
    }
}
