//! A reader's progress, which can be kept in a file across restarts.

use crate::checked_text::{self, Fields, TextFault};
use crate::id_text::{parse_id, render_id};
use crate::plain_file::{not_plain, open_plain};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use thiserror::Error;
use waldo_shm_protocol::RingId;

const TITLE: &str = "waldo-checkpoint 1";
/// Longest checkpoint file in bytes.
const LEN_MAX: u64 = 4096;
/// Names that are tried for a new checkpoint before it takes the old one's place. A process that was killed
/// may have left one, and in a container the next process has the same number.
const SCRATCHES_MAX: u32 = 1000;

/// Identifies one record of one ring, so that another record with the same number is not mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The ring.
    pub ring_id: RingId,
    /// The record's sequence number: the last record that has been processed.
    pub seq_no: u64,
    /// The writer's start that appended it.
    pub epoch: u32,
    /// The checksum of its header.
    pub checksum: u32,
}

/// Why a checkpoint could not be saved or loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// What the system said.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Written by a newer version.
    #[error("{}: not a checkpoint of version 1", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
    },
    /// Damaged or edited.
    #[error("{}: the checkpoint is damaged ({what}); remove it and seek instead", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

impl Checkpoint {
    /// Writes the checkpoint to `path`, replacing the file in one step: after a crash the file holds either
    /// the old checkpoint or this one, never a mixture. The file is flushed to disk before this returns.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; the old file is left as it was. Anything but a regular file is refused, since
    /// a device would be replaced.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        static UNIQUE: AtomicU32 = AtomicU32::new(0);
        let path = path.as_ref();
        let io = |source| CheckpointError::Io { path: path.to_path_buf(), source };
        let name = path.file_name().ok_or_else(|| io(io::ErrorKind::InvalidInput.into()))?;
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        match std::fs::metadata(path) {
            Ok(stat) if !stat.is_file() => return Err(io(not_plain())),
            _ => {}
        }
        let mut tries = 0;
        let (scratch, file) = loop {
            let mut scratch_name = name.to_os_string();
            let n = UNIQUE.fetch_add(1, Ordering::Relaxed);
            scratch_name.push(format!(".{}-{n}.tmp", std::process::id()));
            let scratch = dir.join(scratch_name);
            tries += 1;
            match OpenOptions::new().write(true).create_new(true).open(&scratch) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < SCRATCHES_MAX => {}
                opened => break (scratch, opened.map_err(io)?),
            }
        };
        let written = self.write(file).and_then(|()| std::fs::rename(&scratch, path));
        if let Err(error) = written {
            // Best effort: the error that matters is the first one.
            let _ = std::fs::remove_file(&scratch);
            return Err(io(error));
        }
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
    }

    fn write(&self, mut file: File) -> io::Result<()> {
        file.write_all(self.render().as_bytes())?;
        file.sync_all()
    }

    /// Reads what [`Checkpoint::save`] wrote. `None` if there is no such file.
    ///
    /// # Errors
    /// [`CheckpointError`] if the file cannot be read or is not a whole checkpoint.
    pub fn load(path: impl AsRef<Path>) -> Result<Option<Checkpoint>, CheckpointError> {
        let path = path.as_ref();
        let mut text = Vec::new();
        let read = open_plain(path).and_then(|file| file.take(LEN_MAX).read_to_end(&mut text));
        match read {
            Ok(_) => Checkpoint::parse(&text, path).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CheckpointError::Io { path: path.to_path_buf(), source }),
        }
    }

    fn render(&self) -> String {
        checked_text::render(TITLE, &self.fields())
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Checkpoint, CheckpointError> {
        let path = || path.to_path_buf();
        Fields::parse(bytes, TITLE).and_then(|mut fields| Checkpoint::from_fields(&mut fields)).map_err(
            |fault| match fault {
                TextFault::Title => CheckpointError::Version { path: path() },
                TextFault::Damaged(what) => CheckpointError::Damaged { path: path(), what },
            },
        )
    }

    /// Its lines in a file.
    pub(crate) fn fields(&self) -> [(&'static str, String); 4] {
        [
            ("ring", render_id(&self.ring_id)),
            ("seq_no", self.seq_no.to_string()),
            ("epoch", self.epoch.to_string()),
            ("record", format!("{:08x}", self.checksum)),
        ]
    }

    /// Reads its lines.
    pub(crate) fn from_fields(fields: &mut Fields<'_>) -> Result<Checkpoint, TextFault> {
        Ok(Checkpoint {
            ring_id: parse_id(fields.text("ring")?).ok_or(TextFault::Damaged("ring"))?,
            seq_no: fields.number("seq_no")?,
            epoch: fields.number("epoch")?,
            checksum: u32::from_str_radix(fields.text("record")?, 16)
                .map_err(|_| TextFault::Damaged("record"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKPOINT: Checkpoint =
        Checkpoint { ring_id: [0xa5; 16], seq_no: u64::MAX, epoch: 7, checksum: 0x0102_0304 };

    #[test]
    fn saved_is_loaded_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cp");
        assert!(Checkpoint::load(&path).unwrap().is_none());
        CHECKPOINT.save(&path).unwrap();
        let next = Checkpoint { seq_no: 5, ..CHECKPOINT };
        next.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap(), Some(next));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// The one was waited for, deaf to every signal; root replaced the other, `/dev/null` say, by a file.
    #[test]
    fn what_is_no_file_is_neither_read_nor_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [&fifo, dir.path(), Path::new("/dev/null")] {
            for error in [Checkpoint::load(path).unwrap_err(), CHECKPOINT.save(path).unwrap_err()] {
                assert!(error.to_string().contains("not a regular file"), "{error}");
            }
        }
        assert!(!std::fs::metadata(&fifo).unwrap().is_file());
    }

    #[test]
    fn what_a_killed_process_has_left_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cp");
        for n in 0..100 {
            std::fs::write(dir.path().join(format!("cp.{}-{n}.tmp", std::process::id())), "half").unwrap();
        }
        CHECKPOINT.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap(), Some(CHECKPOINT));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let whole = CHECKPOINT.render().into_bytes();
        let path = Path::new("x");
        assert_eq!(Checkpoint::parse(&whole, path).unwrap(), CHECKPOINT);
        for at in 0..whole.len() {
            assert!(Checkpoint::parse(&whole[..at], path).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut wrong = whole.clone();
                wrong[at] ^= 1 << bit;
                assert!(Checkpoint::parse(&wrong, path).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_boot_id_is_read() {
        let id = parse_id("00010203-0405-0607-0809-0a0b0c0d0e0f\n").unwrap();
        assert_eq!(id, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(parse_id("+0010203-0405-0607-0809-0a0b0c0d0e0f"), None);
        assert_eq!(parse_id("00"), None);
    }
}
