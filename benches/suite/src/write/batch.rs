//! Many records at a time, lap after lap of a ring that recycles its pages.

use super::{BATCH, Case};
use crate::comparison::PairedComparison;
use crate::floor::Files;
use crate::result_table::{Goal, Unit};
use crate::ring::{self, COMMITTED};
use crate::scratch::Area;
use crate::session::Session;
use std::time::{Duration, Instant};
use waldo::writer::Durability;
use waldo_terminal::units;

/// Batches of one round, in a row of a second or more.
const BATCHES_MAX: usize = 20_000;
const BATCHES_MAX_DURABLE: usize = 400;

/// Visible when append returns.
pub fn committed(session: &mut Session, case: &Case) -> anyhow::Result<()> {
    let about = about(case, "committed", "pwrite");
    session.sheet.topic("batch", &about);
    rows(session, case, COMMITTED)?;
    session.notes.push(
        "batch: `append` is of records made, with their hashes, just before and not timed; `append_payloads` hashes. \
         Ours and the floor are both flushed after each round, not timed."
            .to_owned(),
    );
    Ok(())
}

/// Durable when append returns.
pub fn durable(session: &mut Session, case: &Case) -> anyhow::Result<()> {
    let about = about(case, "durable", "pwritev2(RWF_DSYNC)");
    session.sheet.topic("batch, durable", &about);
    rows(session, case, Durability::Sync)
}

fn about(case: &Case, what: &str, floor: &str) -> String {
    format!(
        "{} of records per append, {what}, up to a lap of the ring per round, headers counted; floor: {floor} of \
         as many bytes over as many files",
        units::bytes(case.batch_bytes as u64)
    )
}

fn rows(session: &mut Session, case: &Case, durability: Durability) -> anyhow::Result<()> {
    let sync = durability == Durability::Sync;
    for payload_len in case.sizes(&[1000, 100]) {
        for prebuilt in [true, false] {
            let load = BatchLoad { payload_len, batch_bytes: case.batch_bytes, prebuilt, durability };
            let duel = sustained(session, load)?;
            let rate = Unit::Rate.show(duel.ours / ring::size(payload_len) as f64);
            let name = format!("{}, {payload_len} B ({rate} records)", load.api());
            // The goal for durable batches is for those in flight.
            let goal = if prebuilt && payload_len == 1000 && !sync && case.batch_bytes as u64 == BATCH {
                Goal::RatioAtLeast(0.6)
            } else {
                Goal::None
            };
            session.sheet.duel(&name, Unit::Bytes, &duel, goal);
        }
    }
    Ok(())
}

/// What is appended, and how.
#[derive(Clone, Copy, Debug)]
pub struct BatchLoad {
    pub payload_len: usize,
    pub batch_bytes: usize,
    /// Whether the records are made, and hashed, before the clock runs.
    pub prebuilt: bool,
    pub durability: Durability,
}

impl BatchLoad {
    fn api(self) -> &'static str {
        if self.prebuilt { "append" } else { "append_payloads" }
    }
}

/// Bytes per second.
pub fn sustained(session: &Session, load: BatchLoad) -> anyhow::Result<PairedComparison> {
    let BatchLoad { payload_len, batch_bytes, prebuilt, durability } = load;
    let area = session.scratch.area()?;
    let plan = &session.plan;
    let sync = durability == Durability::Sync;
    let count = (batch_bytes / ring::size(payload_len)).max(1);
    let batch_bytes = count * ring::size(payload_len);
    let lap = plan.ring_bytes();
    let most = plan.share(if sync { BATCHES_MAX_DURABLE } else { BATCHES_MAX }) as u64;
    let batches = (lap / batch_bytes as u64).min(most).max(1);
    let round_bytes = batches * batch_bytes as u64;
    let name =
        format!("batch: {}, {payload_len} B, {}", load.api(), if sync { "durable" } else { "committed" });
    session.watch.show(&name);

    let mut bare = Bare::make(session, &area, batch_bytes, round_bytes, sync)?;
    let mut bare = || bare.round();

    let mut writer = ring::open(plan, &area, durability)?;
    // As many payloads as records, so that both sides read as much memory.
    let bytes = vec![0x5a; count * payload_len];
    let payloads: Vec<&[u8]> = bytes.chunks_exact(payload_len).collect();
    // The first lap makes its pages; what is measured is recycling.
    ring::fill(&mut writer, Some(&session.watch), payload_len, lap + 2 * plan.page_len)?;
    session.look_at_folios(&area.home());
    let mut ours = || {
        let mut time = Duration::ZERO;
        for _ in 0..batches {
            if prebuilt {
                let mut logs = ring::logs(writer.tip(), payloads[0], count);
                for (log, payload) in logs.iter_mut().zip(&payloads) {
                    *log = waldo::Log::new_borrowed(log.seq_no(), log.prev_seq_no(), payload);
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
        Ok(round_bytes as f64 / time.as_secs_f64())
    };
    let duel = session.compare(&name, &mut ours, &mut bare)?;
    writer.close()?;
    Ok(duel)
}

/// The floor: as many bytes as a round of ours has, over as many files as the ring has pages.
pub struct Bare {
    files: Files,
    block: Vec<u8>,
    pieces: u64,
    sync: bool,
}

impl Bare {
    /// With `sync`, each batch is durable before the next one.
    pub fn make(
        session: &Session,
        area: &Area,
        batch_bytes: usize,
        round_bytes: u64,
        sync: bool,
    ) -> anyhow::Result<Bare> {
        let plan = &session.plan;
        let files = Files::make(&area.floor(), plan.ring_size as usize, plan.page_len)?;
        // A batch that is larger than a file is written in pieces, as in a ring.
        let block = vec![0x5a; batch_bytes.min(plan.page_len as usize)];
        let pieces = round_bytes.div_ceil(block.len() as u64);
        Ok(Bare { files, block, pieces, sync })
    }

    /// Bytes per second.
    pub fn round(&mut self) -> anyhow::Result<f64> {
        let start = Instant::now();
        for _ in 0..self.pieces {
            if self.sync {
                self.files.write_durable(&self.block)?;
            } else {
                self.files.write(&self.block)?;
            }
        }
        let time = start.elapsed();
        self.files.flush()?;
        Ok((self.pieces * self.block.len() as u64) as f64 / time.as_secs_f64())
    }
}
