//! Asynchronous streams: ten thousand in one process, and those of a process that forks.

use crate::roles::{STREAM_WORKERS, writer_append};
use crate::support::child::Child;
use crate::support::ring::{Setup, TestRing};
use crate::support::wait::wait_until;

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

/// The thread that wakes streams does not come along when a process forks, but the note that it runs did:
/// every stream of the child slept for ever.
#[test]
fn a_child_that_was_forked_after_the_first_stream_has_streams_that_wake() {
    let setup = Setup::default();
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    writer_append(&mut writer, 1, 1, setup.max);
    let mut reader = Child::spawn("forked", setup.args(ring.home()));
    assert_eq!(reader.numbers("parent"), [1]);
    // Only once the child waits, as far as that can be seen: it is asleep, and so is its parent.
    wait_until("the child waits for record 2", || sleeping_child(reader.pid()));
    writer_append(&mut writer, 1, 1, setup.max);
    assert_eq!(reader.numbers("child"), [2, 2]);
    reader.finish();
    writer.close().unwrap();
}

/// Whether process `pid` has a child, and each thread of that is asleep.
fn sleeping_child(pid: u32) -> bool {
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let children: String = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|task| read(format!("{}/children", task.path().display())))
        .collect();
    children.split_whitespace().any(|child| {
        let stat = read(format!("/proc/{child}/stat"));
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
    })
}
