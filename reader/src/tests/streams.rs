//! Asynchronous streams, polled by hand.

use crate::testing::{DEADLINE, Forge, numbers, size};
use crate::{Batches, Cursor, ReadError, Reader, ReaderOptions, Visibility};
use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll, Wake};
use std::time::Instant;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::segment::WriterState;

/// Puts a task's number into a queue.
struct Queue(usize, Sender<usize>);

impl Wake for Queue {
    fn wake(self: Arc<Self>) {
        let _ = self.1.send(self.0);
    }
}

/// A tiny executor: polls streams when they are woken.
struct Tasks {
    streams: Vec<Option<Batches>>,
    seen: Vec<Vec<u64>>,
    errors: Vec<Option<ReadError>>,
    send: Sender<usize>,
    receive: Receiver<usize>,
}

impl Tasks {
    fn new(streams: Vec<Batches>) -> Tasks {
        let (send, receive) = mpsc::channel();
        let count = streams.len();
        let streams = streams.into_iter().map(Some).collect();
        let mut tasks = Tasks {
            streams,
            seen: vec![Vec::new(); count],
            errors: (0..count).map(|_| None).collect(),
            send,
            receive,
        };
        for n in 0..count {
            tasks.poll(n);
        }
        tasks
    }

    fn poll(&mut self, n: usize) {
        let waker = Arc::new(Queue(n, self.send.clone())).into();
        let mut cx = Context::from_waker(&waker);
        while let Some(stream) = &mut self.streams[n] {
            match Pin::new(stream).poll_next(&mut cx) {
                Poll::Ready(Some(Ok(batch))) => self.seen[n].extend(numbers(&batch)),
                Poll::Ready(Some(Err(error))) => self.errors[n] = Some(error),
                Poll::Ready(None) => self.streams[n] = None,
                Poll::Pending => break,
            }
        }
    }

    fn run_until(&mut self, done: impl Fn(&Tasks) -> bool) {
        let start = Instant::now();
        while !done(self) {
            let n =
                self.receive.recv_timeout(DEADLINE.saturating_sub(start.elapsed())).expect("woken in time");
            self.poll(n);
        }
    }
}

#[test]
fn ten_thousand_streams_share_one_thread_and_all_get_everything() {
    let mut forge = Forge::live(65536, 4);
    forge.append_n(3);
    let ring = forge.attach();
    let streams: Vec<_> = (0..10_000).map(|_| ring.reader(Cursor::Oldest).unwrap().into_stream()).collect();
    let mut tasks = Tasks::new(streams);
    forge.append_n(2);
    tasks.run_until(|t| t.seen.iter().all(|seen| seen.len() == 5));
    assert!(tasks.seen.iter().all(|seen| *seen == [1, 2, 3, 4, 5]));
    let waiters = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.trim() == "waldo-waiter")
        .count();
    // Other tests of this process have rings of their own.
    assert!(waiters < 20, "{waiters}");
}

#[test]
fn each_append_wakes_a_waiting_stream() {
    let mut forge = Forge::live(65536, 4);
    let ring = forge.attach();
    let mut tasks = Tasks::new(vec![ring.reader(Cursor::Tip).unwrap().into_stream()]);
    for n in 1..=300 {
        forge.append_n(1);
        tasks.run_until(|t| t.seen[0].len() == n);
    }
}

#[test]
fn streams_follow_to_another_segment() {
    let mut forge = Forge::live(65536, 4);
    forge.append_n(1);
    let ring = forge.attach();
    let mut tasks = Tasks::new(vec![ring.reader(Cursor::Oldest).unwrap().into_stream()]);
    let old = forge.control.take().unwrap();
    forge.epoch = 2;
    forge.open_control();
    old.state(WriterState::Retired);
    forge.append_n(1);
    tasks.run_until(|t| t.seen[0] == [1, 2]);
}

#[test]
fn a_stream_works_from_files() {
    let mut forge = Forge::new(65536, 4);
    forge.append_n(1);
    let ring = forge.attach();
    let mut tasks = Tasks::new(vec![ring.reader(Cursor::Oldest).unwrap().into_stream()]);
    forge.append_n(1);
    tasks.run_until(|t| t.seen[0] == [1, 2]);
}

#[test]
fn a_stream_ends_after_an_error_and_gives_the_reader_back() {
    let mut forge = Forge::live(65536, 4);
    forge.append_n(2);
    let ring = forge.attach();
    let mut tasks = Tasks::new(vec![ring.reader(Cursor::Oldest).unwrap().into_stream()]);
    let control = forge.control.as_ref().unwrap();
    control.publisher().commit(Position::start_of(1), 0, 0);
    control.wake();
    tasks.run_until(|t| t.streams[0].is_none());
    assert!(matches!(tasks.errors[0], Some(ReadError::Rewound { .. })));
    let mut reader = ring.reader(Cursor::Oldest).unwrap().into_stream().into_reader();
    assert!(reader.poll().unwrap().is_none());
}

