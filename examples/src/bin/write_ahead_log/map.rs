//! The map, its changes, and the file in which a map is saved.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use waldo::reader::{Batch, Checkpoint, Cursor, ReadError, Reader, ReaderOptions, Ring, Visibility};

/// A map is saved after this many changes of at most this many bytes: 2 MiB with the headers of the records.
/// The leader's ring holds at least 7 MiB, so the ring still has each change that the saved map lacks.
const CHANGES_PER_SAVE: u64 = 1000;
pub(crate) const CHANGE_LEN_MAX: usize = 2000;

/// What is in a record.
#[derive(Serialize, Deserialize)]
pub(crate) enum Change {
    Put { key: String, value: String },
    Delete { key: String },
}

/// The map, and the last change that is in the map: saved in one file, so that they never disagree.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// The checkpoint's ring, sequence number, epoch and checksum.
    pub(crate) place: Option<([u8; 16], u64, u32, u32)>,
    pub(crate) map: BTreeMap<String, String>,
    /// Changes since the map was saved.
    #[serde(skip)]
    pub(crate) unsaved: u64,
}

impl State {
    pub(crate) fn load(path: &Path) -> Result<State> {
        match std::fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Replaces the file in one step: after a crash it holds the old map or the new one.
    pub(crate) fn save(&mut self, path: &Path) -> Result<()> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let scratch = with_suffix(path, ".new");
        let mut file =
            File::create(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&scratch, path).with_context(|| format!("cannot replace {}", path.display()))?;
        File::open(dir)?.sync_all()?;
        self.unsaved = 0;
        Ok(())
    }

    /// A reader behind the last change that is in the map.
    pub(crate) fn reader(&self, ring: &Ring) -> Result<Reader, ReadError> {
        // A replica must not know a change that the leader could still lose in a power cut.
        let options = ReaderOptions::default().visibility(Visibility::Durable);
        match self.place {
            Some((ring_id, seq_no, epoch, checksum)) => {
                ring.resume(&Checkpoint { ring_id, seq_no, epoch, checksum }, options)
            }
            None => ring.reader_with(Cursor::After(0), options),
        }
    }

    /// Applies a batch, and saves the map when enough has changed.
    pub(crate) fn apply(&mut self, ring: &Ring, batch: &Batch, file: &Path) -> Result<()> {
        for record in batch {
            let change = serde_json::from_slice(record.data())
                .with_context(|| format!("record {} is no change of a map", record.seq_no()))?;
            match change {
                Change::Put { key, value } => drop(self.map.insert(key, value)),
                Change::Delete { key } => drop(self.map.remove(&key)),
            }
            let Checkpoint { ring_id, seq_no, epoch, checksum } = record.checkpoint(ring.ring_id());
            self.place = Some((ring_id, seq_no, epoch, checksum));
            self.unsaved += 1;
        }
        if self.unsaved >= CHANGES_PER_SAVE { self.save(file) } else { Ok(()) }
    }

    /// Applies what is in the log.
    pub(crate) fn catch_up(&mut self, ring: &Ring, reader: &mut Reader, file: &Path) -> Result<()> {
        while let Some(batch) = reader.poll()? {
            self.apply(ring, &batch, file)?;
        }
        Ok(())
    }
}

/// `with_extension` would give `wal.v1` and `wal.v2` one file.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
