//! The first time, and after each pause.

use super::*;

#[test]
fn it_is_due_at_once_and_then_after_each_pause() {
    let start = Instant::now();
    let mut pace = Pace::default();
    let due: Vec<u64> =
        (0..25).filter(|second| pace.is_due_at(start + Duration::from_secs(*second))).collect();
    assert_eq!(due, [0, 10, 20]);
}
