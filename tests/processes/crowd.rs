//! Many reader processes at once.

use crate::roles::writer_append;
use crate::support::child::Child;
use crate::support::ring::{Setup, TestRing};

const READERS: usize = 100;
const RECORDS: u64 = 1500;

#[test]
fn a_hundred_processes_each_see_every_record() {
    let setup = Setup { ring_size: 64, ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    let args = || setup.args(ring.home()).with("until", RECORDS);
    let mut readers: Vec<Child> = (0..READERS).map(|_| Child::spawn("follower", args())).collect();
    for reader in &mut readers {
        reader.expect("ready");
    }
    writer_append(&mut writer, RECORDS, 10, setup.max);
    for mut reader in readers {
        assert_eq!(reader.skip_to("done"), [RECORDS, 0, RECORDS]);
        reader.finish();
    }
}

#[test]
fn sleepers_are_woken_by_every_append_and_by_nothing_else() {
    const SLEEPERS: usize = 20;
    const ROUNDS: u64 = 20;
    let setup = Setup { ring_size: 64, ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    let args = || setup.args(ring.home()).with("until", ROUNDS);
    let mut sleepers: Vec<Child> = (0..SLEEPERS).map(|_| Child::spawn("waiter", args())).collect();
    for sleeper in &mut sleepers {
        sleeper.expect("ready");
    }
    for seq_no in 1..=ROUNDS {
        writer_append(&mut writer, 1, 1, setup.max);
        for sleeper in &mut sleepers {
            assert_eq!(sleeper.numbers("got"), [seq_no]);
        }
    }
    sleepers.into_iter().for_each(Child::finish);
}
