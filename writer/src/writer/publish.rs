//! From the buffers to the watermark: sending pieces, and publishing what has been written.

use super::{DirectoryUpdate, WriteProgress, Writer, sum_records};
use crate::error::AppendError;
use crate::options::Durability;
use std::io;
use std::sync::Arc;
use waldo_shm_protocol::segment::Counter;

impl Writer {
    /// Sends the buffer being filled, and publishes what has been written meanwhile.
    pub(super) fn send(&mut self, last: bool) -> Result<(), AppendError> {
        let len = self.engine.filled() as u64;
        if len > 0 {
            self.note_unsynced();
            self.reach(len);
            let progress = self.progress();
            self.engine
                .send(&self.active.page, self.piece_start, last, progress)
                .map_err(|error| self.failed("writing records", error))?;
            self.piece_start += len;
        }
        self.take_done(false)
    }

    /// Remembers to flush the active page, if appends are durable.
    pub(super) fn note_unsynced(&mut self) {
        if self.sync && self.unsynced.last().is_none_or(|page| page.id != self.active.page.id) {
            self.unsynced.push(Arc::clone(&self.active.page));
        }
    }

    pub(super) fn progress(&mut self) -> WriteProgress {
        let (records, payload_bytes) = std::mem::take(&mut self.unpublished);
        WriteProgress {
            position: self.position(self.active.offset),
            tip: self.tip.unwrap_or(0),
            records,
            payload_bytes,
        }
    }

    pub(super) fn take_done(&mut self, wait: bool) -> Result<(), AppendError> {
        loop {
            match self.engine.next_done(wait) {
                Ok(Some(progress)) => {
                    self.add_written(progress);
                    if !self.sync {
                        self.publish();
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.failed("writing records", error)),
            }
        }
    }

    fn add_written(&mut self, progress: WriteProgress) {
        let sum = self.written.map_or((0, 0), |written| (written.records, written.payload_bytes));
        self.written = Some(WriteProgress {
            records: sum.0 + progress.records,
            payload_bytes: sum.1 + progress.payload_bytes,
            ..progress
        });
    }

    /// Moves the watermark to the end of all written records.
    #[inline]
    pub(super) fn publish(&mut self) {
        let Some(progress) = self.written.take() else { return };
        let publisher = *self.core.control.publisher();
        let before = self.core.positions.committed();
        let mut sealed = Vec::new();
        while self.directory_updates.front().is_some_and(|(at, _)| *at < progress.position) {
            match self.directory_updates.pop_front() {
                Some((_, DirectoryUpdate::Begin(info))) => publisher.enter_page(&info),
                Some((_, DirectoryUpdate::Index(page, entry))) => {
                    publisher.push_index(page, &entry);
                }
                Some((_, DirectoryUpdate::Sealed(job))) => {
                    let summary = &job.summary;
                    publisher.seal_page(job.page.id, summary.end());
                    sealed.push(job);
                }
                None => break,
            }
        }
        self.records = sum_records(self.records, progress.records);
        publisher.commit(progress.position, progress.tip, self.records);
        // After the segment's position: the notifier loads this one, and the readers that it wakes must find
        // the segment's.
        self.core.positions.set_committed(progress.position);
        if self.sync {
            self.core.set_durable(progress.position);
        }
        // Only after the positions have moved, because the preparer trims by them.
        let turned = !sealed.is_empty();
        for job in sealed {
            self.preparer.seal(job);
        }
        if turned && self.is_full() && matches!(self.core.durability, Durability::Interval(_)) {
            // A record of the new page has to be durable before that page is full.
            self.core.unflushed.flush_soon();
        }
        publisher.add(Counter::Records, progress.records);
        publisher.add(Counter::PayloadBytes, progress.payload_bytes);
        if before.page() == progress.position.page() {
            publisher.add(Counter::WrittenBytes, u64::from(progress.position.offset() - before.offset()));
        } else {
            publisher.add(Counter::WrittenBytes, u64::from(progress.position.offset()));
        }
        self.core.waking.notify_of_append(&publisher, self.stamp.time_ns);
    }

    /// Completes everything up to the watermark: writes the buffer, makes it durable if that is asked for,
    /// and publishes it.
    pub(crate) fn finish(&mut self) -> Result<(), AppendError> {
        // After an error, the records put before it have been given up with everything else.
        self.check_usable()?;
        self.end_pending_flush()?;
        let len = self.engine.filled() as u64;
        let alone = self.unsynced.is_empty() && self.engine.durable_in_place();
        if self.sync && alone && len > 0 && !self.wants_zeros(len) {
            self.reach(len);
            let progress = self.progress();
            self.engine
                .write_durable(&self.active.page, self.piece_start)
                .map_err(|error| self.failed("writing records durably", error))?;
            self.piece_start += len;
            self.core.control.publisher().add(Counter::Flushes, 1);
            self.add_written(progress);
            self.publish();
            return Ok(());
        }
        self.send(true)?;
        self.take_done(true)?;
        for page in std::mem::take(&mut self.unsynced) {
            self.engine.sync(&page).map_err(|error| self.failed("flushing records", error))?;
            self.core.control.publisher().add(Counter::Flushes, 1);
        }
        self.publish();
        Ok(())
    }

    /// After a failed put: the records put before it are part of the log, if the writer still works.
    #[cold]
    pub(super) fn keep_prefix(&mut self, error: AppendError) -> AppendError {
        match error {
            AppendError::NoPage { .. } => self.finish().err().unwrap_or(error),
            other => other,
        }
    }

    pub(super) fn failed(&mut self, action: &str, source: io::Error) -> AppendError {
        self.engine.abandon();
        self.directory_updates.clear();
        AppendError::Failed { cause: self.core.fail(action, source) }
    }
}
