//! Group commit: many appenders share a flush.

use crate::Bench;
use crate::args::suffix;
use crate::ring;
use crate::stats::duel;
use crate::table::{Goal, Unit};
use futures_util::stream::{FuturesUnordered, TryStreamExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use waldo::writer::{Durability, SharedWriter, Writer};

const APPENDERS: usize = 64;
const PAYLOAD: [u8; 100] = [0x5a; 100];

pub fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.table.topic("group: durable appends of 100 B per second; floor: one thread doing the same");
    for io in bench.plan.io.clone() {
        let area = bench.scratch.area()?;
        let options = ring::options(&bench.plan, &area, Durability::Sync, io);
        let writer = SharedWriter::new(Writer::open(area.home(), options)?);
        let time = Duration::from_millis(if bench.plan.smoke { 2 } else { 100 });
        let mut alone = || from_threads(&writer, 1, time);

        let threads = duel(&bench.plan, &mut || from_threads(&writer, APPENDERS, time), &mut alone)?;
        let name = format!("{APPENDERS} threads, SharedWriter::append_payloads{}", suffix(io));
        bench.table.duel(&name, Unit::Rate, &threads, Goal::RatioAtLeast(20.0));

        let tasks = duel(&bench.plan, &mut || pollster::block_on(from_tasks(&writer, time)), &mut alone)?;
        let name = format!("{APPENDERS} tasks in one thread, append_payloads_async{}", suffix(io));
        bench.table.duel(&name, Unit::Rate, &tasks, Goal::RatioAtLeast(20.0));
        writer.close()?;
    }
    Ok(())
}

fn from_threads(writer: &SharedWriter, threads: usize, time: Duration) -> anyhow::Result<f64> {
    let stop = AtomicBool::new(false);
    let append = || -> anyhow::Result<u64> {
        let mut appended = 0;
        while !stop.load(Ordering::Relaxed) {
            writer.append_payloads(&[PAYLOAD])?;
            appended += 1;
        }
        Ok(appended)
    };
    thread::scope(|scope| {
        let start = Instant::now();
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(append)).collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let mut appended = 0;
        for handle in handles {
            appended += handle.join().map_err(|_| anyhow::anyhow!("an appender panicked"))??;
        }
        Ok(appended as f64 / start.elapsed().as_secs_f64())
    })
}

async fn from_tasks(writer: &SharedWriter, time: Duration) -> anyhow::Result<f64> {
    let start = Instant::now();
    let task = || async {
        let mut appended = 0u64;
        while start.elapsed() < time {
            writer.append_payloads_async(&[PAYLOAD]).await?;
            appended += 1;
        }
        anyhow::Ok(appended)
    };
    let tasks: FuturesUnordered<_> = (0..APPENDERS).map(|_| task()).collect();
    let appended = tasks.try_fold(0, |sum, n| async move { Ok(sum + n) }).await?;
    Ok(appended as f64 / start.elapsed().as_secs_f64())
}
