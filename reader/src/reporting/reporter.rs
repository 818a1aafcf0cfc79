//! Reporting a reader's progress.

use super::process::ReaderProcess;
use super::report::{Content, checked};
use super::{ReportDirectory, ReportError};
use crate::checkpoint::Checkpoint;
use crate::reader::Reader;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};
use waldo_shm_protocol::RingId;

/// Time between two reports. Thirty thousand readers that all move write thirty thousand small files in it.
const PAUSE: Duration = Duration::from_secs(1);

/// Reports a reader's progress, for `waldo lag`. Made by [`ReportDirectory::reporter`]; removes its report
/// when dropped.
///
/// ```no_run
/// use waldo_reader::{Cursor, ReportDirectory, Ring};
///
/// let ring = Ring::attach("/var/lib/app/ring")?;
/// let mut reader = ring.reader(Cursor::Tip)?;
/// let mut reporter = ReportDirectory::default().reporter(&reader, "indexer")?;
/// while let Some(batch) = reader.recv(None)? {
///     // ... process the records, then:
///     drop(batch);
///     reporter.note(&reader)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reporter {
    directory: ReportDirectory,
    name: String,
    file: String,
    process: ReaderProcess,
    /// How far the reader has come, and how far that is written down.
    position: Checkpoint,
    written: Checkpoint,
    last: Instant,
}

impl Reporter {
    pub(super) fn new(
        directory: ReportDirectory,
        reader: &Reader,
        name: &str,
    ) -> Result<Reporter, ReportError> {
        static UNIQUE: AtomicU32 = AtomicU32::new(0);
        let process = ReaderProcess::this();
        // Processes of two containers may have the same number, and the same /dev/shm.
        let file = format!(
            "{}-{}-{}-{}",
            process.namespaces[0],
            process.pid,
            process.started,
            UNIQUE.fetch_add(1, Ordering::Relaxed)
        );
        let (name, position) = (checked(name)?.to_owned(), position_of(reader));
        let mut reporter =
            Reporter { directory, name, file, process, position, written: position, last: Instant::now() };
        reporter.write()?;
        Ok(reporter)
    }

    /// Notes where the reader is: all records that it has handed out count as processed. Writes the report if
    /// the last one is more than a second old and differs; otherwise costs next to nothing.
    ///
    /// # Errors
    /// [`ReportError::Io`]. The reader itself is not concerned.
    pub fn note(&mut self, reader: &Reader) -> Result<(), ReportError> {
        self.note_position(position_of(reader))
    }

    /// The same for a program that tracks its own progress: `position` is the checkpoint of the last record
    /// that it has processed.
    ///
    /// # Errors
    /// As [`Reporter::note`].
    pub fn note_position(&mut self, position: Checkpoint) -> Result<(), ReportError> {
        self.position = position;
        if self.due_in() == Some(Duration::ZERO) { self.write() } else { Ok(()) }
    }

    /// How long until [`Reporter::note`] should be called again, so that the noted position is written;
    /// `None` if it is written already. For a reader that is about to sleep.
    pub fn due_in(&self) -> Option<Duration> {
        (self.position != self.written).then(|| PAUSE.saturating_sub(self.last.elapsed()))
    }

    /// Writes the report now.
    ///
    /// # Errors
    /// As [`Reporter::note`]. The next attempt comes when the reader has moved on: a sleeping reader is not
    /// woken for this.
    pub fn write(&mut self) -> Result<(), ReportError> {
        (self.last, self.written) = (Instant::now(), self.position);
        // A report is its process's own. A child that was forked makes one for itself.
        if self.process.pid != std::process::id() {
            return Ok(());
        }
        let content = Content {
            name: self.name.clone(),
            position: self.position,
            process: self.process,
            time: SystemTime::now(),
        };
        self.directory.put(&self.position.ring_id, &self.file, content.render().as_bytes())
    }

    /// As a fork does.
    #[cfg(test)]
    pub(super) fn disown(&mut self) {
        self.process.pid = 0;
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if self.process.pid == std::process::id() {
            self.directory.take_away(&self.position.ring_id, &self.file);
        }
    }
}

fn position_of(reader: &Reader) -> Checkpoint {
    let ring_id: RingId = reader.ring.meta.ring_id;
    // Without a number: the reader waits for the first record, or has not seen the one before its place.
    let seq_no = reader.last_seq_no().unwrap_or(0);
    reader.checkpoint().unwrap_or(Checkpoint { ring_id, seq_no, epoch: 0, checksum: 0 })
}
