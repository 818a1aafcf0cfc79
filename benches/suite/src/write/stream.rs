//! Batches in flight: the next batch is written during the flush of the one before.

use super::batch::Bare;
use super::{BATCH, Case};
use crate::comparison::PairedComparison;
use crate::result_table::{Goal, Unit};
use crate::ring;
use crate::session::Session;
use std::collections::VecDeque;
use std::time::Instant;
use waldo::Log;
use waldo::writer::{Durability, SharedWriter, Ticket};
use waldo_terminal::units;

/// Batches that one thread keeps in flight.
const IN_FLIGHT: usize = 3;
/// Batches of one round, in a row of a second or more.
const BATCHES_MAX: usize = 400;

/// From one thread that does not wait for each batch, durable.
pub fn durable(session: &mut Session, case: &Case) -> anyhow::Result<()> {
    session.sheet.topic(
        "stream, durable",
        &format!(
            "{} of records per append, {IN_FLIGHT} appends in flight from one thread, headers counted; floor: \
             pwritev2(RWF_DSYNC) of as many bytes, one after the other",
            units::bytes(case.batch_bytes as u64)
        ),
    );
    for payload_len in case.sizes(&[1000, 100]) {
        let duel = streamed(session, payload_len, case.batch_bytes)?;
        let rate = Unit::Rate.show(duel.ours / ring::size(payload_len) as f64);
        let name = format!("SharedWriter::try_append, {payload_len} B ({rate} records)");
        let goal = if payload_len == 1000 && case.batch_bytes as u64 == BATCH {
            Goal::RatioAtLeast(0.9)
        } else {
            Goal::None
        };
        session.sheet.duel(&name, Unit::Bytes, &duel, goal);
    }
    Ok(())
}

/// Bytes per second.
fn streamed(session: &Session, payload_len: usize, batch_bytes: usize) -> anyhow::Result<PairedComparison> {
    let area = session.scratch.area()?;
    let plan = &session.plan;
    let count = (batch_bytes / ring::size(payload_len)).max(1);
    let batch_bytes = count * ring::size(payload_len);
    let lap = plan.ring_bytes();
    let batches = (lap / batch_bytes as u64).min(plan.share(BATCHES_MAX) as u64).max(1);
    let round_bytes = batches * batch_bytes as u64;
    let name = format!("stream: try_append, {payload_len} B, durable");
    session.watch.show(&name);

    let mut bare = Bare::make(session, &area, batch_bytes, round_bytes, true)?;
    let mut writer = ring::open(plan, &area, Durability::Sync)?;
    ring::fill(&mut writer, Some(&session.watch), payload_len, lap + 2 * plan.page_len)?;
    let writer = SharedWriter::new(writer);
    // As many payloads as records, so that both sides read as much memory.
    let bytes = vec![0x5a; count * payload_len];
    let made: Vec<Log<'_>> =
        bytes.chunks_exact(payload_len).map(|payload| Log::new_borrowed(1, 0, payload)).collect();
    let mut ours = || {
        let mut tip = writer.tip().unwrap_or(0);
        let mut tickets: VecDeque<Ticket> = VecDeque::with_capacity(IN_FLIGHT);
        let start = Instant::now();
        for _ in 0..batches {
            if tickets.len() == IN_FLIGHT
                && let Some(oldest) = tickets.pop_front()
            {
                oldest.wait()?;
            }
            let logs: Vec<Log<'_>> =
                made.iter().zip(tip + 1..).map(|(log, seq_no)| log.renumbered(seq_no, seq_no - 1)).collect();
            tickets.push_back(writer.try_append(&logs)?);
            tip += logs.len() as u64;
        }
        for ticket in tickets {
            ticket.wait()?;
        }
        Ok(round_bytes as f64 / start.elapsed().as_secs_f64())
    };
    let duel = session.compare(&name, &mut ours, &mut || bare.round())?;
    writer.close()?;
    Ok(duel)
}
