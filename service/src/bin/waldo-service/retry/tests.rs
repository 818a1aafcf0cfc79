//! What is tried again, and how often.

use super::*;
use waldo::writer::OpenError;

#[test]
fn the_pauses_grow_and_what_needs_a_person_is_not_tried_again() {
    let mut retry = None;
    let pauses: Vec<u64> = (0..8)
        .map(|_| {
            retry = Retry::after(&anyhow::anyhow!("the disk is full"), retry);
            retry.unwrap().pause.as_secs()
        })
        .collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    let damaged = OpenError::MissingPage { path: "x".into() };
    assert!(Retry::after(&damaged.into(), retry).is_none());
}

#[test]
fn a_ring_that_was_served_for_longer_than_the_longest_pause_begins_anew() {
    let retry = Retry { at: Instant::now(), pause: Duration::from_secs(8) };
    let pause = |served| {
        let before = Retry::that_counts(Some(retry), Duration::from_secs(served));
        Retry::after(&anyhow::anyhow!("the disk is full"), before).unwrap().pause.as_secs()
    };
    assert_eq!([0, 60, 61].map(pause), [16, 16, 1]);
}
