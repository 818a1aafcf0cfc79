//! How many are kept.

use super::*;

#[test]
fn some_are_kept_and_never_more_than_half() {
    assert_eq!(connections_max(65536), 65408);
    assert_eq!(connections_max(64), 32);
    assert_eq!(connections_max(0), 0);
    assert!(!are_scarce(&std::io::stderr()));
}
