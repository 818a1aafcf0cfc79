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

/// Half of few connections would be less than a user had before there was a limit.
#[test]
fn one_user_has_three_quarters_of_the_connections_unless_told_otherwise() {
    let of_user = |options: ServiceOptions| options.connections_of_user_max();
    let producers = |max| ServiceOptions::default().producers_max(max);
    assert_eq!(of_user(ServiceOptions::default()), 3072);
    assert_eq!([1, 2, 3, 4, 5].map(|max| of_user(producers(max))), [1, 2, 3, 3, 4]);
    assert_eq!(of_user(producers(9).connections_per_user(3)), 3);
    assert_eq!(of_user(producers(9).connections_per_user(0)), 0);
}
