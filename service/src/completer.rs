//! The thread that waits for appends, in the order of the log, and answers.

use crate::connection::link::{Reply, fatal};
use crate::counters::Counters;
use crate::engine::{Core, Engine};
use crate::pace::Pace;
use crate::request::Permits;
use crate::step::{Durable, Job, Outcome, Step, code_of};
use std::sync::mpsc::{Receiver, Sender};
use waldo::client::wire::{ACK_DURABLE, Ack};
use waldo::writer::AppendError;

/// A batch that was not appended, and why.
struct Failed {
    job: Job,
    error: AppendError,
}

/// The thread's whole life.
pub(crate) fn run(engine: &Engine, steps: &Receiver<Step>, syncs: &Sender<Durable>) {
    let mut telling = Pace::default();
    while let Ok(step) = steps.recv() {
        if let Err(failed) = complete(engine, step, syncs) {
            // Producers try again: with a full disk there would be many lines a second.
            if telling.is_due() {
                tracing::warn!("records of producers were not appended: {}", failed.error);
            }
            recover(engine, steps, syncs, *failed);
        }
    }
}

fn complete(engine: &Engine, step: Step, syncs: &Sender<Durable>) -> Result<(), Box<Failed>> {
    match step {
        Step::Greet(link) => engine.greet(&link),
        Step::End { link, error } => {
            engine.count(error.code);
            link.end(error);
        }
        Step::Conflict { link, error, window } => {
            engine.count(error.code);
            link.reply(Reply::Error(error), Some(window));
        }
        Step::Append { job, outcome } => {
            let outcome = match outcome {
                Outcome::Duplicate => Ok(()),
                Outcome::Queued(ticket) => ticket.wait().map(drop),
                Outcome::Done(outcome) => outcome.map(drop),
                Outcome::Planned => Err(AppendError::Closed),
            };
            match outcome {
                Ok(()) => acknowledge(engine, job, syncs),
                Err(error) => return Err(Box::new(Failed { job, error })),
            }
        }
    }
    Ok(())
}

fn acknowledge(engine: &Engine, job: Job, syncs: &Sender<Durable>) {
    let Job { link, batch, plan, durable, permits: Permits { window, queue } } = job;
    drop(queue);
    let counters = &engine.counters;
    if plan.count > 0 {
        Counters::add(&counters.batches, 1);
        Counters::add(&counters.records, plan.count.into());
        let payloads = batch.payloads().skip(plan.skip as usize);
        Counters::add(&counters.bytes, payloads.map(|payload| payload.len() as u64).sum());
    }
    Counters::add(&counters.duplicates, plan.skip.into());
    let mut ack = Ack {
        batch: batch.fields().batch,
        first_seq_no: plan.first_seq_no,
        last_seq_no: plan.last_seq_no,
        last_number: plan.last_number,
        duplicates: plan.skip,
        flags: if engine.sync { ACK_DURABLE } else { 0 },
    };
    if durable && !engine.sync {
        ack.flags = ACK_DURABLE;
        // The syncer lives until this end of the channel is dropped.
        let _ = syncs.send(Durable { link, ack, window });
    } else {
        link.reply(Reply::Ack(ack), Some(window));
    }
}

/// An append has failed. Everything that was queued behind it fails too, since it was numbered as if this had
/// gone well. When all of it is answered, the numbers go on where the log really ends.
fn recover(engine: &Engine, steps: &Receiver<Step>, syncs: &Sender<Durable>, first: Failed) {
    let error = first.error.clone();
    // Nothing more is queued as long as this is held, and everything that was is in the channel.
    let mut core = engine.core.lock();
    let mut failed = vec![first];
    let mut ends = Vec::new();
    while let Ok(step) = steps.try_recv() {
        match step {
            // Its answer needs the core; nobody is hurt if it connects once more.
            Step::Greet(link) => ends.push((link, fatal(code_of(&error), 0, 0, error.to_string()))),
            // What it repeats may be what has failed.
            Step::Append { job, outcome: Outcome::Duplicate } => {
                failed.push(Failed { job, error: error.clone() });
            }
            step => failed.extend(complete(engine, step, syncs).err().map(|failed| *failed)),
        }
    }
    resume(engine, &mut core, &error);
    for Failed { job: Job { link, batch, .. }, error } in failed {
        ends.push((link, fatal(code_of(&error), batch.fields().batch, core.tip, error.to_string())));
    }
    for (link, error) in ends {
        // The first error is the one that counts.
        if !link.is_dead() {
            engine.count(error.code);
            link.end(error);
        }
    }
}

/// Sets numbers and claims to what the log holds.
fn resume(engine: &Engine, core: &mut Core, error: &AppendError) {
    core.tip = engine.writer.tip().unwrap_or(0);
    let Core { producers, journal, tip, .. } = core;
    producers.clip(*tip);
    if let Err(error) = journal.void(*tip, producers, engine.sync) {
        tracing::warn!("the journal of producers cannot be written: {error}");
    }
    if matches!(error, AppendError::Failed { .. } | AppendError::Closed) {
        core.failed = Some(error.clone());
        engine.broken.send_replace(true);
    }
}
