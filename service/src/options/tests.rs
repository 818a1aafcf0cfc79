//! Values at the edge.

use super::*;

#[test]
fn names_that_are_kept_for_ever_are_not_forgotten() {
    let since = |kept| ServiceOptions::default().names_kept(kept).names_kept_since(5000);
    assert_eq!(since(Duration::from_secs(2)), 3000);
    assert_eq!(since(Duration::from_secs(6)), 0);
    // In 64 bits the milliseconds of this one are few.
    assert_eq!(since(Duration::from_secs(u64::MAX / 1000 + 1)), 0);
    assert_eq!(since(Duration::MAX), 0);
}
