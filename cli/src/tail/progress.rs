//! `--checkpoint`: the last processed record, kept in a file.

use anyhow::Context;
use nix::unistd::{AccessFlags, access};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use waldo::reader::{Checkpoint, Cursor, Record, RingId};

/// Time between two checkpoints while records flow, if no number of records was asked for.
const PAUSE: Duration = Duration::from_secs(1);

/// The place before the first record of a ring. The library's checkpoints name a record, and an empty ring
/// has none.
const BEGINNING: (u64, u32, u32) = (0, 0, 0);

/// Where a checkpoint leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Behind a record.
    Behind(Checkpoint),
    /// To the first record of the ring.
    Start(Cursor),
}

/// Keeps the file.
pub struct Progress {
    path: PathBuf,
    /// Records between two checkpoints, if that was asked for.
    every: Option<u64>,
    /// The last record that was dealt with, if it is not in the file yet.
    ahead: Option<Checkpoint>,
    /// Records since the last checkpoint.
    records: u64,
    saved: Instant,
}

impl Progress {
    /// Nothing is read or written yet.
    pub fn new(path: &Path, every: Option<u64>) -> Progress {
        Progress { path: path.to_path_buf(), every, ahead: None, records: 0, saved: Instant::now() }
    }

    /// What the file says; `None` if there is no file. A ring of another identity has no say in that.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged; or if it cannot be made, which is better known before the first
    /// record is printed, or handed to a command.
    pub fn load(&self) -> anyhow::Result<Option<(RingId, Resume)>> {
        // A new version takes the place of the old one, so the directory counts, and not the file.
        let parent = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        access(parent.unwrap_or(Path::new(".")), AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK)
            .with_context(|| format!("cannot keep a checkpoint in {}", self.path.display()))?;
        let Some(checkpoint) = Checkpoint::load(&self.path)? else { return Ok(None) };
        let mark = (checkpoint.seq_no, checkpoint.epoch, checkpoint.checksum);
        let resume =
            if mark == BEGINNING { Resume::Start(Cursor::After(0)) } else { Resume::Behind(checkpoint) };
        Ok(Some((checkpoint.ring_id, resume)))
    }

    /// Before any record: this is where it goes on if none comes.
    pub fn start_at(&mut self, checkpoint: Checkpoint) {
        self.ahead = Some(checkpoint);
    }

    /// The start of an empty ring.
    pub fn start_empty(&mut self, ring_id: RingId) {
        let (seq_no, epoch, checksum) = BEGINNING;
        self.ahead = Some(Checkpoint { ring_id, seq_no, epoch, checksum });
    }

    /// This record is dealt with as soon as the output has been written.
    #[inline]
    pub fn note(&mut self, ring_id: RingId, record: &Record<'_>) {
        self.ahead = Some(record.checkpoint(ring_id));
        self.records += 1;
    }

    /// Whether so many records have been noted that a checkpoint is due.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.every.is_some_and(|every| self.records >= every)
    }

    /// How long the checkpoint may wait to be saved; `None` if there is nothing new to save.
    pub fn due_in(&self) -> Option<Duration> {
        self.ahead.map(|_| PAUSE.saturating_sub(self.saved.elapsed()))
    }

    /// The output has not been written: what was noted since the last checkpoint does not count.
    pub fn forget(&mut self) {
        (self.ahead, self.records) = (None, 0);
    }

    /// Saves it if there has been time enough since the last one. All output must have been written.
    ///
    /// # Errors
    /// As [`Progress::save`].
    pub fn save_now_and_then(&mut self) -> anyhow::Result<()> {
        if self.every.is_none() && self.saved.elapsed() >= PAUSE { self.save() } else { Ok(()) }
    }

    /// Saves it. All output must have been written.
    ///
    /// # Errors
    /// If that is not possible; the file is as it was then.
    pub fn save(&mut self) -> anyhow::Result<()> {
        if let Some(checkpoint) = self.ahead.take() {
            checkpoint
                .save(&self.path)
                .with_context(|| format!("cannot save the checkpoint behind record {}", checkpoint.seq_no))?;
            (self.records, self.saved) = (0, Instant::now());
        }
        Ok(())
    }
}
