//! The committer thread: takes all that is queued whenever the writer is free.
//!
//! ```text
//!   group 1   | put, write | flush ........ | answer
//!   group 2                | put, write |     flush ........ | answer
//! ```
//!
//! A small group is encoded, flushed and answered before the next one. Encoding and writing a large group
//! takes about as long as its flush, so another thread does the flush, and the committer writes the next
//! group meanwhile. A group is not published before its own flush, and never before the group ahead of it.

use super::SharedInner;
use super::queue::{Reply, Request, Work, wake_client};
use super::syncer::Syncer;
use crate::error::AppendError;
use crate::options::Durability;
use crate::writer::{Appended, Writer};
use std::sync::Arc;

/// A flush of less is too short to be worth a change of threads.
const OVERLAP_MIN: u64 = 256 << 10;
/// With so much written, the next flush is long enough; more would only make those in it wait.
const OVERLAP_MAX: u64 = 8 << 20;

/// Requests that are answered together.
#[derive(Default)]
struct Group {
    /// What became of each append so far, and whom to tell.
    staged: Vec<(Result<Appended, AppendError>, Reply<Appended>)>,
    syncs: Vec<Reply<()>>,
    closing: Vec<Reply<()>>,
    /// Payload bytes put into the log.
    bytes: u64,
}

impl Group {
    fn stage(&mut self, writer: &mut Writer, requests: Vec<Request>) {
        for request in requests {
            match request.work {
                Work::Append { records, reply } => {
                    let outcome = match records.numbers() {
                        Some(_) => writer.stage(records.entries()),
                        None => writer.stage_payloads(records.payloads()),
                    };
                    self.bytes += records.payload_bytes();
                    self.staged.push((outcome, reply));
                }
                Work::Sync { reply } => self.syncs.push(reply),
                Work::Close { reply } => self.closing.push(reply),
            }
        }
    }

    /// Whether no caller in the group waits for more than its own append.
    fn only_appends(&self) -> bool {
        self.syncs.is_empty() && self.closing.is_empty()
    }

    fn answer_appends(&mut self, finished: &Result<(), AppendError>) {
        for (outcome, reply) in self.staged.drain(..) {
            // Requests that were put into the buffers share the outcome of the group; refused ones keep their
            // error.
            answer(reply, outcome.and_then(|appended| finished.clone().map(|()| appended)));
        }
    }

    /// Finishes the appends, and does what else was asked for. Returns who asked for the ring to be closed.
    fn finish(mut self, inner: &SharedInner, writer: &mut Writer) -> Vec<Reply<()>> {
        let finished = if self.staged.is_empty() { Ok(()) } else { writer.finish() };
        inner.note_tip(writer);
        self.answer_appends(&finished);
        if !self.syncs.is_empty() {
            let outcome = writer.sync();
            for reply in self.syncs {
                answer(reply, outcome.clone());
            }
        }
        self.closing
    }
}

/// Tells the caller the outcome, if the caller still waits.
fn answer<T>(reply: Reply<T>, outcome: Result<T, AppendError>) {
    wake_client(|| {
        let _ = reply.send(outcome);
    });
}

/// The thread's whole life.
pub(super) fn run(inner: &Arc<SharedInner>) {
    let mut syncer = None;
    while inner.queue.wait() {
        if !inner.linger.is_zero() {
            inner.queue.linger(inner.linger);
        }
        let mut guard = inner.writer.lock();
        // Only now, so that everything that came in meanwhile is in this group.
        let requests = inner.queue.take();
        let Some(writer) = guard.as_mut() else { continue };
        let mut group = Group::default();
        group.stage(writer, requests);
        while inner.durability == Durability::Sync
            && group.bytes >= OVERLAP_MIN
            && group.only_appends()
            && let Some(syncer) = Syncer::started(&mut syncer, inner)
        {
            group = overlap(inner, writer, syncer, group);
        }
        let closing = group.finish(inner, writer);
        if !closing.is_empty() {
            let outcome = writer.shut_down();
            *guard = None;
            inner.queue.close();
            for reply in closing {
                answer(reply, outcome.clone());
            }
        }
    }
    // Dropping the writer closes the ring.
    *inner.writer.lock() = None;
}

/// Flushes, publishes and answers `group`. Returns the next one, which was put while the flush went on.
fn overlap(inner: &SharedInner, writer: &mut Writer, syncer: &Syncer, mut group: Group) -> Group {
    let mut next = Group::default();
    let finished = writer.begin_flush(|pages| syncer.start(pages)).and_then(|target| {
        while next.only_appends() && next.bytes < OVERLAP_MAX && inner.queue.wait_flushing() {
            next.stage(writer, inner.queue.take());
        }
        writer.end_flush(&target)?;
        if let Some(tip) = target.tip() {
            inner.set_tip(tip);
        }
        Ok(())
    });
    group.answer_appends(&finished);
    next
}
