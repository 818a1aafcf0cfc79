//! The notice board: a file that every process of a round appends lines to and the harness reads. It takes no
//! descriptor per process.

use super::spec::Phase;
use super::spread::Counts;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// A line on the board.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Note {
    /// The publisher can be subscribed to.
    Serving,
    /// The publisher has all its subscribers, as far as it knows of them.
    Gathered,
    /// A subscriber will get what is published from now on.
    Ready {
        /// When.
        at_ns: u64,
    },
    /// Somebody is still at it.
    Alive,
    /// The publisher is through with a phase.
    Published(Published),
    /// A subscriber has had the last record of a phase.
    Received(Received),
    /// Somebody gives up.
    Failed {
        /// Which subscriber; none if it was the publisher.
        subscriber: Option<usize>,
        /// Why.
        error: String,
    },
}

/// A phase as the publisher saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published {
    /// Which phase.
    pub phase: Phase,
    /// Records published.
    pub records: u64,
    /// When the first was handed over.
    pub begun_ns: u64,
    /// When the system had taken the last.
    pub ended_ns: u64,
    /// Nanoseconds per record.
    pub cost: Counts,
}

/// A phase as one subscriber saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Received {
    /// Which phase.
    pub phase: Phase,
    /// Records received.
    pub records: u64,
    /// Records that never came.
    pub lost: u64,
    /// Records that were not as sent, or came twice or out of order.
    pub bad: u64,
    /// When the last one came.
    pub at_ns: u64,
    /// CPU time since the phase's first record.
    pub cpu_ns: u64,
    /// Nanoseconds from publishing to receipt, of sampled records.
    pub delay: Counts,
}

/// A process's way to the board.
pub struct Pin(File);

impl Pin {
    /// Opens the board for appending.
    pub fn open(path: &Path) -> anyhow::Result<Pin> {
        let file = OpenOptions::new().append(true).open(path).context("cannot open the notice board")?;
        Ok(Pin(file))
    }

    /// Appends a line, in one piece: Linux lets one append at a time into a file.
    pub fn post(&mut self, note: &Note) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(note).context("cannot encode a note")?;
        line.push(b'\n');
        self.0.write_all(&line).context("cannot write to the notice board")
    }
}

/// The harness's view.
pub struct Board {
    file: File,
    partial: Vec<u8>,
}

impl Board {
    /// Makes an empty board.
    pub fn create(path: &Path) -> anyhow::Result<Board> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(path);
        Ok(Board { file: file.context("cannot make the notice board")?, partial: Vec::new() })
    }

    /// The lines that have come since the last call.
    pub fn news(&mut self) -> anyhow::Result<Vec<Note>> {
        self.file.read_to_end(&mut self.partial).context("cannot read the notice board")?;
        // Half a line waits for its other half.
        let complete = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = self.partial[..complete].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let notes = lines.map(|line| serde_json::from_slice(line).context("the notice board holds nonsense"));
        let notes = notes.collect();
        self.partial.drain(..complete);
        notes
    }
}
