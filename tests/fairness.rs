//! Tasks that always find records ready must let the other tasks of their thread run.
//!
//! A query or a stream with records ready never returned to the executor. With two such loops on one thread
//! the second one did not begin in 6 s, and no timer of the runtime ticked. With 31 readers on two threads,
//! some made no progress for over 10 s. The same is true of appends that are done at once.
#![allow(clippy::unwrap_used, reason = "a test, helpers included, fails by panicking")]

use futures_util::StreamExt;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::join;
use waldo::reader::{Cursor as Start, Reader, ReaderOptions, Ring};
use waldo::{Cursor, Log, Options, Waldo};

/// Longest that anything may take.
const DEADLINE: Duration = Duration::from_secs(20);
const TICKS: u32 = 3;
const RECORDS: u64 = 50_000;

async fn open(home: &TempDir, records: u64) -> Waldo {
    let options = Options { file_o_dsync: false, ..Options::default() };
    let waldo = Waldo::open(home.path(), options).await.unwrap();
    let logs: Vec<_> = (1..=records).map(|n| Log::new_owned(n, n - 1, vec![1; 8])).collect();
    waldo.append(&logs).await.unwrap();
    waldo
}

/// Queries what is there again and again until `done`, and counts that.
async fn greedy(mut waldo: Waldo, cursor: Cursor, count: &Cell<u32>, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "nothing else has run since this loop began");
        let found = waldo.query(cursor, false).await.unwrap();
        assert_eq!(found.into_iter().count() as u64, if cursor == Cursor::Tip { 0 } else { 10 });
        count.set(count.get() + 1);
    }
}

/// Two loops that find records, one that finds none, and whatever else is to run. Ends when all of them have
/// run.
async fn all_run(home: &TempDir, other: impl Future<Output = ()>) {
    let waldo = open(home, 10).await;
    let counts = [const { Cell::new(0) }; 3];
    let ended = Cell::new(false);
    let done = || ended.get() && counts.iter().all(|count| count.get() > 0);
    let [first, second, third] = &counts;
    join!(
        greedy(waldo.clone(), Cursor::After(0), first, done),
        greedy(waldo.clone(), Cursor::Trim, second, done),
        greedy(waldo.clone(), Cursor::Tip, third, done),
        async {
            other.await;
            ended.set(true);
        },
    );
    waldo.close().await;
}

#[tokio::test(flavor = "current_thread")]
async fn greedy_queries_let_a_timer_of_the_runtime_tick() {
    all_run(&tempfile::tempdir().unwrap(), async {
        let mut timer = tokio::time::interval(Duration::from_millis(1));
        for _ in 0..TICKS {
            timer.tick().await;
        }
    })
    .await;
}

#[test]
fn greedy_queries_let_each_other_run_on_a_plain_executor() {
    pollster::block_on(all_run(&tempfile::tempdir().unwrap(), async {}));
}

/// Appends again and again until `done`, and counts that.
async fn greedy_appends(waldo: Waldo, payload: usize, count: &Cell<u32>, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "nothing else has run since this loop began");
        let last = waldo.prev_seq_no().unwrap();
        waldo.append(&[Log::new_owned(last + 1, last, vec![1; payload])]).await.unwrap();
        count.set(count.get() + 1);
    }
}

/// Two loops of appends, and whatever else is to run. Ends when all of them have run, each a second time
/// after the others.
async fn all_append(payload: usize, other: impl Future<Output = ()>) {
    let home = tempfile::tempdir().unwrap();
    let waldo = open(&home, 10).await;
    let counts = [const { Cell::new(0) }; 2];
    let ended = Cell::new(false);
    let done = || ended.get() && counts.iter().all(|count| count.get() > 8);
    let [first, second] = &counts;
    join!(
        greedy_appends(waldo.clone(), payload, first, done),
        greedy_appends(waldo.clone(), payload, second, done),
        async {
            other.await;
            ended.set(true);
        },
    );
    let most = counts.iter().map(Cell::get).max().unwrap();
    println!("{most} appends of {payload} bytes until all had run");
    waldo.close().await;
}

#[tokio::test(flavor = "current_thread")]
async fn greedy_appends_let_a_timer_of_the_runtime_tick() {
    for payload in [10, 100_000] {
        all_append(payload, async {
            let mut timer = tokio::time::interval(Duration::from_millis(1));
            for _ in 0..TICKS {
                timer.tick().await;
            }
        })
        .await;
    }
}

#[test]
fn greedy_appends_let_each_other_run_on_a_plain_executor() {
    for payload in [10, 100_000] {
        pollster::block_on(all_append(payload, async {}));
    }
}

