//! The first lap: pages that were never written are filled as the log reaches them.

use super::Case;
use super::api::{Api, OpenRing};
use crate::comparison::quantile;
use crate::floor::Files;
use crate::result_table::{Goal, Unit};
use crate::ring::{self, COMMITTED};
use crate::scratch::Area;
use crate::session::Session;
use crate::setting::Plan;
use anyhow::Context;
use std::time::Instant;
use waldo::writer::Durability;
use waldo_harness::results::histogram::Latency;

/// Appends of one round that take one record each, in a row of a second or more.
const LONE: usize = 100_000;
const LONE_DURABLE: usize = 300;
/// What is appended durably in batches in one round, at most.
const DURABLE_BYTES: u64 = 128 << 20;
/// Time for opening a new ring.
const OPEN_GOAL_NS: f64 = 5e6;

/// Every round makes a ring, and files for the floor.
pub fn run(session: &mut Session, case: &Case) -> anyhow::Result<()> {
    session.sheet.topic(
        "first lap",
        "a new ring is opened and written for the first time, opening included; floor: the same calls as elsewhere, over \
         new files with reserved blocks, making them included",
    );
    opening(session)?;
    for api in [Api::Writer, Api::Embedded] {
        for durability in [COMMITTED, Durability::Sync] {
            batches(session, case, api, durability)?;
        }
    }
    for durability in [COMMITTED, Durability::Sync] {
        lone(session, case, durability)?;
    }
    session.notes.push(
        "first lap: what the disk was given is what the kernel counts for this process (write_bytes), up to a flush at \
         the end; it counts nothing on file systems without a disk."
            .to_owned(),
    );
    Ok(())
}

fn opening(session: &mut Session) -> anyhow::Result<()> {
    session.watch.show("first lap: opening");
    let mut times = Vec::new();
    for _ in 0..session.plan.rounds_min {
        session.watch.check()?;
        let area = session.scratch.area()?;
        let start = Instant::now();
        let writer = ring::open(&session.plan, &area, COMMITTED)?;
        times.push(start.elapsed().as_nanos() as f64);
        writer.close()?;
    }
    let goal = Goal::AtMost(OPEN_GOAL_NS);
    session.sheet.single("opening a new ring", Unit::Ns, quantile(times, 0.5), None, goal);
    Ok(())
}

fn batches(session: &mut Session, case: &Case, api: Api, durability: Durability) -> anyhow::Result<()> {
    let sync = durability == Durability::Sync;
    let plan = session.plan.clone();
    let payload_len = 1000;
    let count = (case.batch_bytes / ring::size(payload_len)).max(1);
    let batch_bytes = (count * ring::size(payload_len)) as u64;
    // Up to the last page, so that nothing is recycled.
    let lap = plan.ring_bytes() - plan.page_len;
    let bytes = if sync { lap.min(DURABLE_BYTES) } else { lap };
    let batches = (bytes / batch_bytes).max(1);
    let payload = vec![0x5a; payload_len];
    let (mut shares, mut waits) = (Vec::new(), Vec::new());
    let what = if sync { "durable" } else { "committed" };
    let name = format!("{}, batches of 1000 B, {what}", api.name());
    let duel = {
        let mut ours = || {
            let area = session.scratch.area()?;
            let before = written_bytes()?;
            let start = Instant::now();
            let mut ring = OpenRing::open(api, &plan, &area, durability)?;
            for _ in 0..batches {
                ring.append(&payload, count)?;
            }
            let time = start.elapsed();
            waits.push(ring.waits()?.pages as f64 / batches as f64);
            ring.close()?;
            shares.push((written_bytes()? - before) as f64 / (batches * batch_bytes) as f64);
            Ok((batches * batch_bytes) as f64 / time.as_secs_f64())
        };
        let mut floor = || floor(session, &plan, batch_bytes, batches, sync);
        session.compare(&format!("first lap: {name}"), &mut ours, &mut floor)?
    };
    let goal = if sync { Goal::None } else { Goal::RatioAtLeast(0.9) };
    session.sheet.duel(&name, Unit::Bytes, &duel, goal);
    let goal = if sync { Goal::None } else { Goal::AtMost(1.1) };
    let row = format!("{name}, given to the disk for each byte");
    session.sheet.single(&row, Unit::Times, quantile(shares, 0.5), None, goal);
    let row = format!("{name}, appends that waited for a page");
    session.sheet.single(&row, Unit::Share, quantile(waits, 0.5), None, Goal::AtMost(1e-4));
    Ok(())
}

