//! A flush that another thread makes while more records are put.

use super::{WriteProgress, Writer};
use crate::error::AppendError;
use crate::page::Page;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::segment::Counter;

/// The result of a flush. A sender that is dropped without sending counts as a failure.
pub(crate) type FlushOutcome = Receiver<io::Result<()>>;

/// Between [`Writer::begin_flush`] and its end.
pub(super) struct PendingFlush {
    /// What may be published after it.
    written: Option<WriteProgress>,
    pages: u64,
    outcome: FlushOutcome,
}

/// What a flush makes durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlushTarget {
    end: Position,
    tip: Option<u64>,
}

impl FlushTarget {
    /// The last sequence number that was put; `None` if none was.
    pub(crate) fn tip(&self) -> Option<u64> {
        self.tip
    }
}

impl Writer {
    /// Writes the records that have been put, and calls `start` to flush their pages. More records can be put
    /// meanwhile; they are not published before the flush has ended. The flush is ended where necessary, at
    /// [`Writer::end_flush`] at the latest.
    pub(crate) fn begin_flush(
        &mut self,
        start: impl FnOnce(Vec<Arc<Page>>) -> FlushOutcome,
    ) -> Result<FlushTarget, AppendError> {
        self.check_usable()?;
        self.end_pending_flush()?;
        self.send(true)?;
        self.take_done(true)?;
        let (pages, written) = (std::mem::take(&mut self.unsynced), self.written.take());
        let target = FlushTarget {
            end: written.map_or(self.core.durable(), |progress| progress.position),
            tip: written.map(|progress| progress.tip),
        };
        self.pending_flush = Some(PendingFlush { written, pages: pages.len() as u64, outcome: start(pages) });
        Ok(target)
    }

    /// Waits for a flush, unless it has ended already, and publishes the records that it has made durable.
    /// Records that were put meanwhile wait for a flush of their own.
    pub(crate) fn end_flush(&mut self, target: &FlushTarget) -> Result<(), AppendError> {
        self.end_pending_flush()?;
        // The flush may have been ended meanwhile, and the writer may have failed after it.
        if self.core.durable() >= target.end { Ok(()) } else { self.check_usable() }
    }

    /// Ends the pending flush, if there is one.
    pub(super) fn end_pending_flush(&mut self) -> Result<(), AppendError> {
        let Some(flush) = self.pending_flush.take() else { return Ok(()) };
        let gone = |_| Err(io::Error::other("the flushing thread has panicked"));
        let outcome = flush.outcome.recv().unwrap_or_else(gone);
        // The writer may have failed during the flush; then nothing is published any more.
        self.check_usable()?;
        outcome.map_err(|error| self.failed("flushing records", error))?;
        self.core.control.publisher().add(Counter::Flushes, flush.pages);
        let since = std::mem::replace(&mut self.written, flush.written);
        self.publish();
        self.written = since;
        Ok(())
    }
}
