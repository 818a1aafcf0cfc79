//! How many are kept.

use super::*;

#[test]
fn some_are_kept_and_never_more_than_half() {
    assert_eq!(connections_max(65536, 1), 65408);
    assert_eq!(connections_max(64, 1), 32);
    assert_eq!(connections_max(0, 1), 0);
    assert!(!are_scarce(&std::io::stderr()));
}

/// One of many rings may begin a page while all connections are taken.
#[test]
fn each_ring_has_its_own_kept() {
    assert_eq!(connections_max(65536, 20), 65536 - 64 - 20 * 64);
    assert_eq!(connections_max(1024, 20), 512);
}
