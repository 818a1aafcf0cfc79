//! `--name`: reports this reader's progress to `waldo lag`.

use crate::lag::report_directory;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use waldo::reader::{Checkpoint, Reader, ReportError, Reporter};
use waldo_terminal::failure::Usage;
use waldo_terminal::notice;

/// Makes it seen, if that is wanted. What goes wrong with that is told once, and is nobody's problem: records
/// are handed on all the same.
pub struct Seen {
    name: Option<String>,
    /// Shared with [`Seen::farewell`], and nobody else.
    reporter: Arc<Mutex<Option<Reporter>>>,
    /// A failure has been told.
    told: bool,
}

impl Seen {
    /// Under this name.
    pub fn new(name: Option<String>) -> Seen {
        Seen { name, reporter: Arc::default(), told: false }
    }

    /// Takes the report away, for whoever ends the process from another thread: no destructor runs then.
    pub fn farewell(&self) -> impl FnOnce() + Send + 'static {
        let reporter = Arc::downgrade(&self.reporter);
        move || {
            if let Some(reporter) = reporter.upgrade() {
                *lock(&reporter) = None;
            }
        }
    }

    /// A reader of the ring begins.
    ///
    /// # Errors
    /// If no reader may be called so.
    pub fn begin(&mut self, reader: &Reader) -> anyhow::Result<()> {
        // Before the next one: a reader of the ring that was there before is no more.
        *lock(&self.reporter) = None;
        let Some(name) = &self.name else { return Ok(()) };
        match report_directory().reporter(reader, name) {
            Ok(reporter) => *lock(&self.reporter) = Some(reporter),
            Err(error @ ReportError::Name) => return Err(Usage(format!("--name: {error}")).into()),
            Err(error) => self.tell(&error),
        }
        Ok(())
    }

    /// Everything up to this record has been handed on.
    pub fn note(&mut self, position: impl FnOnce() -> Option<Checkpoint>) {
        if self.name.is_none() {
            return;
        }
        let noted = match (&mut *lock(&self.reporter), position()) {
            (Some(reporter), Some(position)) => reporter.note_position(position),
            _ => Ok(()),
        };
        if let Err(error) = noted {
            self.tell(&error);
        }
    }

    /// See [`Reporter::due_in`].
    pub fn due_in(&self) -> Option<Duration> {
        lock(&self.reporter).as_ref().and_then(Reporter::due_in)
    }

    fn tell(&mut self, error: &ReportError) {
        if !std::mem::replace(&mut self.told, true) {
            notice!("waldo: `waldo lag` cannot see this reader: {error}");
        }
    }
}

fn lock(reporter: &Mutex<Option<Reporter>>) -> MutexGuard<'_, Option<Reporter>> {
    // A report is in order whatever happened to another thread.
    reporter.lock().unwrap_or_else(PoisonError::into_inner)
}
