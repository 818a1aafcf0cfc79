//! Lap after lap with nothing left out: the time includes background flushes, rotations and writeback.

use super::Case;
use super::api::{Api, OpenRing};
use crate::floor::Files;
use crate::result_table::{Goal, Unit};
use crate::ring::{self, COMMITTED};
use crate::session::Session;
use crate::watch::Watch;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use waldo_harness::results::histogram::Latency;

/// Laps at least, after the first one, which is not measured.
const LAPS: u64 = 5;
/// In times of `--seconds`.
const TIME: u32 = 2;
/// Appends between two looks whether the user wants to go on.
const CHECK_EVERY: u64 = 64;
/// The writer flushes so often when it promises `kill -9` only, and so does the floor.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Through each API, large batches and lone records.
pub fn run(session: &mut Session, case: &Case) -> anyhow::Result<()> {
    session.sheet.topic(
        "sustained",
        "committed, 5 laps of the ring and 2 x --seconds at least, background flushes and rotations inside the time; floor: \
         pwrite of as many bytes over as many files, with the same background flush",
    );
    let batch = (case.batch_bytes / ring::size(1000)).max(1);
    for (api, payload_len, count) in
        [(Api::Writer, 1000, batch), (Api::Embedded, 1000, batch), (Api::Writer, 1000, 1)]
    {
        row(session, api, payload_len, count)?;
    }
    session.notes.push(
        "sustained: percentiles are of single appends, back to back. Making the records is in the throughput and not in \
         the percentiles."
            .to_owned(),
    );
    Ok(())
}

fn row(session: &mut Session, api: Api, payload_len: usize, count: usize) -> anyhow::Result<()> {
    let plan = session.plan.clone();
    let what = if count == 1 { "lone" } else { "batches" };
    let name = format!("{}, {what}, {payload_len} B", api.name());
    session.watch.show(&format!("sustained: {name}"));
    let area = session.scratch.area()?;
    let bytes = count * ring::size(payload_len);
    // Both have been written once before the clock runs.
    let floor = {
        let mut files = Files::make(&area.floor(), plan.ring_size as usize, plan.page_len)?;
        // A batch that is larger than a file is written in pieces, as in a ring.
        let block = vec![0x5a; bytes.min(plan.page_len as usize)];
        let flushed = files.duplicates()?;
        let mut laps = Laps::of(session, bytes);
        flushing(&flushed, || {
            laps.run(&session.watch, || {
                for _ in 0..bytes.div_ceil(block.len()) {
                    files.write(&block)?;
                }
                Ok(())
            })
        })?;
        laps
    };
    std::fs::remove_dir_all(area.floor())?;
    let payload = vec![0x5a; payload_len];
    let mut ring = OpenRing::open(api, &plan, &area, COMMITTED)?;
    let filled = (plan.ring_bytes() + 2 * plan.page_len).div_ceil((2 << 20).max(bytes) as u64);
    for _ in 0..filled {
        session.watch.check()?;
        ring.append(&payload, (2 << 20).max(bytes) / ring::size(payload_len))?;
    }
    let before = ring.waits()?;
    let mut ours = Laps::of(session, bytes);
    ours.run(&session.watch, || ring.append(&payload, count))?;
    let waits = ring.waits()?;
    ring.close()?;

    let goal = if count > 1 { Goal::RatioAtLeast(0.7) } else { Goal::None };
    session.sheet.single(&name, Unit::Bytes, ours.rate(), Some(floor.rate()), goal);
    for (percent, label) in [(50.0, "p50"), (99.0, "p99"), (99.9, "p99.9"), (100.0, "max")] {
        let [ours, floor] = [&ours, &floor].map(|side| side.latency.p(percent).as_nanos() as f64);
        session.sheet.single(&format!("{name}, {label}"), Unit::Ns, ours, Some(floor), Goal::None);
    }
    let appends = ours.latency.count() as f64;
    let waited = (waits.pages - before.pages) as f64 / appends;
    let row = format!("{name}, appends that waited for a page");
    session.sheet.single(&row, Unit::Share, waited, None, Goal::AtMost(1e-4));
    let waited = (waits.disk - before.disk) as f64 / appends;
    let row = format!("{name}, appends that waited for the disk");
    session.sheet.single(&row, Unit::Share, waited, None, Goal::None);
    Ok(())
}

/// One side's laps.
struct Laps {
    /// Of one append.
    bytes: u64,
    appends_min: u64,
    time_min: Duration,
    latency: Latency,
    took: Duration,
}

impl Laps {
    fn of(session: &Session, bytes: usize) -> Laps {
        let bytes = bytes as u64;
        let plan = &session.plan;
        Laps {
            bytes,
            appends_min: (LAPS * plan.ring_bytes()).div_ceil(bytes),
            time_min: plan.time * TIME,
            latency: Latency::new(),
            took: Duration::ZERO,
        }
    }

    fn run(&mut self, watch: &Watch, mut append: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.latency.count() < self.appends_min || begun.elapsed() < self.time_min {
            if self.latency.count().is_multiple_of(CHECK_EVERY) {
                watch.check()?;
            }
            let start = Instant::now();
            append()?;
            self.latency.record(start.elapsed());
        }
        self.took = begun.elapsed();
        Ok(())
    }

    fn rate(&self) -> f64 {
        (self.latency.count() * self.bytes) as f64 / self.took.as_secs_f64()
    }
}

/// Does `work` while a thread flushes the files now and then.
fn flushing<T>(files: &[File], work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let flusher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                thread::park_timeout(FLUSH_INTERVAL);
                files.iter().try_for_each(File::sync_data)?;
            }
            std::io::Result::Ok(())
        });
        let outcome = work();
        done.store(true, Ordering::Relaxed);
        flusher.thread().unpark();
        match flusher.join() {
            Ok(flushed) => outcome.and_then(|value| flushed.map(|()| value).map_err(Into::into)),
            Err(_) => outcome,
        }
    })
}
