//! Streams that are told of what is new by the process's own writer. Nobody wakes them through the segment.

use crate::testing::{DEADLINE, Forge, numbers};
use crate::{AttachOptions, Batches, Cursor, Reader, ReaderOptions, Ring, Visibility};
use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::ThreadId;
use std::time::Instant;

/// Puts a stream's number, and the thread that has called, into a queue.
struct Queue(usize, Sender<(usize, ThreadId)>);

impl Wake for Queue {
    fn wake(self: Arc<Self>) {
        let _ = self.1.send((self.0, std::thread::current().id()));
    }
}

struct Streams {
    streams: Vec<Batches>,
    seen: Vec<u64>,
    send: Sender<(usize, ThreadId)>,
    woken: Receiver<(usize, ThreadId)>,
    start: Instant,
}

impl Streams {
    /// So many at the end of the log, all of which wait.
    fn wait(ring: &Ring, count: usize, visibility: Visibility) -> Streams {
        let options = ReaderOptions::default().visibility(visibility);
        let streams = (0..count).map(|_| ring.reader_with(Cursor::Tip, options.clone()).unwrap());
        let streams = streams.map(Reader::into_stream).collect();
        let (send, woken) = channel();
        let mut all = Streams { streams, seen: vec![0; count], send, woken, start: Instant::now() };
        (0..count).for_each(|n| all.poll(n));
        all
    }

    fn poll(&mut self, n: usize) {
        let waker = Waker::from(Arc::new(Queue(n, self.send.clone())));
        let mut cx = Context::from_waker(&waker);
        while let Poll::Ready(batch) = Pin::new(&mut self.streams[n]).poll_next(&mut cx) {
            self.seen[n] = *numbers(&batch.unwrap().unwrap()).last().unwrap();
        }
    }

    /// Until all have seen record `number`. Gives how many of them this thread has woken. All rounds of a
    /// test have one deadline, which would pass if each of them had to wait for the next look of the waiting
    /// thread.
    fn until(&mut self, number: u64) -> usize {
        let mut by_this = 0;
        while self.seen.iter().any(|seen| *seen < number) {
            let left = DEADLINE.saturating_sub(self.start.elapsed());
            let (n, thread) = self.woken.recv_timeout(left).expect("woken in time");
            by_this += usize::from(thread == std::thread::current().id());
            self.poll(n);
        }
        by_this
    }
}

fn attach(forge: &Forge) -> Ring {
    Ring::attach_with(forge.home(), AttachOptions::default().streams_are_told(true)).unwrap()
}

/// More rounds than seconds until the deadline.
const ROUNDS: u64 = DEADLINE.as_secs() * 5;

#[test]
fn who_tells_wakes_a_few_streams_and_the_waiting_thread_all_others() {
    let mut forge = Forge::live(65536, 4);
    let ring = attach(&forge);
    for count in [1, 8, 20] {
        let mut streams = Streams::wait(&ring, count, Visibility::Committed);
        let mut by_this = Vec::new();
        for _ in 0..ROUNDS / 3 {
            forge.append_n(1);
            // Unless the waiting thread, which looks by itself now and then, has come first.
            ring.tell_streams();
            by_this.push(streams.until(forge.tip()));
        }
        assert_eq!(by_this.iter().max(), Some(&count.min(8)), "{by_this:?}");
    }
}

#[test]
fn who_rouses_wakes_nobody_itself() {
    let mut forge = Forge::live(65536, 4);
    let ring = attach(&forge);
    let mut streams = Streams::wait(&ring, 3, Visibility::Committed);
    for _ in 0..ROUNDS {
        forge.append_n(1);
        ring.rouse_streams();
        assert_eq!(streams.until(forge.tip()), 0);
    }
}

/// Where several threads append, one may publish while a stream goes to sleep.
#[test]
fn what_is_published_while_a_stream_goes_to_sleep_is_told() {
    let mut forge = Forge::live(65536, 4);
    let ring = attach(&forge);
    let mut streams = Streams::wait(&ring, 1, Visibility::Committed);
    std::thread::scope(|scope| {
        let (tell, told) = channel();
        let ring = &ring;
        scope.spawn(move || {
            for () in &told {
                ring.tell_streams();
            }
        });
        for n in 0..ROUNDS * 20 {
            // At once after the stream has seen the record before, or a moment later.
            (0..n % 64).for_each(|_| std::hint::spin_loop());
            forge.append_n(1);
            tell.send(()).unwrap();
            streams.until(forge.tip());
        }
        drop(tell);
    });
}

#[test]
fn those_who_wait_for_durable_records_are_told_as_well() {
    let mut forge = Forge::live(65536, 4);
    let ring = attach(&forge);
    let mut streams = Streams::wait(&ring, 3, Visibility::Durable);
    for _ in 0..ROUNDS {
        forge.append_n(1);
        forge.control.as_ref().unwrap().publisher().set_durable(forge.position());
        ring.tell_streams();
        streams.until(forge.tip());
    }
}

#[test]
fn what_nobody_tells_is_noticed_all_the_same() {
    let mut forge = Forge::live(65536, 4);
    let ring = attach(&forge);
    let mut streams = Streams::wait(&ring, 2, Visibility::Committed);
    for _ in 0..3 {
        forge.append_n(1);
        streams.until(forge.tip());
    }
}
