//! Latency of single appends while small pages fill up one after another.

use super::Case;
use crate::cli::bench::duel::quantile;
use crate::cli::bench::floor::Files;
use crate::cli::bench::histogram::Latency;
use crate::cli::bench::report::{Axis, Plot, Series};
use crate::cli::bench::ring::{self, INTERVAL};
use crate::cli::bench::session::Session;
use crate::cli::bench::setting::Plan;
use crate::cli::bench::sheet::{Goal, Unit};
use crate::cli::writer_args::index_capacity;
use std::slice::from_ref;
use std::time::Instant;
use waldo::reader::Ring;
use waldo::writer::Durability;

const PAGE_LEN: u64 = 1 << 20;
const ROTATIONS: usize = 200;
const TURNS: usize = 10;

/// Small records committed, large ones durable.
pub fn run(session: &mut Session, case: &Case) -> anyhow::Result<()> {
    session.sheet.topic(
        "rotation",
        "one append at a time over 8 pages of 1 MiB; floor: pwrite, or pwritev2(RWF_DSYNC), over files of 1 MiB",
    );
    let mut series = Vec::new();
    for payload_len in case.sizes(&[1000]) {
        latencies(session, payload_len, INTERVAL, &mut series)?;
    }
    for payload_len in case.sizes(&[64 << 10]) {
        latencies(session, payload_len, Durability::Sync, &mut series)?;
    }
    session.plots.push(Plot {
        title: "Latency of single appends while pages of 1 MiB fill up".to_owned(),
        x: Axis::percentiles(),
        y: Axis { label: "microseconds".to_owned(), log: true },
        series,
    });
    session.notes.push(
        "rotation: service times of appends back to back; what would have queued behind a slow one is not counted \
         (`waldo bench latency` counts it). The goal is 3 x p50 + one flush of 1 MiB."
            .to_owned(),
    );
    Ok(())
}

fn latencies(
    session: &mut Session,
    payload_len: usize,
    durability: Durability,
    series: &mut Vec<Series>,
) -> anyhow::Result<()> {
    let area = session.scratch.area()?;
    let sync = durability == Durability::Sync;
    let name = format!("{payload_len} B, {}", if sync { "durable" } else { "committed" });
    session.watch.show(&format!("rotation: {name}"));
    // A quarter of a page at most is one record.
    let page_len = PAGE_LEN.max((4 * ring::size(payload_len) as u64).next_multiple_of(4096));
    let plan =
        Plan { page_len, ring_size: 8, index_capacity: index_capacity(page_len)?, ..session.plan.clone() };
    let mut writer = ring::open(&plan, &area, durability)?;
    let mut files = Files::make(&area.floor(), 8, page_len)?;
    let payload = vec![0x5a; payload_len];
    let bytes = vec![0x5a; ring::size(payload_len)];
    let turns = plan.share(TURNS);
    let in_a_page = page_len as usize / bytes.len();
    // A page holds a little less than a file.
    let appends = plan.share(ROTATIONS).div_ceil(turns) * in_a_page;
    ring::fill(&mut writer, Some(&session.watch), payload_len, 10 * page_len)?;
    let status = Ring::attach(area.home())?;
    let before = ring::counter(&status, "rotations")?;
    let stalled_before = ring::counter(&status, "rotation_stalls")?;

    let (mut ours, mut floor, mut flush) = (Latency::new(), Latency::new(), Vec::new());
    for turn in 0..2 * turns {
        session.watch.check()?;
        // A B B A ...
        if matches!(turn % 4, 0 | 3) {
            for _ in 0..appends {
                let start = Instant::now();
                writer.append_payloads(from_ref(&payload))?;
                ours.record(start.elapsed());
            }
            writer.sync()?;
            continue;
        }
        for _ in 0..appends {
            let start = Instant::now();
            if sync {
                files.write_durable(&bytes)?
            } else {
                files.write(&bytes)?
            }
            floor.record(start.elapsed());
        }
        files.flush()?;
        for _ in 0..in_a_page {
            files.write(&bytes)?;
        }
        let start = Instant::now();
        files.flush_current()?;
        flush.push(start.elapsed().as_nanos() as f64);
    }
    let rotations = ring::counter(&status, "rotations")? - before;
    let stalls = ring::counter(&status, "rotation_stalls")? - stalled_before;
    writer.close()?;

    let limit = 3.0 * ours.p(50.0).as_nanos() as f64 + quantile(flush, 0.5);
    for (percent, label) in [(50.0, "p50"), (99.0, "p99"), (99.9, "p99.9"), (100.0, "max")] {
        let goal = if label == "p99.9" { Goal::AtMost(limit) } else { Goal::None };
        let (ours, floor) = (ours.p(percent).as_nanos() as f64, floor.p(percent).as_nanos() as f64);
        session.sheet.single(&format!("{name}, {label}"), Unit::Ns, ours, Some(floor), goal);
    }
    let waited = format!("{name}, appends that waited for one of {rotations} pages");
    session.sheet.single(&waited, Unit::Count, stalls as f64, None, Goal::AtMost(0.0));
    series.push(Series { name: name.clone(), points: ours.percentile_points() });
    series.push(Series { name: format!("{name}, floor"), points: floor.percentile_points() });
    Ok(())
}
