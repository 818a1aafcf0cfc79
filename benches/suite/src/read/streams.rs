//! Waking ten thousand asynchronous streams of one process.

use crate::result_table::{Goal, Unit};
use crate::ring::{self, COMMITTED};
use crate::session::Session;
use anyhow::Context as _;
use futures_util::StreamExt;
use std::future::poll_fn;
use std::hint::black_box;
use std::slice::from_ref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use waldo::reader::{Batches, Cursor, Ring};

const STREAMS: usize = 10_000;
const PAYLOAD: [u8; 100] = [0x5a; 100];
/// Longest that a round may take.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// One row.
pub fn run(session: &mut Session) -> anyhow::Result<()> {
    session.sheet.topic(
        "streams",
        "from an append until every async stream of a process has the record, per stream; floor: as many tasks that wait \
         for a number, woken one after the other",
    );
    let count = session.plan.share(STREAMS);
    let area = session.scratch.area()?;
    let mut writer = ring::open(&session.plan, &area, COMMITTED)?;
    let ring = Ring::attach(area.home())?;
    let runtime = Builder::new_multi_thread().build()?;
    let seen = Arc::new(AtomicUsize::new(0));
    for _ in 0..count {
        runtime.spawn(follow(ring.reader(Cursor::Tip)?.into_stream(), Arc::clone(&seen)));
    }
    let bell = Arc::new(Bell::new(count));
    let heard = Arc::new(AtomicUsize::new(0));
    listen(&runtime, &bell, &heard);

    let mut ours = || {
        seen.store(0, Ordering::Relaxed);
        let start = Instant::now();
        writer.append_payloads(from_ref(&PAYLOAD))?;
        until(&seen, count)?;
        Ok(start.elapsed().as_nanos() as f64 / count as f64)
    };
    let mut bare = || {
        heard.store(0, Ordering::Relaxed);
        let start = Instant::now();
        bell.ring();
        until(&heard, count)?;
        Ok(start.elapsed().as_nanos() as f64 / count as f64)
    };
    let name = format!("{count} streams woken, each");
    let duel = session.compare(&name, &mut ours, &mut bare);
    runtime.shutdown_background();
    let duel = duel?;
    writer.close()?;
    session.sheet.duel(&name, Unit::Ns, &duel, Goal::None);
    Ok(())
}

async fn follow(mut batches: Batches, seen: Arc<AtomicUsize>) {
    while let Some(Ok(batch)) = batches.next().await {
        for record in &batch {
            black_box(record.data()[0]);
            seen.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The floor: a number, and the tasks that wait for it to change.
pub struct Bell {
    number: AtomicU64,
    wakers: Vec<Mutex<Option<Waker>>>,
}

impl Bell {
    /// For so many tasks.
    pub fn new(tasks: usize) -> Bell {
        Bell { number: AtomicU64::new(0), wakers: (0..tasks).map(|_| Mutex::default()).collect() }
    }

    /// Changes the number, and wakes all who wait.
    pub fn ring(&self) {
        self.number.fetch_add(1, Ordering::Release);
        for waker in &self.wakers {
            let waker = waker.lock().unwrap_or_else(PoisonError::into_inner).take();
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Task `n` waits until the number is another one than `last`.
    pub async fn after(&self, n: usize, last: u64) -> u64 {
        poll_fn(|cx| {
            *self.wakers[n].lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
            let now = self.number.load(Ordering::Acquire);
            if now == last { Poll::Pending } else { Poll::Ready(now) }
        })
        .await
    }
}

fn listen(runtime: &Runtime, bell: &Arc<Bell>, heard: &Arc<AtomicUsize>) {
    for n in 0..bell.wakers.len() {
        let (bell, heard) = (Arc::clone(bell), Arc::clone(heard));
        runtime.spawn(async move {
            let mut last = 0;
            loop {
                last = bell.after(n, last).await;
                heard.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

fn until(counter: &AtomicUsize, count: usize) -> anyhow::Result<()> {
    let start = Instant::now();
    while counter.load(Ordering::Relaxed) < count {
        (start.elapsed() < LOST_AFTER).then_some(()).context("a stream has not woken up")?;
        thread::sleep(Duration::from_micros(50));
    }
    Ok(())
}
