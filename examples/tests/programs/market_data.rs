//! The market-data fan-out.

use crate::place::{Place, until};
use crate::program::{Running, program};

#[test]
fn every_subscriber_gets_every_quote_and_latencies_are_printed() {
    let place = Place::new();
    let mut command = program("market_data");
    command.arg("run").arg(place.ring()).args(["--sleepers", "8", "--quotes", "500", "--rate", "2000"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..4], ["1", "spinning", "500", "quotes"], "{text}");
    assert_eq!(rows[1][..4], ["8", "sleeping", "4000", "quotes"], "{text}");
    assert!(rows.iter().all(|row| row.ends_with(&["us"]) && row.contains(&"99%")), "{text}");
}

#[test]
fn subscribers_end_when_the_publisher_has_been_killed() {
    let place = Place::new();
    let mut command = program("market_data");
    command.arg("run").arg(place.ring()).args(["--sleepers", "2", "--quotes", "1000000", "--rate", "100"]);
    let mut publisher = Running::start(&mut command);
    let children = format!("/proc/{0}/task/{0}/children", publisher.id());
    let mut subscribers = Vec::new();
    until("the subscribers run", || {
        let ids = std::fs::read_to_string(&children).unwrap();
        subscribers = ids.split_whitespace().map(|id| format!("/proc/{id}/cmdline")).collect();
        // Quotes are published from the moment on that all of them have attached.
        let tip =
            waldo::reader::Ring::attach(place.ring()).ok().and_then(|ring| ring.status().ok()?.tip_seq_no);
        subscribers.len() == 3 && tip.is_some()
    });
    publisher.kill();
    // Nothing is left in a process that has ended, whoever has to collect it.
    let ended = |path: &String| std::fs::read(path).is_ok_and(|line| line.is_empty());
    until("the subscribers end", || subscribers.iter().all(|s| !std::fs::exists(s).unwrap() || ended(s)));
}
