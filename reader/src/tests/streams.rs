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
    let streams: Vec<_> = (0..10_000).map(|_| ring.reader(Cursor::Trim).unwrap().into_stream()).collect();
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
    let mut tasks = Tasks::new(vec![ring.reader(Cursor::Trim).unwrap().into_stream()]);
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
    let mut tasks = Tasks::new(vec![ring.reader(Cursor::Trim).unwrap().into_stream()]);
    forge.append_n(1);
    tasks.run_until(|t| t.seen[0] == [1, 2]);
}

#[test]
fn a_stream_ends_after_an_error_and_gives_the_reader_back() {
    let mut forge = Forge::live(65536, 4);
    forge.append_n(2);
    let ring = forge.attach();
    let mut tasks = Tasks::new(vec![ring.reader(Cursor::Trim).unwrap().into_stream()]);
    let control = forge.control.as_ref().unwrap();
    control.publisher().commit(Position::start_of(1), 0, 0);
    control.wake();
    tasks.run_until(|t| t.streams[0].is_none());
    assert!(matches!(tasks.errors[0], Some(ReadError::Rewound { .. })));
    let mut reader = ring.reader(Cursor::Trim).unwrap().into_stream().into_reader();
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
    let streams = vec![ring.reader(Cursor::Trim).unwrap(), ring.reader_with(Cursor::Trim, durable).unwrap()];
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
