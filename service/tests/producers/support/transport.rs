//! Over what the tests' producers send: every test runs once with each.

use super::raw::{TRANSPORT, by_lane};
use std::process::Command;
use waldo_service::ServiceOptions;

/// The service's options for this transport: over the socket alone where nobody is to have a lane.
pub fn apply(options: ServiceOptions) -> ServiceOptions {
    if by_lane() { options } else { options.lanes_max(0) }
}

/// This test binary once more, with producers that send through lanes. What is about half a frame on the socket
/// has a test of its own for lanes.
#[test]
fn every_test_holds_through_a_lane_too() {
    if by_lane() {
        return;
    }
    let skipped = ["child_entry", "every_test_holds", "half_a_frame_stores_nothing", "lanes::"];
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(skipped.iter().flat_map(|name| ["--skip", name])).env(TRANSPORT, "lane");
    let done = tests.output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{text}\n{}", String::from_utf8_lossy(&done.stderr));
    // Not a run of nothing.
    assert!(text.matches("... ok").count() > 20, "{text}");
}
