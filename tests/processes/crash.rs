//! Writers that are killed again and again while readers look on.

use crate::roles::writer_append;
use crate::support::child::Child;
use crate::support::payload::{check_batch, mix};
use crate::support::ring::{Setup, TestRing, careful};
use crate::support::wait::wait_until;
use waldo::protocol::names;
use waldo::reader::{Cursor, verify};

const KILLS: u64 = 50;

/// Large enough that nobody is lapped. Everything else changes from one start to the next.
fn setup(round: u64) -> Setup {
    let all = Setup::all();
    let setup = all[round as usize % all.len()];
    Setup { ring_size: 1024, page_len: [64, 128, 256][(round % 3) as usize] << 10, max: 4000, ..setup }
}

/// Reads the log after `from` anew, up to record `tip`.
fn read(ring: &TestRing, from: u64, tip: u64, max: usize) {
    let mut reader = ring.attach().reader_with(Cursor::After(from), careful()).unwrap();
    let mut last = from;
    while let Some(batch) = reader.poll().unwrap() {
        last = check_batch(&batch, last, max);
    }
    assert_eq!(last, tip);
}

#[test]
fn what_was_acknowledged_survives_the_death_of_the_writer() {
    let ring = TestRing::new();
    let max = setup(0).max;
    let mut readers: Vec<Child> = Vec::new();
    // The last record that was acknowledged, and where the log ended when it was opened last.
    let (mut acked, mut opened, mut cuts) = (0, 0, 0);
    let mut random = 7;
    for round in 0..KILLS {
        let setup = setup(round);
        if round % 7 == 3 {
            // Killed while it opens the ring: the next start must find the same.
            let mut writer = Child::spawn("writer", setup.args(ring.home()));
            let pid = format!("{}\n", writer.pid());
            let lock = ring.home().join(names::LOCK);
            wait_until("the lock is taken", || std::fs::read_to_string(&lock).is_ok_and(|text| text == pid));
            writer.kill();
        }
        let mut writer = Child::spawn("writer", setup.args(ring.home()));
        let words = writer.expect("opened");
        let (clean, tip): (bool, u64) = (words[0].parse().unwrap(), words[1].parse().unwrap());
        assert!(!clean, "round {round}");
        assert!(tip >= acked, "round {round}: {acked} was acknowledged, the log ends at {tip}");
        cuts += u64::from(words[3] != "0");
        read(&ring, opened, tip, max);
        opened = tip;
        if round == 0 {
            readers.extend((0..3).map(|_| Child::spawn("follower", setup.args(ring.home()))));
            readers.iter_mut().for_each(|reader| drop(reader.expect("ready")));
        }
        random = mix(random);
        let acks = 1 + random % 12;
        // Every engine and kind of durability in turn, then once more with many appends in flight.
        let how = if (round as usize / Setup::all().len()).is_multiple_of(2) { "torrent" } else { "flood" };
        writer.say(format!("{how} {random} {}", acks + 30));
        for _ in 0..acks {
            acked = writer.numbers("acked")[0];
        }
        writer.kill();
        for message in writer.hear_rest() {
            // The last line may be cut short by the kill.
            if let [word, number] = &message[..]
                && word == "acked"
                && let Ok(number) = number.parse::<u64>()
            {
                acked = acked.max(number);
            }
        }
    }
    let last_setup = setup(KILLS);
    let mut writer = ring.writer(&last_setup);
    assert!(writer.tip().unwrap() >= acked);
    writer_append(&mut writer, 100, 10, max);
    let tip = writer.tip().unwrap();
    read(&ring, 0, tip, max);
    for mut reader in readers {
        reader.say(tip);
        assert_eq!(reader.skip_to("done"), [tip, 0, tip]);
        reader.finish();
    }
    writer.close().unwrap();
    let report = verify::verify(ring.home(), &mut |_| {}).unwrap();
    println!("{KILLS} kills, {cuts} torn tails, {report:?}");
}

#[test]
fn the_number_of_starts_grows_with_every_start() {
    let setup = Setup::default();
    let ring = TestRing::new();
    let mut epochs = Vec::new();
    for _ in 0..4 {
        let mut writer = Child::spawn("writer", setup.args(ring.home()));
        epochs.push(writer.expect("opened")[2].parse::<u64>().unwrap());
        writer.say("append 3 1");
        writer.expect("acked");
        writer.kill();
    }
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
}
