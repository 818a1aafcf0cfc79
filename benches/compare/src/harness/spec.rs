//! The description of one round; every process of the round reads it from a file.

use crate::system::System;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often everything that flushes in the background does so. The same for all of them; Redis knows no
/// other than one second.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// A part of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not counted.
    WarmUp = 1,
    /// Record by record, at a steady pace.
    Paced = 2,
    /// Batch after batch, as fast as it goes.
    Flood = 3,
}

impl Phase {
    /// All, in their order.
    pub const ALL: [Phase; 3] = [Phase::WarmUp, Phase::Paced, Phase::Flood];

    /// The phase of that number.
    pub fn from_number(number: u64) -> Option<Phase> {
        Phase::ALL.into_iter().find(|phase| *phase as u64 == number)
    }
}

/// One round: a system and a number of subscribers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The system.
    pub system: System,
    /// Subscriber processes.
    pub subscribers: usize,
    /// Bytes of a record.
    pub size: usize,
    /// Records handed over at once while it goes as fast as it can.
    pub batch: usize,
    /// Records of the paced phase.
    pub paced: u64,
    /// Records a second in the paced phase.
    pub rate: u64,
    /// Longest time for the paced phase.
    pub paced_limit: Duration,
    /// Records of the fast phase.
    pub flood: u64,
    /// Longest time for the fast phase.
    pub flood_limit: Duration,
    /// Records of the warm-up, in batches and one by one.
    pub warm_up: u64,
    /// Time between two looks of an LMDB reader.
    pub lmdb_poll: Duration,
    /// Process id of the harness.
    pub harness: i32,
    /// For what is persisted.
    pub data: PathBuf,
    /// For sockets and notes: a short path.
    pub run: PathBuf,
    /// On the shared-memory file system.
    pub shm: PathBuf,
    /// Start of the names of other shared-memory objects.
    pub shm_prefix: String,
}

impl Spec {
    /// The phases of this round, in order.
    pub fn phases(&self) -> Vec<Phase> {
        let wanted = |phase: &Phase| match phase {
            Phase::WarmUp => true,
            Phase::Paced => self.paced > 0,
            Phase::Flood => self.flood > 0,
        };
        Phase::ALL.into_iter().filter(wanted).collect()
    }

    /// Where processes post their notes.
    pub fn board(&self) -> PathBuf {
        self.run.join("board")
    }

    /// Records of all phases together, and room for a few more.
    pub fn records_at_most(&self) -> u64 {
        self.warm_up + self.paced + self.flood + 1024
    }

    /// Writes it to a file in its own run folder, and tells which.
    pub fn write(&self) -> anyhow::Result<PathBuf> {
        let path = self.run.join("spec.json");
        let text = serde_json::to_vec(self).context("cannot encode the round's description")?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Reads it from such a file.
    pub fn read(path: &Path) -> anyhow::Result<Spec> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} holds nonsense", path.display()))
    }
}
