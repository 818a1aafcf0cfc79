//! Ten thousand asynchronous streams in one process.

use crate::roles::{STREAM_WORKERS, writer_append};
use crate::support::child::Child;
use crate::support::ring::{Setup, TestRing};

const STREAMS: u64 = 10_000;
/// Besides the runtime's: the test harness has two, and all streams share one.
const OTHER_THREADS: u64 = 3;

#[test]
fn ten_thousand_streams_take_one_thread_and_one_mapping_of_each_page() {
    // Small pages, many of which are begun and left meanwhile.
    let setup = Setup { ring_size: 64, page_len: 16 << 10, max: 200, ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    writer_append(&mut writer, 1, 1, setup.max);
    let mut reader = Child::spawn("streams", setup.args(ring.home()).with("streams", STREAMS));
    let [bytes] = reader.numbers("ready")[..] else { panic!() };
    let mut micros = Vec::new();
    for round in 1..=20 {
        if round == 10 {
            reader.say("halve");
            reader.expect("halved");
        }
        writer_append(&mut writer, 10, 10, setup.max);
        let tip = writer.tip().unwrap();
        reader.say(format!("upto {tip}"));
        let [at, threads, maps, took] = reader.numbers("at")[..] else { panic!() };
        assert_eq!(at, tip);
        assert!(threads <= STREAM_WORKERS as u64 + OTHER_THREADS, "{threads} threads");
        assert_eq!(maps, 1, "mappings of one page");
        micros.push(took);
    }
    assert!(ring.status().tip_page > 1);
    reader.say("drop");
    reader.expect("dropped");
    reader.finish();
    println!("{bytes} bytes a stream with its task; rounds of 10 records took {micros:?} us");
    writer.close().unwrap();
}
