//! Claims, and what is left of them.

use super::*;
use proptest::prelude::*;

fn claim(number: u64, seq_no: u64, count: u32) -> Claim {
    Claim { number, seq_no, count }
}

fn producer() -> Producer {
    Producer::new("name".into(), 0)
}

#[test]
fn runs_that_continue_each_other_are_one() {
    let mut producer = producer();
    assert!(producer.is_new());
    producer.claim(claim(1, 11, 5));
    producer.claim(claim(6, 16, 5));
    producer.claim(claim(11, 30, 1));
    assert_eq!(producer.claims, [claim(1, 11, 10), claim(11, 30, 1)]);
    assert_eq!(producer.last(), 11);
    assert_eq!([1, 10, 11, 12].map(|number| producer.seq_of(number)), [Some(11), Some(20), Some(30), None]);
}

#[test]
fn the_oldest_runs_are_forgotten_but_not_that_they_were() {
    let mut producer = producer();
    for number in 1..=1000 {
        producer.claim(claim(number, 2 * number, 1));
    }
    assert_eq!((producer.claims.len(), producer.last()), (CLAIMS_MAX, 1000));
    assert_eq!(producer.seq_of(1000), Some(2000));
    assert_eq!(producer.seq_of(1), None);
    producer.clip(0);
    assert_eq!(producer.last(), 1000 - CLAIMS_MAX as u64);
}

#[test]
fn those_that_nobody_uses_go_first() {
    let mut producers = Producers::default();
    for index in 0..10 {
        producers.add(Producer::new(index.to_string(), 100 - index));
    }
    producers.shrink_to(8);
    assert_eq!((producers.find("9"), producers.find("8")), (None, None));
    assert!(producers.find("7").is_some());
    producers.forget_unused(96);
    assert_eq!(producers.len(), 5);
    // A number may come back under another name, and a name under another number.
    let id = producers.find("0").unwrap();
    producers.put(id, Producer::new("new".into(), 0));
    assert_eq!((producers.find("0"), producers.find("new")), (None, Some(id)));
    producers.put(77, Producer::new("new".into(), 0));
    assert_eq!((producers.find("new"), producers.get(id).is_none()), (Some(77), true));
    assert_eq!(producers.len(), 5);
}

proptest! {
    /// Against a plain list of (number, sequence number).
    #[test]
    fn clipped_claims_hold_what_lies_within_the_log(
        runs in prop::collection::vec((1..20_u32, 0..3_u64), 1..50),
        cut in 0..100_u64,
    ) {
        let (mut producer, mut list) = (producer(), Vec::new());
        let (mut number, mut seq_no) = (1, 1);
        for (count, gap) in runs {
            seq_no += gap;
            producer.claim(claim(number, seq_no, count));
            list.extend((0..u64::from(count)).map(|n| (number + n, seq_no + n)));
            number += u64::from(count);
            seq_no += u64::from(count);
        }
        let tip = seq_no * cut / 100;
        producer.clip(tip);
        list.retain(|(_, seq_no)| *seq_no <= tip);
        prop_assert_eq!(producer.last(), list.last().map_or(0, |(number, _)| *number));
        for (number, seq_no) in list {
            prop_assert_eq!(producer.seq_of(number), Some(seq_no));
        }
    }
}
