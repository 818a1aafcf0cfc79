//! The content of a report.

use super::process::{ProcessState, ReaderProcess};
use super::{NAME_LEN_MAX, ReportError};
use crate::checked_text::{self, Fields, TextFault};
use crate::checkpoint::Checkpoint;
use crate::id_text::{parse_id, render_id};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const TITLE: &str = "waldo-reader 1";
/// Longest report in bytes.
pub(super) const LEN_MAX: u64 = 1024;

/// A reader's progress, by its own account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderReport {
    /// The reader's name. It contains no control characters, but perhaps others that a terminal obeys: escape
    /// it.
    pub name: String,
    /// The user who wrote this report, according to the system. All other fields are what that user has
    /// written.
    pub user: u32,
    /// The number of the reader's process, in its own namespace. For people only: numbers are reused.
    pub pid: u32,
    /// Whether that process still runs.
    pub process: ProcessState,
    /// The last record that the reader has processed. Number 0 if the reader had not reported one; epoch 0 if
    /// it knows only the record's number.
    pub position: Checkpoint,
    /// When the reader got there, or wrote that down: the two may be a second apart.
    pub time: SystemTime,
}

impl ReaderReport {
    /// The age of the report. Zero if the reader's clock is ahead of ours.
    pub fn age(&self) -> Duration {
        self.time.elapsed().unwrap_or_default()
    }
}

/// What is in a file.
pub(super) struct Content {
    pub(super) name: String,
    pub(super) position: Checkpoint,
    pub(super) process: ReaderProcess,
    pub(super) time: SystemTime,
}

impl Content {
    pub(super) fn render(&self) -> String {
        let since = self.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut fields = self.position.fields().to_vec();
        let [pid, time] = self.process.namespaces;
        fields.extend([
            ("name", self.name.clone()),
            ("pid", self.process.pid.to_string()),
            ("started", self.process.started.to_string()),
            ("pid-namespace", pid.to_string()),
            ("time-namespace", time.to_string()),
            ("boot", render_id(&self.process.boot)),
            ("time", u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).to_string()),
        ]);
        checked_text::render(TITLE, &fields)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Content, TextFault> {
        let mut fields = Fields::parse(bytes, TITLE)?;
        Ok(Content {
            position: Checkpoint::from_fields(&mut fields)?,
            name: checked(fields.text("name")?).map_err(|_| TextFault::Damaged("name"))?.to_owned(),
            process: ReaderProcess {
                pid: fields.number("pid")?,
                started: fields.number("started")?,
                namespaces: [fields.number("pid-namespace")?, fields.number("time-namespace")?],
                boot: parse_id(fields.text("boot")?).ok_or(TextFault::Damaged("boot"))?,
            },
            time: UNIX_EPOCH + Duration::from_nanos(fields.number("time")?),
        })
    }
}

/// The name, if a reader may have it.
pub(super) fn checked(name: &str) -> Result<&str, ReportError> {
    let fits = !name.is_empty() && name.len() <= NAME_LEN_MAX && !name.chars().any(char::is_control);
    if fits { Ok(name) } else { Err(ReportError::Name) }
}
