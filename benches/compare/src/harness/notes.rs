//! What the processes of a round tell the harness, a line of JSON each.

use super::spec::Phase;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use waldo_harness::processes::event_log::EventWriter;

/// A line of the event log.
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
    /// Nanoseconds per record, as
    /// [`Latency::to_text`](waldo_harness::results::histogram::Latency::to_text) writes them.
    pub cost: String,
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
    /// Nanoseconds from publishing to receipt, of sampled records, written likewise.
    pub delay: String,
}

impl Note {
    /// Tells the harness.
    pub fn post(&self, events: &mut EventWriter) -> anyhow::Result<()> {
        events.post(&serde_json::to_string(self).context("cannot encode a note")?)
    }

    /// What a line says; `None` if it is none of these.
    pub fn parse(line: &str) -> Option<Note> {
        serde_json::from_str(line).ok()
    }
}
