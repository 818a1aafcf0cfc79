//! The market-data fan-out.

use crate::place::{Place, until};
use crate::program::{Running, program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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

/// The processes that `publisher` has started.
fn children(publisher: &Running) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", publisher.id())).unwrap();
    children.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

fn published(place: &Place) -> Option<u64> {
    waldo::reader::Ring::attach(place.ring()).ok()?.status().ok()?.tip_seq_no
}

/// A process that is stopped, for as long as this lives.
struct Stopped(Pid);

impl Stopped {
    fn new(id: u32) -> Stopped {
        let pid = Pid::from_raw(id as i32);
        kill(pid, Signal::SIGSTOP).unwrap();
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// It waited for a last quote that it had been carried past, and the publisher waited for it.
#[test]
fn a_subscriber_that_was_overtaken_ends_with_the_others() {
    let place = Place::in_memory();
    let mut command = program("market_data");
    command.arg("run").arg(place.ring()).args(["--sleepers", "2", "--quotes", "300000", "--rate", "1000000"]);
    let mut publisher = Running::start(&mut command);
    until("quotes are published", || children(&publisher).len() == 3 && published(&place).is_some());
    let stopped = Stopped::new(children(&publisher)[2]);
    until("all quotes are published", || published(&place) == Some(300_000));
    drop(stopped);
    // The publisher prints what it got from them and ends: a line each for those that spin and that sleep.
    assert!(publisher.line().is_some() && publisher.line().is_some());
    assert!(publisher.end().success());
}

#[test]
fn subscribers_end_when_the_publisher_has_been_killed() {
    let place = Place::new();
    let mut command = program("market_data");
    command.arg("run").arg(place.ring()).args(["--sleepers", "2", "--quotes", "1000000", "--rate", "100"]);
    let mut publisher = Running::start(&mut command);
    // Quotes are published from the moment on that all of them have attached.
    until("the subscribers run", || children(&publisher).len() == 3 && published(&place).is_some());
    let subscribers = children(&publisher).into_iter().map(|id| format!("/proc/{id}/cmdline"));
    let subscribers: Vec<_> = subscribers.collect();
    publisher.kill();
    // Nothing is left in a process that has ended, whoever has to collect it.
    let ended = |path: &String| std::fs::read(path).is_ok_and(|line| line.is_empty());
    until("the subscribers end", || subscribers.iter().all(|s| !std::fs::exists(s).unwrap() || ended(s)));
}