#[test]
fn the_thread_ends_with_the_last_stream_and_comes_back_with_the_next() {
    let mut forge = Forge::live(65536, 4);
    let ring = forge.attach();
    for n in 1..=2 {
        let mut tasks = Tasks::new(vec![ring.reader(Cursor::Tip).unwrap().into_stream()]);
        forge.append_n(1);
        tasks.run_until(|t| t.seen[0] == [n]);
        assert_eq!(ring.inner.waiter.waiting(), 1);
        drop(tasks);
        assert_eq!(ring.inner.waiter.waiting(), 0);
        let start = Instant::now();
        while ring.inner.waiter.is_running() {
            assert!(start.elapsed() < DEADLINE);
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_flush_wakes_those_who_wait_for_durable_records_and_nobody_else() {
    let mut forge = Forge::live(65536, 4);
    forge.append_n(100);
    let ring = forge.attach();
    let durable = ReaderOptions { visibility: Visibility::Durable, ..ReaderOptions::default() };
    let streams =
        vec![ring.reader(Cursor::Oldest).unwrap(), ring.reader_with(Cursor::Oldest, durable).unwrap()];
    let mut tasks = Tasks::new(streams.into_iter().map(Reader::into_stream).collect());
    assert_eq!((tasks.seen[0].len(), tasks.seen[1].len()), (100, 0));
    let control = forge.control.as_ref().unwrap();
    let mut others = 0;
    for entry in &forge.log {
        let end = entry.offset + size(entry.data.len());
        control.publisher().set_durable(Position::new(entry.page, end).unwrap());
        control.wake();
        while tasks.seen[1].last() != Some(&entry.seq) {
            let n = tasks.receive.recv_timeout(DEADLINE).expect("woken in time");
            others += usize::from(n == 0);
            tasks.poll(n);
        }
    }
    // The thread wakes everybody once when it begins.
    assert!(others <= 1, "{others}");
    forge.append_n(1);
    tasks.run_until(|t| t.seen[0].last() == Some(&101));
}

/// Panics when the thread that waits for streams calls it.
struct Panicking(Sender<usize>);

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        if std::thread::current().name() == Some("waldo-waiter") {
            let _ = self.0.send(0);
            std::panic::panic_any("a waker that panics, on purpose");
        }
    }
}

/// A panic in one stream's waker ended the thread that wakes all streams, and all others of the process slept
/// for ever.
#[test]
fn a_waker_that_panics_ends_nobody_elses_waiting() {
    let mut forge = Forge::live(65536, 4);
    let ring = forge.attach();
    let (send, receive) = mpsc::channel();
    let mut bad: Vec<_> = (0..2).map(|_| ring.reader(Cursor::Tip).unwrap().into_stream()).collect();
    let waker = Arc::new(Panicking(send)).into();
    let mut tasks = Tasks::new(vec![ring.reader(Cursor::Tip).unwrap().into_stream()]);
    for n in 1..=3 {
        for stream in &mut bad {
            while Pin::new(&mut *stream).poll_next(&mut Context::from_waker(&waker)).is_ready() {}
        }
        forge.append_n(1);
        tasks.run_until(|t| t.seen[0].len() == n);
        receive.recv_timeout(DEADLINE).expect("the waker that panics was called");
    }
}

/// Streams wait while a new writer mends the files. When that writer died over it, no store in the segment
/// told so, only the age of its heartbeat, and streams went on waiting for ever (a reader that sleeps by
/// itself looks at the age).
#[test]
fn a_stream_does_not_wait_for_a_writer_that_died_over_mending_the_files() {
    let mut forge = Forge::live(65536, 4);
    forge.append_n(5);
    let ring = forge.attach();
    let options = ReaderOptions { batch_bytes: 1, ..ReaderOptions::default() };
    let mut reader = ring.reader_with(Cursor::Oldest, options).unwrap();
    assert_eq!(reader.poll().unwrap().unwrap().last_seq_no(), 1);
    let control = forge.control.as_ref().unwrap();
    control.state(WriterState::Recovering);
    control.publisher().set_writer(2, 1, 250_000_000);
    control.publisher().beat(crate::clock::boottime_ns());
    let mut tasks = Tasks::new(vec![reader.into_stream()]);
    assert_eq!(tasks.seen[0], [], "nothing is read while the files are mended");
    // The thread has woken everybody once, as it does when it begins, and now sees nothing new.
    tasks.run_until(|_| ring.inner.waiter.is_running());
    let n = tasks.receive.recv_timeout(DEADLINE).expect("woken when the thread began");
    tasks.poll(n);
    assert_eq!(tasks.seen[0], []);
    // Dead: nothing more is stored, nobody is woken.
    control.publisher().beat(crate::clock::boottime_ns().saturating_sub(60_000_000_000));
    tasks.run_until(|t| t.seen[0] == [2, 3, 4, 5]);
}

/// A stream that is never polled, and streams that are dropped after they were woken and before they were
/// polled, take nothing from the others.
#[test]
fn streams_that_are_never_polled_or_dropped_when_woken_hold_nobody_up() {
    let mut forge = Forge::live(65536, 4);
    let ring = forge.attach();
    let stream = || ring.reader(Cursor::Tip).unwrap().into_stream();
    let _never_polled = stream();
    let mut tasks = Tasks::new((0..50).map(|_| stream()).collect());
    forge.append_n(1);
    let mut dropped = 0;
    while dropped < 40 {
        let n = tasks.receive.recv_timeout(DEADLINE).expect("woken in time");
        dropped += usize::from(tasks.streams[n].take().is_some());
    }
    forge.append_n(1);
    for n in 0..50 {
        tasks.poll(n);
    }
    tasks.run_until(|t| t.streams.iter().zip(&t.seen).all(|(s, seen)| s.is_none() || *seen == [1, 2]));
    assert_eq!(tasks.streams.iter().flatten().count(), 10);
    assert_eq!(ring.inner.waiter.waiting(), 10);
}
