//! Latency of single appends while pages of 1 MiB fill up one after another.

use crate::Bench;
use crate::args::suffix;
use crate::floor::Files;
use crate::ring::{self, INTERVAL};
use crate::stats::quantile;
use crate::table::{Goal, Unit};
use std::slice::from_ref;
use std::time::Instant;
use waldo::reader::Ring;
use waldo::writer::{Durability, Io, Writer, WriterOptions};

const PAGE_LEN: u64 = 1 << 20;
const ROTATIONS: usize = 200;
const TURNS: usize = 10;

pub fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.table.topic(
        "rotate: pages of 1 MiB, one append at a time; floor: pwrite, or pwritev2(RWF_DSYNC), over files of 1 MiB",
    );
    for io in bench.plan.io.clone() {
        latencies(bench, 1000, INTERVAL, io)?;
        latencies(bench, 64 << 10, Durability::Sync, io)?;
    }
    bench.table.note(
        "service times of appends back to back: what would have queued behind a slow one is not counted. \
         The goal is 3 x p50 + one flush of 1 MiB",
    );
    Ok(())
}

fn latencies(bench: &mut Bench, payload_len: usize, durability: Durability, io: Io) -> anyhow::Result<()> {
    let area = bench.scratch.area()?;
    let sync = durability == Durability::Sync;
    let options = WriterOptions {
        page_len: PAGE_LEN,
        ring_size: 8,
        ..ring::options(&bench.plan, &area, durability, io)
    };
    let mut writer = Writer::open(area.home(), options)?;
    let mut files = Files::make(&area.floor(), 8, PAGE_LEN)?;
    let payload = vec![0x5a; payload_len];
    let bytes = vec![0x5a; ring::size(payload_len)];
    // A page holds a little less than a file.
    let rotations = bench.plan.count(ROTATIONS);
    let appends = rotations.div_ceil(TURNS) * (PAGE_LEN as usize / bytes.len());
    ring::fill(&mut writer, payload_len, 10 * PAGE_LEN)?;
    let status = Ring::attach(area.home())?;
    let before = counter(&status, "rotations")?;
    let stalled_before = counter(&status, "rotation_stalls")?;

    let (mut ours, mut floor, mut flush) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        for _ in 0..appends {
            let start = Instant::now();
            writer.append_payloads(from_ref(&payload))?;
            ours.push(start.elapsed().as_nanos() as f64);
        }
        writer.sync()?;
        for _ in 0..appends {
            let start = Instant::now();
            if sync {
                files.write_durable(&bytes)?
            } else {
                files.write(&bytes)?
            }
            floor.push(start.elapsed().as_nanos() as f64);
        }
        files.flush()?;
        for _ in 0..PAGE_LEN as usize / bytes.len() {
            files.write(&bytes)?;
        }
        let start = Instant::now();
        files.flush_current()?;
        flush.push(start.elapsed().as_nanos() as f64);
    }
    let rotations = counter(&status, "rotations")? - before;
    let stalls = counter(&status, "rotation_stalls")? - stalled_before;
    writer.close()?;

    let limit = 3.0 * quantile(ours.clone(), 0.5) + quantile(flush, 0.5);
    let durable = if sync { ", durable" } else { "" };
    let name = format!("{payload_len} B{durable}{}", suffix(io));
    for (q, label) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")] {
        let goal = if label == "p99.9" { Goal::AtMost(limit) } else { Goal::None };
        let (ours, floor) = (quantile(ours.clone(), q), quantile(floor.clone(), q));
        bench.table.single(&format!("{name}, {label}"), Unit::Ns, ours, Some(floor), goal);
    }
    let name = format!("{name}, appends that waited for one of {rotations} pages");
    bench.table.single(&name, Unit::Count, stalls as f64, None, Goal::AtMost(0.0));
    Ok(())
}

fn counter(ring: &Ring, name: &str) -> anyhow::Result<u64> {
    let status = ring.status()?;
    Ok(status.counters.iter().find(|(key, _)| *key == name).map_or(0, |(_, value)| *value))
}
