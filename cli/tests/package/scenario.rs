//! What happens in the clean root.

use crate::clean_root::{CleanRoot, READER};
use crate::followers::{FORMAT, Followers, HOME};
use crate::producers::{LINES, Producers, payload};
use crate::service::Service;
use crate::{package, wait_until};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// Printed at the end: an empty run is no success.
pub const DONE: &str = "nothing lost, nothing twice";

/// Portions of lines for each producer and life of the service.
const PORTIONS: u64 = 5;

/// How many of each.
struct Size {
    producers: u64,
    readers: u64,
    kills: u64,
}

impl Size {
    fn chosen() -> Size {
        let number = |name: &str, short, long| {
            let given = std::env::var(name).ok().map(|text| text.parse().unwrap());
            given.unwrap_or(if package().is_some() { long } else { short })
        };
        Size {
            producers: number("WALDO_TEST_PRODUCERS", 8, 50),
            readers: number("WALDO_TEST_READERS", 10, 100),
            kills: number("WALDO_TEST_KILLS", 3, 20),
        }
    }
}

pub fn run(place: &Path) {
    let size = Size::chosen();
    let start = Instant::now();
    let root = CleanRoot::new(place, package().as_deref());
    println!("{}", root.run(READER, "/usr/bin/waldo", &["--version"]).trim());
    let plan =
        root.run(root.user, "/usr/bin/waldo-service", &["--config", "/etc/waldo/service.toml", "--check"]);
    assert!(plan.contains(HOME), "{plan}");
    let followers = Followers::start(&root, place, size.readers);
    let producers = Producers::start(&root, place, size.producers);
    let mut service = Service::start(&root, place);
    let round = size.producers * PORTIONS * LINES;
    for life in 0..=size.kills {
        producers.feed(PORTIONS);
        // Between the first record that this life has stored and the last one that it has been sent.
        let enough = life * round + 1 + (life % 4) * (round - 1) / 4;
        wait_until("records are stored", || {
            service.assert_alive();
            followers.assert_alive(place);
            followers.first_seen() >= enough
        });
        if life < size.kills {
            service.kill();
            service = Service::start(&root, place);
        }
    }
    producers.finish(place);
    let opened = service.log().matches("which had not been closed").count() as u64;
    service.stop();
    let lines = root.run(READER, "/usr/bin/waldo", &[&FORMAT[..], &[HOME]].concat());
    assert_each_once(&lines, size.producers, (size.kills + 1) * PORTIONS * LINES);
    followers.finish(&lines);
    root.run(READER, "/usr/bin/waldo", &["verify", HOME]);
    println!(
        "{DONE}: {} producers, {} readers, killed {} times, {opened} openings of a ring that had not been closed, {} records \
         stored, {} read, {:.1} s",
        size.producers,
        size.readers,
        size.kills,
        lines.lines().count(),
        lines.lines().count() as u64 * size.readers,
        start.elapsed().as_secs_f64()
    );
}

/// Each producer's records are there, in its order, once.
fn assert_each_once(lines: &str, producers: u64, each: u64) {
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines.lines() {
        let (_, record) = line.split_once(' ').unwrap();
        let name = record.split(' ').next().unwrap();
        let number = next.entry(name).or_insert(1);
        assert_eq!(record, payload(name, *number), "lost or twice: {line}");
        *number += 1;
    }
    let expected = (0..producers).map(|index| (format!("producer-{index}"), each + 1));
    let expected: BTreeMap<String, u64> = expected.collect();
    let found: BTreeMap<String, u64> =
        next.into_iter().map(|(name, number)| (name.to_owned(), number)).collect();
    assert_eq!(found, expected, "names and next numbers");
}
