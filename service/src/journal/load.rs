//! Reading the journal at a start, and holding it against the log.

use super::NAME;
use super::entry::{Entry, HEADER_LEN, Header, MAGIC, take};
use crate::ServiceError;
use crate::producers::Producers;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use waldo::protocol::RingId;
use waldo::reader::{Cursor, ReadError, Ring};
use waldo::writer::Writer;
use zerocopy::FromBytes;

/// Where a journal belongs, and to which start of the ring's writer.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    home: PathBuf,
    /// The directory that the ring's writer works in.
    dir: Arc<File>,
    pub(crate) ring_id: RingId,
    pub(crate) epoch: u32,
}

impl Place {
    /// The directory that `writer` has opened, whose ring is `ring_id`.
    pub(crate) fn of(writer: &Writer, ring_id: RingId) -> Result<Place, ServiceError> {
        let home = writer.home().to_owned();
        let dir = match writer.directory() {
            Some(dir) => dir.try_clone_to_owned(),
            None => File::open(&home).map(OwnedFd::from),
        };
        let dir = dir.map_err(|source| ServiceError::Journal {
            action: "open the directory of",
            path: home.join(NAME),
            source,
        })?;
        Ok(Place { home, dir: Arc::new(File::from(dir)), ring_id, epoch: writer.open_report().epoch })
    }

    /// The journal's path, for messages only: the directory may have been renamed.
    pub(crate) fn path(&self) -> PathBuf {
        self.home.join(NAME)
    }

    pub(super) fn dir(&self) -> &File {
        &self.dir
    }

    /// Opens a regular file in the directory. Whatever else is there under this name is refused, and not
    /// waited for.
    pub(super) fn open_file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let safe = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&*self.dir, name, flags | safe, Mode::from_bits_truncate(0o600))?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "this is not a regular file"));
        }
        Ok(file)
    }

    /// Gives file `from` the name `to`, durably.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        renameat(&*self.dir, from, &*self.dir, to)?;
        self.dir.sync_all()
    }
}

/// What a journal said.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) producers: Producers,
    /// Bytes at its end that are no whole entry.
    pub(crate) torn: usize,
}

/// Reads the journal of the ring, whose log ends with record `tip`. Without one, or with that of another
/// ring, there are no producers.
pub(crate) fn load(place: &Place, tip: u64) -> Result<Loaded, ServiceError> {
    let path = place.path();
    let mut bytes = Vec::new();
    let read = place.open_file(NAME, OFlag::O_RDONLY).and_then(|mut file| file.read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Loaded::default()),
        Err(source) => return Err(ServiceError::Journal { action: "read", path, source }),
    }
    let damaged = |reason: &str| ServiceError::JournalDamaged { path: path.clone(), reason: reason.into() };
    let Some((head, entries)) = bytes.split_at_checked(HEADER_LEN) else {
        return Err(damaged("it is shorter than its header"));
    };
    let header = Header::read_from_bytes(head).map_err(|_| damaged("it has no header"))?;
    if header.magic != MAGIC {
        return Err(damaged("it is no journal of producers, or of another version"));
    }
    if header.checksum != header.computed() {
        return Err(damaged("its header fails its checksum"));
    }
    if header.ring_id != place.ring_id {
        tracing::warn!("{} is of another ring: the producers it names are forgotten", path.display());
        return Ok(Loaded::default());
    }
    let mut loaded = replay(entries);
    loaded.producers.clip(era_end(place, header.epoch, tip)?);
    if loaded.torn > 0 {
        let torn = loaded.torn;
        tracing::warn!("{}: {torn} bytes at its end are torn and were left out", path.display());
    }
    Ok(loaded)
}

/// Carries out all entries, up to the first that is not whole.
pub(super) fn replay(mut bytes: &[u8]) -> Loaded {
    let mut producers = Producers::default();
    while let Some((entry, rest)) = take(bytes) {
        bytes = rest;
        match entry {
            Entry::Name(id, producer) => producers.put(id, producer),
            Entry::Intents { time_ms, intents } => {
                for intent in intents {
                    if let Some(producer) = producers.get_mut(intent.id) {
                        producer.claim(intent.claim);
                        producer.used_ms = producer.used_ms.max(time_ms);
                    }
                }
            }
            Entry::Void(tip) => producers.clip(tip),
        }
    }
    // Behind the last entry there are zeros.
    let torn = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Loaded { producers, torn }
}

/// The last record in the log that was appended by start `epoch` of the writer or one before: what came later
/// was appended without the journal, by another program, and its numbers are not what the journal meant.
fn era_end(place: &Place, epoch: u32, tip: u64) -> Result<u64, ServiceError> {
    if tip == 0 || place.epoch == epoch.wrapping_add(1) {
        return Ok(tip);
    }
    let ring = Ring::attach(&place.home)?;
    // (number, number before it, start) of the first record from a number on.
    let first_from = |number: u64| -> Result<(u64, u64, u32), ServiceError> {
        let batch = match ring.reader(Cursor::From(number)).and_then(|mut reader| reader.poll()) {
            // What was trimmed was older: the first that is left stands for it.
            Err(ReadError::Lapped { oldest, .. }) => ring.reader(Cursor::From(oldest))?.poll()?,
            outcome => outcome?,
        };
        let record = batch.as_ref().and_then(|batch| batch.iter().next());
        Ok(record.map_or((tip, tip, 0), |record| (record.seq_no(), record.prev_seq_no(), record.epoch())))
    };
    if first_from(tip)?.2 <= epoch {
        return Ok(tip);
    }
    // Starts never decrease along the log: look for the first record of a later one.
    let (mut low, mut high) = (1, tip);
    while low < high {
        let middle = low + (high - low) / 2;
        let (number, _, found) = first_from(middle)?;
        if found > epoch { high = middle } else { low = number + 1 }
    }
    Ok(first_from(low)?.1)
}
