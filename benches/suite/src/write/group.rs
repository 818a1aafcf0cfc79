//! Group commit: many appenders share a flush.

use super::Case;
use crate::result_table::{Goal, Unit};
use crate::ring;
use crate::session::Session;
use futures_util::stream::{FuturesUnordered, TryStreamExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use waldo::writer::{Durability, SharedWriter};

/// So many appenders the goal is given for.
const GOAL_APPENDERS: usize = 64;

/// Threads, then tasks in one thread.
pub fn run(session: &mut Session, case: &Case) -> anyhow::Result<()> {
    session.sheet.topic(
        "group",
        "durable appends of one record per second, many at once; floor: one thread doing the same",
    );
    for payload_len in case.sizes(&[100]) {
        let area = session.scratch.area()?;
        let writer = SharedWriter::new(ring::open(&session.plan, &area, Durability::Sync)?);
        let payload = vec![0x5a; payload_len];
        let time = round_time(session);
        let mut alone = || from_threads(&writer, &payload, 1, time);
        let goal = |n| if n == GOAL_APPENDERS { Goal::RatioAtLeast(20.0) } else { Goal::None };

        let name = format!("{} threads, SharedWriter::append_payloads, {payload_len} B", case.producers);
        let mut many = || from_threads(&writer, &payload, case.producers, time);
        let threads = session.compare(&name, &mut many, &mut alone)?;
        session.sheet.duel(&name, Unit::Rate, &threads, goal(case.producers));

        let name =
            format!("{} in flight from one thread, append_payloads_async, {payload_len} B", case.depth);
        let mut many = || pollster::block_on(from_tasks(&writer, &payload, case.depth, time));
        let tasks = session.compare(&name, &mut many, &mut alone)?;
        session.sheet.duel(&name, Unit::Rate, &tasks, goal(case.depth));
        writer.close()?;
    }
    Ok(())
}

/// Long enough for many flushes.
pub fn round_time(session: &Session) -> Duration {
    (session.plan.time / 10).clamp(Duration::from_millis(2), Duration::from_millis(100))
}

/// Records per second from `threads` threads, each waiting for one append before it starts the next.
pub fn from_threads(
    writer: &SharedWriter,
    payload: &[u8],
    threads: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let stop = AtomicBool::new(false);
    let append = || -> anyhow::Result<u64> {
        let mut appended = 0;
        while !stop.load(Ordering::Relaxed) {
            writer.append_payloads(&[payload])?;
            appended += 1;
        }
        Ok(appended)
    };
    thread::scope(|scope| {
        let start = Instant::now();
        let spawn = |_| thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, append);
        let handles: Result<Vec<_>, _> = (0..threads).map(spawn).collect();
        if handles.is_ok() {
            thread::sleep(time);
        }
        stop.store(true, Ordering::Relaxed);
        let mut appended = 0;
        for handle in handles? {
            appended += handle.join().map_err(|_| anyhow::anyhow!("an appender panicked"))??;
        }
        Ok(appended as f64 / start.elapsed().as_secs_f64())
    })
}

/// Records per second from `tasks` tasks in this thread, each waiting for one append before it starts the
/// next.
pub async fn from_tasks(
    writer: &SharedWriter,
    payload: &[u8],
    tasks: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let start = Instant::now();
    let task = || async {
        let mut appended = 0u64;
        while start.elapsed() < time {
            writer.append_payloads_async(&[payload]).await?;
            appended += 1;
        }
        anyhow::Ok(appended)
    };
    let tasks: FuturesUnordered<_> = (0..tasks).map(|_| task()).collect();
    let appended = tasks.try_fold(0, |sum, n| async move { Ok(sum + n) }).await?;
    Ok(appended as f64 / start.elapsed().as_secs_f64())
}