#[test]
fn a_large_append_is_a_turn_by_itself() {
    let home = tempfile::tempdir().unwrap();
    pollster::block_on(async {
        let waldo = open(&home, 10).await;
        let appends = async |payload: usize, most: u32| {
            let (mine, others) = (Cell::new(0_u32), Cell::new(0_u32));
            let one = async |mine: &Cell<u32>, others: &Cell<u32>, waldo: Waldo| {
                while mine.get() < 50 {
                    let last = waldo.prev_seq_no().unwrap();
                    waldo.append(&[Log::new_owned(last + 1, last, vec![1; payload])]).await.unwrap();
                    mine.set(mine.get() + 1);
                    let ahead = mine.get().saturating_sub(others.get());
                    assert!(ahead <= most, "{ahead} appends of {payload} bytes ahead of the other task");
                }
            };
            join!(one(&mine, &others, waldo.clone()), one(&others, &mine, waldo.clone()));
        };
        appends(10, 8).await;
        appends(100_000, 1).await;
        waldo.close().await;
    });
}

/// Reads all records, one in each batch.
async fn follow(reader: Reader, count: &Cell<u64>) {
    let mut batches = reader.into_stream();
    while count.get() < RECORDS {
        let batch = batches.next().await.unwrap().unwrap();
        count.set(count.get() + batch.len() as u64);
    }
}

async fn both_streams_run(home: &TempDir) {
    let waldo = open(home, RECORDS).await;
    let ring = Ring::attach(home.path()).unwrap();
    let reader = || {
        let options = ReaderOptions::default().batch_bytes(1);
        ring.reader_with(Start::Oldest, options).unwrap()
    };
    let counts = [const { Cell::new(0) }; 2];
    let seen_by_first = async {
        follow(reader(), &counts[0]).await;
        counts[1].get()
    };
    let (second, ()) = join!(seen_by_first, follow(reader(), &counts[1]));
    assert!(second > 0, "the second stream did not run before the first had read everything");
    waldo.close().await;
}

#[tokio::test(flavor = "current_thread")]
async fn greedy_streams_let_each_other_run() {
    both_streams_run(&tempfile::tempdir().unwrap()).await;
}

#[test]
fn greedy_streams_let_each_other_run_on_a_plain_executor() {
    pollster::block_on(both_streams_run(&tempfile::tempdir().unwrap()));
}

/// What the turns cost. Prints figures, asserts none: `cargo test --release --test fairness -- --ignored
/// --nocapture`.
#[test]
#[ignore = "a measurement"]
fn what_a_turn_costs() {
    const N: u32 = 1_000_000;
    let home = tempfile::tempdir().unwrap();
    let measure = |name: &str, ns: u128| println!("{name}: {} ns", ns / u128::from(N));
    let mut turn = waldo::reader::Turn::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let asked = async {
        let start = Instant::now();
        for _ in 0..N {
            turn.take().await;
        }
        start.elapsed().as_nanos()
    };
    measure("a turn asked for", runtime.block_on(asked));
    let yielded = || async {
        let start = Instant::now();
        for _ in 0..N {
            let mut first = true;
            std::future::poll_fn(|cx| {
                if std::mem::take(&mut first) {
                    cx.waker().wake_by_ref();
                    return std::task::Poll::Pending;
                }
                std::task::Poll::Ready(())
            })
            .await;
        }
        start.elapsed().as_nanos()
    };
    let task = async {
        tokio::task::LocalSet::new()
            .run_until(async { tokio::task::spawn_local(yielded()).await.unwrap() })
            .await
    };
    measure("to the back of the queue, tokio", runtime.block_on(task));
    measure("to the back of the queue, pollster", pollster::block_on(yielded()));
    let queries = async {
        let mut waldo = open(&home, 10).await;
        let start = Instant::now();
        for n in 0..N {
            let found = waldo.query(Cursor::After(u64::from(n % 10)), false).await.unwrap();
            std::hint::black_box(&found);
        }
        let took = start.elapsed().as_nanos();
        waldo.close().await;
        took
    };
    measure("a query", pollster::block_on(queries));
}

/// An append wakes a query that waits. A runtime may put that task on the thread of the append, right behind
/// the task that appends; one that went on with something else then kept the other from the record, beside
/// an idle thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_woken_runs_although_who_appended_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let waldo = open(&home, 10).await;
    let seen = Arc::new(AtomicU64::new(10));
    let reader = tokio::spawn({
        let (mut waldo, seen) = (waldo.clone(), Arc::clone(&seen));
        async move {
            while seen.load(Ordering::Relaxed) < 60 {
                let after = Cursor::After(seen.load(Ordering::Relaxed));
                let found = waldo.query(after, true).await.unwrap();
                seen.store(found.into_iter().last().unwrap().seq_no(), Ordering::Relaxed);
            }
        }
    });
    let appender = tokio::spawn(async move {
        for n in 11..=60 {
            // The query waits, and the appends are rare enough for it to be told by them.
            tokio::time::sleep(Duration::from_millis(2)).await;
            waldo.append(&[Log::new_owned(n, n - 1, vec![1; 8])]).await.unwrap();
            let start = Instant::now();
            while seen.load(Ordering::Relaxed) < n {
                assert!(start.elapsed() < DEADLINE, "record {n} has not reached the query");
                std::hint::spin_loop();
            }
        }
    });
    appender.await.unwrap();
    reader.await.unwrap();
}
