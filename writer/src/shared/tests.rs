//! Many appenders on one writer.

mod in_flight;
mod overlap;
mod panics;

use crate::testing::*;
use crate::{AppendError, Durability, Io, Log, SharedWriter};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use waldo_shm_protocol::segment::Counter;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        std::thread::park();
    }
}

#[test]
fn every_appender_gets_numbers_of_its_own() {
    for options in regimes() {
        let home = Home::new();
        let writer = SharedWriter::new(home.open(&options));
        let numbers: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| {
                    let writer = writer.clone();
                    scope.spawn(move || {
                        let mut numbers = Vec::new();
                        for i in 0..40u64 {
                            let body = format!("{thread} {i}");
                            let appended = if i % 2 == 0 {
                                writer.append_payloads(&[&body, &body])
                            } else {
                                block_on(writer.append_payloads_async(&[&body, &body]))
                            };
                            let appended = appended.unwrap();
                            assert_eq!(appended.records, 2);
                            numbers.extend(appended.first_seq_no..=appended.last_seq_no);
                        }
                        numbers
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let unique: BTreeSet<u64> = numbers.iter().copied().collect();
        assert_eq!(unique, (1..=640).collect());
        assert_eq!(writer.tip(), Some(640));
        writer.close().unwrap();
        assert_eq!(home.open(&options).tip(), Some(640));
    }
}

/// How often a future is pending before it is ready.
fn pending_polls<T>(future: impl Future<Output = T>) -> (usize, T) {
    let mut future = pin!(future);
    let mut polls = 0;
    loop {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => return (polls, value),
            Poll::Pending => polls += 1,
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_task_appends_at_once_what_need_not_wait_for_the_disk() {
    let interval = Durability::Interval(std::time::Duration::from_secs(1));
    let expected = [
        (Durability::Sync, [false, false]),
        (interval, [true, false]),
        (Durability::PageCache, [true, true]),
    ];
    for (durability, at_once) in expected {
        let home = Home::new();
        let writer = SharedWriter::new(home.open(&small(Io::Auto, durability)));
        for (bytes, at_once) in [64 << 10, (64 << 10) + 1].into_iter().zip(at_once) {
            // A page of this ring does not take as much in one record.
            let payloads: Vec<_> =
                [16 << 10, 16 << 10, 16 << 10, bytes - (48 << 10)].map(|len| vec![1; len]).into();
            let before = writer.tip().unwrap_or(0);
            let numbered = (before..).zip(&payloads);
            let logs: Vec<_> =
                numbered.map(|(prev, payload)| Log::new_borrowed(prev + 1, prev, payload)).collect();
            let counted = |appended: Result<crate::Appended, AppendError>, before: u32| {
                let counted = writer.in_a_row.load(Ordering::Relaxed) != before;
                assert_eq!(counted, at_once, "{durability:?}, {bytes} bytes");
                appended.unwrap().last_seq_no
            };
            let in_a_row = || {
                writer.in_a_row.store(3, Ordering::Relaxed);
                3
            };
            let n = in_a_row();
            assert_eq!(counted(block_on(writer.append_async(&logs)), n), before + 4);
            let n = in_a_row();
            assert_eq!(counted(block_on(writer.append_payloads_async(&payloads)), n), before + 8);
        }
    }
}

#[test]
fn a_task_that_appends_at_once_gives_way_now_and_then() {
    let home = Home::new();
    let writer = SharedWriter::new(home.open(&small(Io::Auto, Durability::PageCache)));
    let one = |writer: &SharedWriter| {
        let tip = writer.tip().unwrap_or(0);
        let (polls, outcome) = pending_polls(writer.append_async(&[Log::new_borrowed(tip + 1, tip, b"one")]));
        assert_eq!(outcome.unwrap().last_seq_no, tip + 1);
        polls
    };
    let another = |writer: &SharedWriter| {
        let (polls, outcome) = pending_polls(writer.append_payloads_async(&[b"another"]));
        outcome.unwrap();
        polls
    };
    for append in [&one as &dyn Fn(&SharedWriter) -> usize, &another] {
        let polls = || append(&writer);
        assert_eq!([(); 16].map(|()| polls()), [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        // A task that takes a new clone for each append.
        assert_eq!([(); 2].map(|()| append(&writer.clone())), [1, 1]);
    }
    let large = vec![vec![1; 16 << 10]; 5];
    assert_eq!([(); 2].map(|()| pending_polls(writer.append_payloads_async(&large)).0), [1, 1]);
    writer.close().unwrap();
}

#[test]
fn of_appends_that_compete_one_wins() {
    for options in regimes() {
        let home = Home::new();
        let writer = SharedWriter::new(home.open(&options));
        for round in 0..20 {
            let wins: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..6)
                    .map(|_| {
                        let writer = writer.clone();
                        scope.spawn(move || {
                            let log = Log::new_borrowed(round + 1, round, b"me");
                            match block_on(writer.append_async(&[log])) {
                                Ok(_) => 1,
                                Err(AppendError::Sequence { .. }) => 0,
                                Err(other) => panic!("{other}"),
                            }
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(wins, 1);
        }
    }
}

#[test]
fn what_waits_together_shares_a_flush() {
    for io in Io::ALL {
        let home = Home::new();
        let writer = SharedWriter::new(home.open(&small(io, Durability::Sync)));
        // While somebody holds the writer, everybody else queues up.
        let mut guard = writer.handle.inner.writer.lock();
        let before = {
            let inner = guard.as_mut().unwrap();
            inner.core_counter(Counter::Flushes)
        };
        std::thread::scope(|scope| {
            for _ in 0..20 {
                let writer = writer.clone();
                scope.spawn(move || writer.append_payloads(&[b"together"]).unwrap());
            }
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
            while writer.queued() < 20 {
                assert!(std::time::Instant::now() < deadline);
                std::thread::yield_now();
            }
            drop(guard);
        });
        let guard = writer.handle.inner.writer.lock();
        let flushes = guard.as_ref().unwrap().core_counter(Counter::Flushes) - before;
        assert_eq!(flushes, 1, "twenty appends, one flush");
    }
}
#[test]
fn a_refused_append_does_not_spoil_the_others_of_its_group() {
    for io in Io::ALL {
        let home = Home::new();
        let writer = SharedWriter::new(home.open(&small(io, LAZY)));
        let guard = writer.handle.inner.writer.lock();
        let (good, bad) = std::thread::scope(|scope| {
            let other = writer.clone();
            let bad = scope
                .spawn(move || other.append(&[Log::new_borrowed(9, 8, b"x"), Log::new_borrowed(9, 9, b"y")]));
            let other = writer.clone();
            let good = scope.spawn(move || other.append_payloads(&[b"good"]));
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
            while writer.queued() < 2 {
                assert!(std::time::Instant::now() < deadline);
                std::thread::yield_now();
            }
            drop(guard);
            (good.join().unwrap(), bad.join().unwrap())
        });
        assert_eq!(good.unwrap().records, 1);
        assert!(
            matches!(bad, Err(AppendError::Sequence { .. } | AppendError::NotIncreasing { .. })),
            "{bad:?}"
        );
    }
}
#[test]
fn closed_means_closed_for_every_clone() {
    for io in Io::ALL {
        let home = Home::new();
        let writer = SharedWriter::new(home.open(&small(io, LAZY)));
        let clone = writer.clone();
        clone.append_payloads(&[b"a"]).unwrap();
        block_on(writer.close_async()).unwrap();
        assert!(matches!(clone.append_payloads(&[b"b"]), Err(AppendError::Closed)));
        assert!(matches!(block_on(clone.append_payloads_async(&[b"b"])), Err(AppendError::Closed)));
        assert!(matches!(clone.sync(), Err(AppendError::Closed)));
        clone.close().unwrap();
        let reopened = home.open(&small(io, LAZY));
        assert!(reopened.open_report().clean);
        assert_eq!(reopened.tip(), Some(1));
    }
}
#[test]
fn dropping_the_last_clone_closes() {
    for io in Io::ALL {
        let home = Home::new();
        let writer = SharedWriter::new(home.open(&small(io, LAZY)));
        writer.append_payloads(&payloads(1..=10)).unwrap();
        drop(writer.clone());
        writer.append_payloads(&payloads(11..=20)).unwrap();
        drop(writer);
        assert!(home.open(&small(io, LAZY)).open_report().clean);
    }
}
#[test]
fn an_append_that_is_cancelled_leaves_no_gap() {
    for io in Io::ALL {
        let home = Home::new();
        let writer = SharedWriter::new(home.open(&small(io, Durability::Sync)));
        for _ in 0..50 {
            let batch = payloads(1..=5);
            let mut future = pin!(writer.append_payloads_async(&batch));
            let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        writer.close().unwrap();
        let (records, _) = read_all(home.path());
        let numbers: Vec<u64> = records.iter().map(|record| record.0).collect();
        let last = *numbers.last().unwrap();
        assert_eq!(last % 5, 0, "an append is there as a whole or not at all");
        assert_eq!(numbers, (last + 1 - numbers.len() as u64..=last).collect::<Vec<_>>());
    }
}
#[test]
fn a_full_queue_refuses_those_who_do_not_want_to_wait() {
    for io in Io::ALL {
        let home = Home::new();
        let options = crate::WriterOptions { page_len: 2 << 20, ..small(io, LAZY) };
        let writer = SharedWriter::new(home.open(&options));
        let payload = vec![7; 1_000_000];
        let mut tickets = Vec::new();
        // Nobody can take from the queue.
        let busy = writer.handle.inner.writer.lock();
        let error = loop {
            match writer.try_append_payloads(&[&payload]) {
                Ok(ticket) => tickets.push(ticket),
                Err(error) => break error,
            }
            assert!(tickets.len() < 100, "the queue is not bounded");
        };
        let AppendError::QueueFull { queued, max } = error else { panic!("{error}") };
        assert_eq!(max, 64 << 20);
        assert!((max..max + 2 * payload.len()).contains(&queued), "{queued}");
        assert!(matches!(
            writer.try_append(&[Log::new_borrowed(1, 0, b"x")]),
            Err(AppendError::QueueFull { .. })
        ));
        drop(busy);
        let count = tickets.len() as u64;
        let last = tickets.pop().unwrap();
        for (ticket, seq_no) in tickets.into_iter().zip(1..) {
            assert_eq!(ticket.wait().unwrap().last_seq_no, seq_no);
        }
        assert_eq!(block_on(last).unwrap().last_seq_no, count);
        let wrong = writer.try_append(&[Log::new_borrowed(1, 0, b"x")]).unwrap();
        assert!(matches!(wrong.wait(), Err(AppendError::Sequence { .. })));
        writer.close().unwrap();
        assert!(matches!(writer.try_append_payloads(&[b"late"]), Err(AppendError::Closed)));
    }
}
#[test]
fn lingering_gathers_appends_into_one_flush_and_holds_nobody_up_who_asks() {
    for io in Io::ALL {
        let linger = std::time::Duration::from_secs(1);
        let home = Home::new();
        let options = crate::WriterOptions { linger, ..small(io, Durability::Sync) };
        let writer = SharedWriter::new(home.open(&options));
        let flushes = || {
            let guard = writer.handle.inner.writer.lock();
            guard.as_ref().unwrap().core_counter(Counter::Flushes)
        };
        // On a machine that is busy enough ten appends may take longer than lingering does.
        let together = (0..20).any(|_| {
            let before = flushes();
            let tickets: Vec<_> = (0..10).map(|_| writer.try_append_payloads(&[b"x"]).unwrap()).collect();
            // Ends the lingering, or each round would take its second.
            writer.sync().unwrap();
            assert!(tickets.into_iter().all(|ticket| ticket.wait().is_ok()));
            flushes() == before + 1
        });
        assert!(together, "ten appends never shared a flush");
        writer.close().unwrap();
    }
}
