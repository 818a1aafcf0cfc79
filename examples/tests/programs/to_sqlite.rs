//! The consumer that is killed, and counts each record once.

use crate::place::{Place, Random, until};
use crate::program::{Running, program};
use nix::sys::signal::Signal;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use waldo::writer::{Durability, Writer, WriterOptions};

/// The last record that is in the accounts. 0 as long as there is none, or no database.
fn place_of(database: &Path) -> u64 {
    let Ok(connection) = Connection::open(database) else { return 0 };
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection.query_row("SELECT seq_no FROM place", [], |row| row.get(0)).unwrap_or(0)
}

fn accounts(database: &Path) -> BTreeMap<String, i64> {
    let connection = Connection::open(database).unwrap();
    let mut rows = connection.prepare("SELECT name, balance FROM account").unwrap();
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

#[test]
fn each_record_counts_once_however_often_the_consumer_is_killed() {
    let place = Place::new();
    let database = place.path("accounts.db");
    let mut random = Random::new();
    let options = WriterOptions::default().durability(Durability::Sync).page_len(1 << 20);
    let mut writer = Writer::open(place.ring(), options).unwrap();
    // Reported, and in the way of nothing.
    let most = format!("rich {}", i64::MAX);
    writer.append_payloads(&["nonsense", &most, "rich 1"]).unwrap();
    let mut expected = BTreeMap::from([("rich".to_owned(), i64::MAX)]);
    let mut append = |random: &mut Random| {
        let mut records = Vec::new();
        for _ in 0..1 + random.below(20) {
            let (account, amount) = (format!("account {}", random.below(10)), random.below(100) as i64 - 50);
            records.push(format!("{account} {amount}"));
            *expected.entry(account).or_insert(0) += amount;
        }
        writer.append_payloads(&records).unwrap();
    };
    let start = || Running::start(program("to_sqlite").arg(place.ring()).arg(&database));
    for _ in 0..12 {
        let mut consumer = start();
        let before = place_of(&database);
        for _ in 0..4 + random.below(8) {
            append(&mut random);
        }
        until("the consumer goes on", || place_of(&database) > before);
        for _ in 0..random.below(8) {
            append(&mut random);
        }
        consumer.kill();
    }
    let tip = writer.tip().unwrap();
    let consumer = start();
    until("the consumer has read everything", || place_of(&database) == tip);
    consumer.signal(Signal::SIGINT);
    assert!(consumer.end().success());
    assert_eq!(accounts(&database), expected);
    writer.close().unwrap();
}

#[test]
fn of_two_consumers_one_ends_and_each_record_counts_once() {
    let place = Place::new();
    let database = place.path("accounts.db");
    let mut writer = Writer::open(place.ring(), WriterOptions::default().page_len(1 << 20)).unwrap();
    let mut consumers =
        [(); 2].map(|()| Running::start(program("to_sqlite").arg(place.ring()).arg(&database)));
    until("one of both gives way", || {
        writer.append_payloads(&["ann 1"]).unwrap();
        consumers.iter_mut().filter_map(|consumer| consumer.is_running().then_some(())).count() == 1
    });
    let tip = writer.tip().unwrap();
    until("the other one has read everything", || place_of(&database) == tip);
    assert_eq!(accounts(&database), BTreeMap::from([("ann".to_owned(), tip as i64)]));
    writer.close().unwrap();
}