/// Bytes per second into new files.
fn floor(session: &Session, plan: &Plan, block_bytes: u64, blocks: u64, sync: bool) -> anyhow::Result<f64> {
    let area = session.scratch.area()?;
    // A batch that is larger than a file is written in pieces, as in a ring.
    let block = vec![0x5a; block_bytes.min(plan.page_len) as usize];
    let pieces = (blocks * block_bytes).div_ceil(block.len() as u64);
    let start = Instant::now();
    let mut files = Files::reserve(&area.floor(), plan.ring_size as usize, plan.page_len)?;
    for _ in 0..pieces {
        if sync { files.write_durable(&block)? } else { files.write(&block)? }
    }
    let time = start.elapsed();
    files.flush()?;
    Ok((pieces * block.len() as u64) as f64 / time.as_secs_f64())
}

fn lone(session: &mut Session, case: &Case, durability: Durability) -> anyhow::Result<()> {
    let sync = durability == Durability::Sync;
    let plan = session.plan.clone();
    for payload_len in case.sizes(&[100, 1000]) {
        let name = format!("lone appends of {payload_len} B, {}", if sync { "durable" } else { "committed" });
        session.watch.show(&format!("first lap: {name}"));
        let lap = (plan.ring_bytes() - plan.page_len) as usize / ring::size(payload_len);
        let appends = plan.share(if sync { LONE_DURABLE } else { LONE }).min(lap).max(1);
        let (mut ours, mut floor) = (Latency::new(), Latency::new());
        for _ in 0..plan.rounds_min.min(5) {
            session.watch.check()?;
            lone_round(session, payload_len, durability, appends, &mut ours)?;
            bare_round(&session.scratch.area()?, &plan, payload_len, sync, appends, &mut floor)?;
        }
        for (percent, label) in [(50.0, "p50"), (90.0, "p90"), (99.0, "p99"), (99.9, "p99.9")] {
            let [ours, floor] = [&ours, &floor].map(|side| side.p(percent).as_nanos() as f64);
            session.sheet.single(&format!("{name}, {label}"), Unit::Ns, ours, Some(floor), Goal::None);
        }
    }
    Ok(())
}

fn lone_round(
    session: &Session,
    payload_len: usize,
    durability: Durability,
    appends: usize,
    latency: &mut Latency,
) -> anyhow::Result<()> {
    let area = session.scratch.area()?;
    let mut writer = ring::open(&session.plan, &area, durability)?;
    let payload = vec![0x5a; payload_len];
    for _ in 0..appends {
        let start = Instant::now();
        writer.append_payloads(&[&payload])?;
        latency.record(start.elapsed());
    }
    Ok(writer.close()?)
}

fn bare_round(
    area: &Area,
    plan: &Plan,
    payload_len: usize,
    sync: bool,
    writes: usize,
    latency: &mut Latency,
) -> anyhow::Result<()> {
    let bytes = vec![0x5a; ring::size(payload_len)];
    let mut files = Files::reserve(&area.floor(), plan.ring_size as usize, plan.page_len)?;
    for _ in 0..writes {
        let start = Instant::now();
        if sync {
            files.write_durable(&bytes)?
        } else {
            files.write(&bytes)?
        }
        latency.record(start.elapsed());
    }
    Ok(())
}

/// What this process has had written to a disk so far.
fn written_bytes() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io").context("cannot see what was written to the disk")?;
    let count = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    count.and_then(|count| count.parse().ok()).context("/proc/self/io has no line `write_bytes`")
}
