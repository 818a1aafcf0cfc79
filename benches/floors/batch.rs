//! 2 MB of records at a time, lap after lap of a ring that recycles its pages.

use crate::Bench;
use crate::args::suffix;
use crate::floor::Files;
use crate::ring::{self, INTERVAL};
use crate::stats::duel;
use crate::table::{Goal, Unit};
use std::time::{Duration, Instant};
use waldo::writer::{Durability, Io, Writer};

const BATCH_BYTES: usize = 2 << 20;

pub fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.table.topic(
        "batch: about 2 MiB of records per append, one lap of the ring per round, headers counted; \
         floor: pwrite, or pwritev2(RWF_DSYNC), of 2 MiB over as many files",
    );
    for io in bench.plan.io.clone() {
        for durability in [INTERVAL, Durability::Sync] {
            for (payload_len, prebuilt) in [(1000, true), (1000, false), (100, true), (100, false)] {
                sustained(bench, payload_len, prebuilt, durability, io)?;
            }
        }
    }
    bench.table.note(
        "`append`: records made, with their hashes, just before and not timed; `append_payloads` hashes. \
         Both sides are flushed, not timed, after each round",
    );
    Ok(())
}

fn sustained(
    bench: &mut Bench,
    payload_len: usize,
    prebuilt: bool,
    durability: Durability,
    io: Io,
) -> anyhow::Result<()> {
    let area = bench.scratch.area()?;
    let plan = &bench.plan;
    let sync = durability == Durability::Sync;
    let count = BATCH_BYTES / ring::size(payload_len);
    let batch_bytes = count * ring::size(payload_len);
    let lap = plan.page_len * u64::from(plan.ring_size);
    let batches = lap / batch_bytes as u64;

    let mut files = Files::make(&area.floor(), plan.ring_size as usize, plan.page_len)?;
    let block = vec![0x5a; BATCH_BYTES];
    let mut bare = || {
        let start = Instant::now();
        let blocks = lap / BATCH_BYTES as u64;
        for _ in 0..blocks {
            if sync { files.write_durable(&block)? } else { files.write(&block)? }
        }
        let time = start.elapsed();
        files.flush()?;
        Ok((blocks * BATCH_BYTES as u64) as f64 / time.as_secs_f64())
    };

    let mut writer = Writer::open(area.home(), ring::options(plan, &area, durability, io))?;
    // As many payloads as records, so that both sides read as much memory.
    let bytes = vec![0x5a; count * payload_len];
    let payloads: Vec<&[u8]> = bytes.chunks_exact(payload_len).collect();
    // The first lap makes its pages; what is measured is recycling.
    if !plan.smoke {
        ring::fill(&mut writer, payload_len, lap + 2 * plan.page_len)?;
    }
    let mut ours = || {
        let mut time = Duration::ZERO;
        for _ in 0..batches {
            if prebuilt {
                let mut logs = ring::logs(writer.tip(), payloads[0], count);
                for (log, payload) in logs.iter_mut().zip(&payloads) {
                    *log = waldo::Log::with_hash(log.seq_no(), log.prev_seq_no(), payload, log.data_hash());
                }
                let start = Instant::now();
                writer.append(&logs)?;
                time += start.elapsed();
            } else {
                let start = Instant::now();
                writer.append_payloads(&payloads)?;
                time += start.elapsed();
            }
        }
        writer.sync()?;
        Ok((batches as usize * batch_bytes) as f64 / time.as_secs_f64())
    };
    let duel = duel(plan, &mut ours, &mut bare)?;
    writer.close()?;
    let name = if prebuilt { "append" } else { "append_payloads" };
    let durable = if sync { ", durable" } else { "" };
    let rate = duel.ours / ring::size(payload_len) as f64;
    let name = format!("{name}, {payload_len} B{durable}{} ({:.2} M records/s)", suffix(io), rate / 1e6);
    let goal = match (payload_len, sync) {
        (1000, false) if prebuilt => Goal::RatioAtLeast(0.6),
        (1000, true) if prebuilt => Goal::RatioAtLeast(0.9),
        _ => Goal::None,
    };
    bench.table.duel(&name, Unit::Bytes, &duel, goal);
    Ok(())
}
