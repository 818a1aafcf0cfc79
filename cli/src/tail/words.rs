//! This command's messages about what happens to a ring.

use std::fmt;
use waldo::reader::{ReadError, WriterStatus};
use waldo_terminal::units;

/// What a change of the writer's state means to a follower of the ring; `None` if nothing.
pub fn describe(status: &WriterStatus) -> Option<String> {
    Some(match status {
        WriterStatus::Live => return None,
        WriterStatus::Recovering => "a writer is opening the ring".to_owned(),
        WriterStatus::Closed => "the writer has closed the ring; waiting for it to come back".to_owned(),
        WriterStatus::Failed { errno } => format!(
            "the writer has stopped after an error ({}); waiting for it to come back",
            std::io::Error::from_raw_os_error(*errno)
        ),
        WriterStatus::Stalled { age } => {
            format!("the writer has not been heard of for {}; still waiting", units::duration(*age))
        }
        WriterStatus::Restarted { epoch } => format!("the writer has been started anew (epoch {epoch})"),
        WriterStatus::Absent => "there is no writer; waiting for one".to_owned(),
        other => format!("the writer: {other}"),
    })
}

/// The ring has overtaken the reader.
#[derive(Debug)]
pub struct Overtaken(String);

impl fmt::Display for Overtaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Overtaken {}

/// The library's message, in the words of this command where its remedy is another one.
pub fn explain(error: ReadError) -> anyhow::Error {
    match error {
        ReadError::Lapped { requested, oldest, lost } => {
            let lost = lost.map_or(String::new(), |n| format!(", so {n} records are lost to this reader"));
            Overtaken(format!(
                "the ring has overtaken this reader: what follows record {requested} has been dropped{lost}; the oldest \
                 record left is {oldest}. Go on with `--from {oldest}`, or let `--on-lapped oldest` (or `tip`) go \
                 on by itself"
            ))
            .into()
        }
        other => other.into(),
    }
}
