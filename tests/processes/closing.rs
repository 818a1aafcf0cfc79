//! What readers see of a writer that stops and comes back.

use crate::roles::writer_append;
use crate::support::child::Child;
use crate::support::payload::check_batch;
use crate::support::ring::{Setup, TestRing, attach};
use crate::support::wait::DEADLINE;
use waldo::reader::{Cursor, Reader, Wakeup, WriterStatus};
use waldo::writer::Io;

/// Waits for news of the writer, past records.
fn writer_news(reader: &mut Reader) -> WriterStatus {
    loop {
        match reader.wait(Some(DEADLINE)).unwrap() {
            Wakeup::Writer(status) => return status,
            Wakeup::Records => drop(reader.poll().unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

fn setup() -> Setup {
    Setup { ring_size: 16, ..Setup::default() }
}

#[test]
fn readers_are_told_of_a_clean_close_and_go_on_when_the_writer_returns() {
    for remove_control in [false, true] {
        let setup = setup();
        let ring = TestRing::new();
        let options = setup.options().remove_control(remove_control);
        let open = || waldo::writer::Writer::open(ring.home(), options.clone()).unwrap();
        let mut writer = open();
        writer_append(&mut writer, 10, 3, setup.max);
        let mut follower = Child::spawn("follower", setup.args(ring.home()));
        follower.expect("ready");
        let mut reader = ring.reader(Cursor::Oldest);
        let last = check_batch(&reader.poll().unwrap().unwrap(), 0, setup.max);
        writer.close().unwrap();
        assert_eq!(writer_news(&mut reader), WriterStatus::Closed, "{remove_control}");
        assert_eq!(ring.status().writer, WriterStatus::Closed, "{remove_control}");

        let mut writer = open();
        let opened = writer.open_report();
        assert!(opened.clean && opened.cut.is_none() && !opened.created, "{opened:?}");
        assert_eq!(opened.tip, Some(10));
        writer_append(&mut writer, 10, 3, setup.max);
        let mut last = last;
        while last < 20 {
            let batch = reader.recv(Some(DEADLINE)).unwrap().expect("records of the second writer");
            last = check_batch(&batch, last, setup.max);
        }
        follower.say(20);
        assert_eq!(follower.skip_to("done"), [20, 0, 20], "{remove_control}");
        follower.finish();
        writer.close().unwrap();
    }
}

#[test]
fn a_reader_that_waits_without_a_limit_goes_on_with_the_next_writer() {
    for io in Io::ALL {
        let setup = Setup { io, ..setup() };
        let ring = TestRing::new();
        let mut writer = Child::spawn("writer", setup.args(ring.home()));
        writer.expect("opened");
        let (sender, received) = std::sync::mpsc::channel();
        let mut reader = attach(ring.home()).reader(Cursor::Tip).unwrap();
        let thread = std::thread::spawn(move || {
            let mut last = 0;
            while last < 30 {
                let batch = reader.recv(None).unwrap().unwrap();
                last = check_batch(&batch, last, setup.max);
                sender.send(last).unwrap();
            }
        });
        for round in 1..=3 {
            writer.say("append 10 10");
            assert_eq!(writer.numbers("acked"), [round * 10]);
            while received.recv_timeout(DEADLINE).unwrap() < round * 10 {}
            // Every other one dies without a word.
            if round == 2 {
                writer.kill();
            } else {
                writer.say("close");
                writer.expect("closed");
            }
            if round < 3 {
                writer = Child::spawn("writer", setup.args(ring.home()));
                writer.expect("opened");
            }
        }
        thread.join().unwrap();
    }
}

#[test]
fn the_death_of_the_writer_is_noticed_and_what_is_there_can_still_be_read() {
    let setup = setup();
    let ring = TestRing::new();
    let mut writer = Child::spawn("writer", setup.args(ring.home()));
    writer.expect("opened");
    writer.say("append 100 10");
    writer.expect("acked");
    writer.kill();
    let options = waldo::reader::AttachOptions::default()
        .check_interval(std::time::Duration::from_millis(50))
        .stalled_after(std::time::Duration::from_millis(500));
    let attached = waldo::reader::Ring::attach_with(ring.home(), options).unwrap();
    let mut reader = attached.reader(Cursor::Oldest).unwrap();
    assert!(matches!(writer_news(&mut reader), WriterStatus::Stalled { .. }));
    assert_eq!(reader.last_seq_no(), Some(100));
    let mut fresh = attached.reader(Cursor::From(1)).unwrap();
    let mut seen = 0;
    while seen < 100 {
        seen = check_batch(&fresh.recv(None).unwrap().unwrap(), seen, setup.max);
    }
    assert_eq!(seen, 100);
}

#[test]
fn a_failure_of_the_writer_is_told_to_readers_and_final_until_it_is_opened_again() {
    for setup in Setup::all() {
        let ring = TestRing::new();
        let mut writer = Child::spawn("writer", setup.args(ring.home()));
        writer.expect("opened");
        writer.say("append 10 3");
        writer.expect("acked");
        let mut follower = Child::spawn("follower", setup.args(ring.home()));
        follower.expect("ready");
        let mut reader = ring.reader(Cursor::Oldest);
        // The first page is 64 KiB long: half of it can be written.
        writer.say("fail 32768");
        let [errno, acked] = writer.numbers("failed")[..] else { panic!() };
        assert_eq!(errno, nix::libc::EFBIG as u64);
        assert!(acked > 10);
        assert_eq!(writer_news(&mut reader), WriterStatus::Failed { errno: errno as i32 });
        let mut reader = ring.reader(Cursor::Oldest);
        let mut last = 0;
        while let Some(batch) = reader.poll().unwrap() {
            last = check_batch(&batch, last, setup.max);
        }
        assert_eq!(last, acked, "what was acknowledged, and nothing else");
        writer.kill();

        let mut writer = ring.writer(&setup);
        assert!(!writer.open_report().clean);
        assert!(writer.tip().unwrap() >= acked);
        writer_append(&mut writer, 200, 3, setup.max);
        let tip = writer.tip().unwrap();
        follower.say(tip);
        assert_eq!(follower.skip_to("done"), [tip, 0, tip]);
        follower.finish();
    }
}

#[test]
fn a_reader_that_only_polls_goes_on_with_the_next_writer() {
    use waldo::writer::{Writer, WriterOptions};
    let ring = TestRing::new();
    let options = WriterOptions::default().page_len(64 << 10).index_capacity(64).remove_control(true);
    let mut reader = None;
    for round in 0..3u64 {
        let mut writer = Writer::open(ring.home(), options.clone()).unwrap();
        writer.append_payloads(&[b"x"; 10]).unwrap();
        let reader = reader.get_or_insert_with(|| attach(ring.home()).reader(Cursor::Oldest).unwrap());
        let deadline = std::time::Instant::now() + DEADLINE;
        while reader.last_seq_no().unwrap_or(0) < 10 * (round + 1) {
            assert!(
                std::time::Instant::now() < deadline,
                "round {round}: stuck at {:?}",
                reader.last_seq_no()
            );
            reader.poll().unwrap();
            std::thread::yield_now();
        }
        writer.close().unwrap();
    }
}
