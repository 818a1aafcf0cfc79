//! Who is counted, and for how long.

use super::*;

#[test]
fn each_user_has_a_limit_of_their_own_and_gets_room_back() {
    let users = Arc::new(Users::default());
    let first = users.count(7, 2);
    let second = users.count(7, 2);
    assert!(first.is_some() && second.is_some());
    assert!(users.count(7, 2).is_none(), "one too many");
    let other = users.count(8, 2);
    assert!(other.is_some(), "another user is not concerned");
    drop(first);
    let third = users.count(7, 2);
    assert!(third.is_some(), "there is room again");
    assert!(users.count(7, 0).is_some(), "0 is no limit");
    drop((second, third, other));
    assert!(users.0.lock().is_empty(), "nothing is kept of who has gone");
}
