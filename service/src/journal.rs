//! What the service remembers of its producers across its own death: `producers.journal` in the ring's
//! directory.
//!
//! ```text
//!   sequencer:  write intents -> (flush) -> append to the ring -> ack
//!   at start:   read -> drop what the log does not hold -> write anew, rename -> go on
//! ```
//!
//! Before records with a producer's numbers are appended, the journal holds which sequence numbers they will
//! get. Only the service appends, and it names the number of every record, so where the log ends tells how
//! much of what was intended has happened: nothing has to be written after an append. The exception is an
//! append that failed while the service lives: its sequence numbers go to other records, so a *void* entry
//! comes before those.
//!
//! The file is written anew when it has grown, and at each start: the names with their claims, in a new
//! file that is flushed and renamed.

pub(crate) mod entry;
mod load;
#[cfg(test)]
mod tests;

pub(crate) use load::{Place, load};

use crate::ServiceError;
use crate::producers::Producers;
use entry::{Header, put_name, put_void};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use zerocopy::IntoBytes;

const NAME: &str = "producers.journal";
const NEW_NAME: &str = "producers.journal.new";
/// Zeros that are written ahead: a flush of entries that change neither the length of the file nor its blocks
/// needs no journal of the file system (on ext4 0.1 ms instead of 4).
const RESERVE: usize = 512 << 10;

/// The journal, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    place: Place,
    file: File,
    /// Where the next entry goes.
    len: u64,
    /// Its length when it was written anew.
    compact_len: u64,
    /// Up to here the file is there, with zeros behind `len`.
    reserved: u64,
    /// What the file holds behind `len` is not known. It must be written anew before anything is appended to
    /// the ring: otherwise other records could get the sequence numbers that an entry there names.
    unsound: bool,
}

impl Journal {
    /// Writes a new journal that holds `producers`, in the place of the old one.
    pub(crate) fn create(place: Place, producers: &Producers) -> Result<Journal, ServiceError> {
        let (file, len) = write_new(&place, producers).map_err(|source| ServiceError::Journal {
            action: "write",
            path: place.path(),
            source,
        })?;
        let reserved = len + RESERVE as u64;
        Ok(Journal { place, file, len, compact_len: len, reserved, unsound: false })
    }

    /// Writes the journal anew.
    pub(crate) fn compact(&mut self, producers: &Producers) -> io::Result<()> {
        let (file, len) = write_new(&self.place, producers)?;
        (self.file, self.len, self.compact_len, self.unsound) = (file, len, len, false);
        self.reserved = len + RESERVE as u64;
        Ok(())
    }

    pub(crate) fn is_unsound(&self) -> bool {
        self.unsound
    }

    /// By how much it has grown since it was written anew.
    pub(crate) fn growth(&self) -> u64 {
        self.len - self.compact_len
    }

    /// Adds entries, and makes them durable if `flush`. After an error the journal is unsound.
    pub(crate) fn append(&mut self, entries: &[u8], flush: bool) -> io::Result<()> {
        let outcome = self.write(entries, flush);
        // The disk may hold these entries or a part of them, and the page cache something else.
        self.unsound |= outcome.is_err();
        outcome
    }

    fn write(&mut self, entries: &[u8], flush: bool) -> io::Result<()> {
        let end = self.len + entries.len() as u64;
        while end > self.reserved {
            self.file.write_all_at(&[0; RESERVE], self.reserved)?;
            self.reserved += RESERVE as u64;
        }
        self.file.write_all_at(entries, self.len)?;
        if flush {
            self.file.sync_data()?;
        }
        self.len = end;
        Ok(())
    }

    /// Writes down that nothing above `tip` was appended. `producers` must have been clipped. After an error
    /// the journal is unsound.
    pub(crate) fn void(&mut self, tip: u64, producers: &Producers, flush: bool) -> io::Result<()> {
        let mut entry = Vec::new();
        put_void(&mut entry, tip);
        if !self.unsound && self.append(&entry, flush).is_ok() {
            return Ok(());
        }
        self.unsound = true;
        self.compact(producers)
    }
}

fn write_new(place: &Place, producers: &Producers) -> io::Result<(File, u64)> {
    let mut bytes = Header::new(place.ring_id, place.epoch).as_bytes().to_vec();
    for (id, producer) in producers.iter() {
        put_name(&mut bytes, id, producer);
    }
    let len = bytes.len() as u64;
    bytes.resize(bytes.len() + RESERVE, 0);
    // Whatever is there under this name is left over.
    match unlinkat(place.dir(), NEW_NAME, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let file = place.open_file(NEW_NAME, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_all()?;
    place.rename(NEW_NAME, NAME)?;
    Ok((file, len))
}
