//! Sleeping, waking, and learning how the writer is.

use crate::source::Source;
use crate::testing::{DEADLINE, Forge, drain, numbers};
use crate::{AttachOptions, Cursor, ReadError, ReaderOptions, Ring, WaitStrategy, Wakeup, WriterStatus};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use waldo_shm_protocol::Position;
use waldo_shm_protocol::segment::WriterState;

const STRATEGIES: [WaitStrategy; 4] =
    [WaitStrategy::Spin, WaitStrategy::Yield, WaitStrategy::Park, WaitStrategy::Adaptive];

#[test]
fn a_sleeping_reader_is_woken() {
    for wait in STRATEGIES {
        let mut forge = Forge::live(65536, 2);
        // Long slices: only a wake can bring the records in time.
        let options = AttachOptions::default().check_interval(Duration::from_secs(3600));
        let ring = Ring::attach_with(forge.home(), options).unwrap();
        let (send, receive) = mpsc::channel();
        let options = ReaderOptions { wait, ..ReaderOptions::default() };
        let mut reader = ring.reader_with(Cursor::Oldest, options).unwrap();
        let thread = thread::spawn(move || {
            for _ in 0..100 {
                let batch = reader.recv(None).unwrap().unwrap();
                send.send(numbers(&batch)).unwrap();
            }
        });
        for n in 1..=100 {
            forge.append_n(1);
            assert_eq!(receive.recv_timeout(DEADLINE).unwrap(), [n], "{wait:?}");
        }
        thread.join().unwrap();
    }
}

#[test]
fn waiting_ends_in_time_without_records() {
    for wait in STRATEGIES {
        let mut forge = Forge::live(65536, 2);
        forge.append_n(1);
        let options = ReaderOptions { wait, ..ReaderOptions::default() };
        let mut reader = forge.attach().reader_with(Cursor::Tip, options).unwrap();
        assert_eq!(reader.wait(Some(Duration::ZERO)).unwrap(), Wakeup::TimedOut);
        assert_eq!(reader.wait(Some(Duration::from_millis(5))).unwrap(), Wakeup::TimedOut);
        assert!(reader.recv(Some(Duration::from_millis(5))).unwrap().is_none());
        forge.append_n(1);
        assert_eq!(reader.wait(Some(Duration::MAX)).unwrap(), Wakeup::Records);
    }
}

#[test]
fn each_change_of_the_writer_is_told_once() {
    let mut forge = Forge::live(65536, 2);
    forge.append_n(1);
    let mut reader = forge.attach().reader(Cursor::Tip).unwrap();
    let short = Some(Duration::from_millis(2));
    assert_eq!(reader.wait(short).unwrap(), Wakeup::TimedOut);
    let control = forge.control.as_ref().unwrap();
    control.state(WriterState::Closed);
    assert_eq!(reader.wait(None).unwrap(), Wakeup::Writer(WriterStatus::Closed));
    assert_eq!(reader.wait(short).unwrap(), Wakeup::TimedOut);
    control.publisher().set_writer(2, 1, 250_000_000);
    control.state(WriterState::Recovering);
    assert_eq!(reader.wait(None).unwrap(), Wakeup::Writer(WriterStatus::Recovering));
    control.state(WriterState::Live);
    assert_eq!(reader.wait(None).unwrap(), Wakeup::Writer(WriterStatus::Restarted { epoch: 2 }));
    assert_eq!(reader.wait(short).unwrap(), Wakeup::TimedOut);
    control.publisher().fail(5);
    control.wake();
    assert_eq!(reader.wait(None).unwrap(), Wakeup::Writer(WriterStatus::Failed { errno: 5 }));
    assert_eq!(reader.wait(short).unwrap(), Wakeup::TimedOut);
}

#[test]
fn a_silent_writer_is_noticed_and_so_is_its_return() {
    let mut forge = Forge::live(65536, 2);
    forge.append_n(1);
    let mut reader = forge.attach().reader(Cursor::Tip).unwrap();
    let control = forge.control.as_ref().unwrap();
    // As after a kill: state and heartbeat stay as they are, time passes.
    control.publisher().beat(crate::clock::boottime_ns().saturating_sub(7_000_000_000));
    match reader.wait(None).unwrap() {
        Wakeup::Writer(WriterStatus::Stalled { age }) => assert!(age >= Duration::from_secs(7)),
        other => panic!("{other:?}"),
    }
    assert_eq!(reader.wait(Some(Duration::from_millis(2))).unwrap(), Wakeup::TimedOut);
    control.publisher().beat(crate::clock::boottime_ns());
    assert_eq!(reader.wait(None).unwrap(), Wakeup::Writer(WriterStatus::Live));
}

#[test]
fn sleepers_follow_to_the_segment_that_replaces_a_retired_one() {
    for with_pause in [false, true] {
        let mut forge = Forge::live(65536, 2);
        forge.append_n(3);
        let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
        assert_eq!(drain(&mut reader), [1, 2, 3]);
        let (send, receive) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut seen = Vec::new();
            loop {
                match reader.wait(None).unwrap() {
                    Wakeup::Records => {
                        while let Some(batch) = reader.poll().unwrap() {
                            seen.extend(numbers(&batch));
                        }
                        if seen.len() >= 2 {
                            break seen;
                        }
                    }
                    Wakeup::Writer(status) => send.send(status).unwrap(),
                    Wakeup::TimedOut => unreachable!(),
                }
            }
        });
        let old = forge.control.take().unwrap();
        forge.epoch = 2;
        if with_pause {
            std::fs::remove_file(forge.home().join("control.link")).unwrap();
            old.state(WriterState::Retired);
            assert_eq!(receive.recv_timeout(DEADLINE).unwrap(), WriterStatus::Recovering);
            forge.open_control();
        } else {
            forge.open_control();
            old.state(WriterState::Retired);
        }
        loop {
            if receive.recv_timeout(DEADLINE).unwrap() == (WriterStatus::Restarted { epoch: 2 }) {
                break;
            }
        }
        forge.append_n(2);
        assert_eq!(thread.join().unwrap(), [4, 5]);
    }
}

