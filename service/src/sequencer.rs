//! The thread that gives out sequence numbers, writes the journal, and queues batches to be appended.

mod group;
mod plan;

use crate::engine::{Core, Engine, now_ms};
use crate::journal::entry::put_intents;
use crate::pace::Pace;
use crate::step::{Job, Outcome, Step};
use group::Group;
use std::sync::mpsc::Sender;
use waldo::protocol::Log;
use waldo::writer::AppendError;

/// The thread's whole life.
pub(crate) fn run(engine: &Engine, steps: &Sender<Step>) {
    // With a full disk each turn fails, and as many lines a second would fill it for others.
    let (mut telling, mut shortening) = (Pace::default(), Pace::default());
    while let Some(requests) = engine.requests.take() {
        // Held until everything is queued: after a failure the completer must find all of it.
        let mut core = engine.core.lock();
        let before = core.tip;
        let mut group = Group::default();
        if let Err(error) = make_sound(&mut core) {
            group.refuse_appends(format!("the journal of producers cannot be written: {error}"));
        }
        for request in requests {
            group.add(engine, &mut core, request);
        }
        if let Err(error) = write_journal(engine, &mut core, &group) {
            if telling.is_due() {
                tracing::warn!("the journal of producers cannot be written: {error}");
            }
            core.tip = before;
            core.producers.clip(before);
            group.fail(&format!("the journal of producers cannot be written: {error}"), before);
        }
        for step in group.steps {
            let step = match step {
                Step::Append { job, outcome: Outcome::Planned } => submit(engine, job),
                step => step,
            };
            // The completer lives until this end of the channel is dropped.
            let _ = steps.send(step);
        }
        tidy_up(engine, &mut core, &mut shortening);
    }
}

/// Writes the journal anew if what it holds is not known.
fn make_sound(core: &mut Core) -> std::io::Result<()> {
    let Core { journal, producers, .. } = core;
    if journal.is_unsound() { journal.compact(producers) } else { Ok(()) }
}

/// One write for all batches of the group, before any of them is appended.
fn write_journal(engine: &Engine, core: &mut Core, group: &Group) -> std::io::Result<()> {
    let mut entries = group.names.clone();
    if !group.intents.is_empty() {
        put_intents(&mut entries, now_ms(), &group.intents);
    }
    if entries.is_empty() {
        return Ok(());
    }
    // An intent may not be younger on the disk than its records.
    let flush = !group.intents.is_empty() && (engine.sync || group.durable);
    core.journal.append(&entries, flush)
}

/// Forgets names and shortens the journal, now and then. Nothing depends on whether that works, and if it
/// does not it is not tried at each turn: all names are written anew.
fn tidy_up(engine: &Engine, core: &mut Core, shortening: &mut Pace) {
    if core.journal.growth() < engine.options.journal_growth || !shortening.is_due() {
        return;
    }
    core.producers.forget_unused(engine.options.names_kept_since(now_ms()));
    let Core { journal, producers, .. } = core;
    match journal.compact(producers) {
        Ok(()) => *shortening = Pace::default(),
        Err(error) => tracing::warn!("the journal of producers cannot be written anew: {error}"),
    }
    engine.counters.names.store(core.producers.len() as u64, std::sync::atomic::Ordering::Relaxed);
}

/// Queues a batch with the ring's writer.
fn submit(engine: &Engine, job: Job) -> Step {
    let first = job.plan.seq_no;
    let payloads = job.batch.payloads().skip(job.plan.skip as usize).zip(first..);
    let logs: Vec<Log<'_>> =
        payloads.map(|(payload, seq_no)| Log::new_borrowed(seq_no, seq_no - 1, payload)).collect();
    let outcome = match engine.writer.try_append(&logs) {
        Ok(ticket) => Outcome::Queued(ticket),
        // The queue has room for all that the service lets in; should it be full all the same, this waits.
        Err(AppendError::QueueFull { .. }) => Outcome::Done(engine.writer.append(&logs)),
        Err(error) => Outcome::Done(Err(error)),
    };
    drop(logs);
    Step::Append { job, outcome }
}
