//! `--name`: how far this has come, for `waldo lag`.

use crate::lag::report_directory;
use std::time::Duration;
use waldo::reader::{Checkpoint, Reader, ReportError, Reporter};
use waldo_terminal::failure::Usage;
use waldo_terminal::notice;

/// Makes it seen, if that is wanted. What goes wrong with that is told once, and is nobody's problem: records
/// are handed on all the same.
pub struct Seen {
    name: Option<String>,
    reporter: Option<Reporter>,
    /// A failure has been told.
    told: bool,
}

impl Seen {
    /// Under this name.
    pub fn new(name: Option<String>) -> Seen {
        Seen { name, reporter: None, told: false }
    }

    /// A reader of the ring begins.
    ///
    /// # Errors
    /// If no reader may be called so.
    pub fn begin(&mut self, reader: &Reader) -> anyhow::Result<()> {
        // Before the next one: a reader of the ring that was there before is no more.
        self.reporter = None;
        let Some(name) = &self.name else { return Ok(()) };
        match report_directory().reporter(reader, name) {
            Ok(reporter) => self.reporter = Some(reporter),
            Err(error @ ReportError::Name) => return Err(Usage(format!("--name: {error}")).into()),
            Err(error) => self.tell(&error),
        }
        Ok(())
    }

    /// Everything up to this record has been handed on.
    pub fn note(&mut self, position: impl FnOnce() -> Option<Checkpoint>) {
        if let Some(reporter) = &mut self.reporter
            && let Some(position) = position()
            && let Err(error) = reporter.note_position(position)
        {
            self.tell(&error);
        }
    }

    /// See [`Reporter::due_in`].
    pub fn due_in(&self) -> Option<Duration> {
        self.reporter.as_ref().and_then(Reporter::due_in)
    }

    fn tell(&mut self, error: &ReportError) {
        if !std::mem::replace(&mut self.told, true) {
            notice!("waldo: `waldo lag` cannot see this reader: {error}");
        }
    }
}