#[test]
fn a_link_that_leads_elsewhere_is_noticed_without_a_word_from_the_old_segment() {
    let mut forge = Forge::live(65536, 2);
    forge.append_n(3);
    let mut reader = forge.attach().reader(Cursor::Tip).unwrap();
    forge.control = None;
    forge.epoch = 2;
    forge.open_control();
    forge.append_n(2);
    let start = Instant::now();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        assert!(start.elapsed() < DEADLINE);
        if let Wakeup::Records = reader.wait(Some(DEADLINE)).unwrap() {
            seen.extend(drain(&mut reader));
        }
    }
    assert_eq!(seen, [4, 5]);
}

#[test]
fn a_log_that_ends_before_the_reader_is_an_error_until_it_seeks() {
    let mut forge = Forge::live(65536, 2);
    forge.append_n(5);
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 5);
    let control = forge.control.as_ref().unwrap();
    let before = &forge.log[3];
    control.publisher().commit(Position::new(before.page, before.offset).unwrap(), before.prev, 3);
    for _ in 0..3 {
        assert!(matches!(reader.poll(), Err(ReadError::Rewound { seq_no: Some(5), tip: Some(3) })));
    }
    assert!(reader.recv(Some(Duration::from_millis(1))).is_err());
    reader.seek(Cursor::After(2)).unwrap();
    assert_eq!(drain(&mut reader), [3]);
}

#[test]
fn another_record_in_the_place_of_the_last_one_is_noticed_after_a_restart() {
    let mut forge = Forge::live(65536, 2);
    forge.append_n(5);
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 5);
    // The log has been restored from before record 5 and written on.
    let mut other = Forge::new(65536, 2);
    other.append_n(4);
    other.epoch = 2;
    other.append_n(3);
    let bytes = std::fs::read(other.page_path(1)).unwrap();
    forge.damage(1, 4096, &bytes[4096..8192]);
    let publisher = forge.control.as_ref().unwrap().publisher();
    publisher.set_writer(2, 1, 250_000_000);
    publisher.commit(other.position(), 7, 7);
    for _ in 0..2 {
        assert!(matches!(reader.poll(), Err(ReadError::Rewound { seq_no: Some(5), tip: Some(7) })));
    }
    reader.seek(Cursor::After(4)).unwrap();
    assert_eq!(drain(&mut reader), [5, 6, 7]);
}

#[test]
fn the_same_record_after_a_restart_is_fine() {
    let mut forge = Forge::live(65536, 2);
    forge.append_n(5);
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 5);
    forge.epoch = 2;
    forge.control.as_ref().unwrap().publisher().set_writer(2, 1, 250_000_000);
    forge.append_n(2);
    assert_eq!(drain(&mut reader), [6, 7]);
}

#[test]
fn a_segment_that_was_taken_away_with_its_writer_is_not_waited_on() {
    for closed in [true, false] {
        let mut forge = Forge::live(65536, 2);
        forge.append_n(3);
        let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
        assert_eq!(drain(&mut reader), [1, 2, 3]);
        let old = forge.control.take().unwrap();
        if closed {
            old.state(WriterState::Closed);
        } else {
            // Killed, and its segment removed by somebody who tidies up.
            old.publisher().beat(crate::clock::boottime_ns().saturating_sub(60_000_000_000));
        }
        std::fs::remove_file(forge.home().join("control.link")).unwrap();
        std::fs::remove_file(&old.path).unwrap();
        // The next writer comes and goes before the reader looks at the link again.
        forge.epoch = 2;
        forge.meta.epoch = 2;
        forge.append_n(2);
        forge.meta.clean_end = forge.position();
        forge.write_meta();
        assert_eq!(crate::testing::read_n(&mut reader, 2), [4, 5]);
        // A writer that keeps a segment again is found again.
        forge.epoch = 3;
        forge.open_control();
        forge.append_n(1);
        assert_eq!(crate::testing::read_n(&mut reader, 1), [6]);
    }
}

#[test]
fn a_retired_segment_without_a_successor_is_waited_on_for_a_while_and_then_given_up() {
    for asleep in [true, false] {
        let mut forge = Forge::live(65536, 2);
        forge.append_n(3);
        let ring = forge.attach();
        let mut reader = ring.reader(Cursor::Oldest).unwrap();
        assert_eq!(drain(&mut reader), [1, 2, 3]);
        let old = forge.control.take().unwrap();
        std::fs::remove_file(forge.home().join("control.link")).unwrap();
        // Not announced by anybody, and seen by whoever reads the files.
        forge.write(4, b"four");
        old.state(WriterState::Retired);
        let (start, mut looks) = (Instant::now(), 0);
        let attachment = reader.attachment.clone();
        if asleep {
            assert_eq!(reader.recv(Some(DEADLINE)).unwrap().unwrap().last_seq_no(), 4);
        } else {
            while reader.poll().unwrap().is_none() {
                looks += 1;
                assert!(start.elapsed() < DEADLINE);
                thread::yield_now();
            }
            assert!(looks > 0, "it went to the files at once");
        }
        // Longer than that it does not wait.
        assert!(!attachment.awaits_successor() && !attachment.should_await_successor());
        assert!(matches!(reader.attachment.source, Source::Files(_)));
    }
}
