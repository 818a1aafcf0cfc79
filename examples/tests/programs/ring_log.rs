//! The log in a ring.

use crate::place::Place;
use crate::program::program;
use waldo::reader::{Cursor, Ring};

/// Logs so many events through a queue of this size. The lines in the ring, and what the program counted.
fn log(place: &Place, events: u64, queue: u64) -> (Vec<String>, u64) {
    let mut command = program("ring_log");
    command.arg(place.ring()).args(["--events", &events.to_string(), "--queue", &queue.to_string()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let dropped = text.trim().strip_prefix(&format!("{events} events, ")).unwrap();
    let dropped = dropped.strip_suffix(" dropped").unwrap().parse().unwrap();
    let mut reader = Ring::attach(place.ring()).unwrap().reader(Cursor::Oldest).unwrap();
    let mut lines = Vec::new();
    while let Some(batch) = reader.poll().unwrap() {
        lines.extend(batch.iter().map(|record| String::from_utf8(record.data().to_vec()).unwrap()));
    }
    (lines, dropped)
}

#[test]
fn every_event_is_a_record() {
    let place = Place::new();
    let (lines, dropped) = log(&place, 1000, 10_000);
    assert_eq!((lines.len(), dropped), (1000, 0));
    for (n, line) in lines.iter().enumerate() {
        let span = format!("request{{n={n}}}");
        let says = if n % 100 == 99 { "slow seconds=1.5" } else { "served" };
        assert!(line.contains(&span) && line.ends_with(says), "{line}");
    }
}

#[test]
fn dropped_events_are_counted_and_the_log_says_where() {
    let place = Place::new();
    let (lines, dropped) = log(&place, 5000, 10);
    let notes = lines
        .iter()
        .filter_map(|line| line.strip_suffix(" events were dropped here: the ring could not keep up"));
    let noted: u64 = notes.clone().map(|number| number.parse::<u64>().unwrap()).sum();
    let kept = lines.len() as u64 - notes.count() as u64;
    assert!(dropped > 0);
    assert_eq!((noted, kept), (dropped, 5000 - dropped));
}
