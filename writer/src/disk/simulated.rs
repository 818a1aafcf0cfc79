//! A disk in memory that loses what a disk may lose, for tests.
//!
//! Assumptions 1 to 6 and 10 of docs/GUARANTEES.md are made here, and nothing more, each time in the weakest
//! form that Linux gives:
//!
//! 1. A sector of 512 bytes is written whole or not at all. Nothing larger is: after a power cut each sector
//!    of a write has its old or its new content, apart from all others.
//! 2. What was written and not flushed may be on the disk or not, sector by sector, whatever came first. A
//!    sector that was written several times has any of its contents.
//! 3. `sync_data` makes the content and the length of one file durable, and no name.
//! 4. `write_durable_at` makes the sectors of that call and the length durable, and nothing else of the file.
//! 5. Names are changed in one order, the order of the calls. After a power cut any number of the last
//!    changes are missing; [`Disk::sync_dir`] makes all of them durable. File contents are not ordered with
//!    names.
//! 6. A new length is durable on its own account: after a power cut a file that was not flushed has its old
//!    or its new length. What lies between reads as zeros.
//! 7. After a flush that failed, any part of what was to be flushed is on the disk. The kernel calls all of
//!    it clean, so that no later flush writes it. The page cache goes on with the new content (ext4, XFS) or
//!    goes back to what is on the disk, then or at any time later (Btrfs; memory pressure).
//! 8. A directory flush that failed may be tried again; what it was to make durable is not.
//! 9. A process that is killed leaves the page cache as it is. A write that it was in may be there in part,
//!    as a prefix. A write may also be short, and any call may be interrupted or fail without effect.
//! 10. Where a file holds nothing but zeros is told rightly ([`DiskFile::next_written`]): recovery passes
//!     over that. Where it was never written may be told wrong ([`DiskFile::next_unwritten`]): that only
//!     decides how far zeros are written ahead of the log.
//!
//! Not modelled: a disk that lies about a flush (tests let it lie to remove a guard), and bytes that change
//! by themselves.

mod choices;
mod faults;
mod file;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use choices::{Choices, Odometer, Rng, Style, Styled};
pub(crate) use faults::{Faults, Lie};
pub(crate) use state::{Known, Op, State};

use super::{Allocation, Disk, DiskFile, FileRights};
use parking_lot::Mutex;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

struct Inner {
    state: State,
    faults: Faults,
    journal: Vec<Op>,
}

impl SimDisk {
    pub(crate) fn new(state: State, faults: Faults) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Inner { state, faults, journal: Vec::new() })))
    }

    /// What is in it now.
    pub(crate) fn state(&self) -> State {
        self.0.lock().state.clone()
    }

    /// Everything that was changed, in order.
    pub(crate) fn take_journal(&self) -> Vec<Op> {
        std::mem::take(&mut self.0.lock().journal)
    }

    /// Puts into the journal what whoever writes knows from now on.
    pub(crate) fn note(&self, known: Known) {
        self.0.lock().journal.push(Op::Note(known));
    }

    /// Changes what goes wrong from now on.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// What the disk does not do from now on.
    pub(crate) fn set_lie(&self, lie: Lie) {
        self.0.lock().faults.lie = lie;
    }

    /// Which calls failed so far.
    pub(crate) fn failed(&self) -> u64 {
        self.0.lock().faults.failed
    }
}

impl Inner {
    /// Carries out `op` and writes it down.
    fn perform(&mut self, op: Op) {
        self.state.apply(&op);
        self.journal.push(op);
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str, _rights: FileRights) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.0.lock();
        inner.faults.space()?;
        if inner.state.find(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.perform(Op::Create(name.into()));
        let inode = inner.state.find(name).ok_or(io::ErrorKind::NotFound)?;
        drop(inner);
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.0.lock();
        inner.faults.call()?;
        let inode = inner.state.find(name).ok_or(io::ErrorKind::NotFound)?;
        drop(inner);
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.0.lock();
        inner.faults.call()?;
        inner.state.find(from).ok_or(io::ErrorKind::NotFound)?;
        inner.perform(Op::Rename(from.into(), to.into()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.0.lock();
        inner.faults.call()?;
        inner.state.find(name).ok_or(io::ErrorKind::NotFound)?;
        inner.perform(Op::Remove(name.into()));
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut inner = self.0.lock();
        inner.faults.call()?;
        let mut names = inner.state.names();
        // In no order.
        inner.faults.rng.shuffle(&mut names);
        Ok(names)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut inner = self.0.lock();
        inner.faults.flush()?;
        if !inner.faults.lie.about_names(inner.state.last_change()) {
            inner.perform(Op::SyncDir);
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/simulated").join(name)
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl SimFile {
    /// A flush of the whole file that failed: what became of each sector is chosen here.
    fn fail_flush(&self, inner: &mut Inner, error: io::Error) -> io::Error {
        let sectors = inner.state.file(self.inode).unsynced_sectors();
        let reached = sectors.iter().filter(|_| inner.faults.rng.one_in(2)).copied().collect();
        let evicted = inner.faults.rng.one_in(2);
        inner.perform(Op::FailedSync { inode: self.inode, reached, evicted });
        error
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.disk.0.lock();
        inner.faults.space()?;
        let len = inner.faults.piece(bytes.len());
        let (lie, name) = (inner.faults.lie, inner.state.name_of(self.inode));
        let same = lie.rewrites && inner.state.file(self.inode).holds(&bytes[..len], offset);
        if same || lie.about_zeros(name.as_deref(), bytes) {
            return Ok(len);
        }
        inner.perform(Op::Write { inode: self.inode, offset, bytes: bytes[..len].into(), durable: false });
        Ok(len)
    }

    fn write_durable_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.disk.0.lock();
        inner.faults.space()?;
        let len = inner.faults.piece(bytes.len());
        let write = |durable| Op::Write { inode: self.inode, offset, bytes: bytes[..len].into(), durable };
        if let Err(error) = inner.faults.flush() {
            inner.perform(write(false));
            return Err(self.fail_flush(&mut inner, error));
        }
        let durable = !inner.faults.lie.durable_writes;
        inner.perform(write(durable));
        Ok(len)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.disk.0.lock();
        inner.faults.read()?;
        let len = inner.faults.piece(bytes.len());
        Ok(inner.state.file(self.inode).read(&mut bytes[..len], offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.disk.0.lock();
        if let Err(error) = inner.faults.flush() {
            return Err(self.fail_flush(&mut inner, error));
        }
        let name = inner.state.name_of(self.inode);
        if !inner.faults.lie.about_data(name.as_deref()) {
            inner.perform(Op::SyncData(self.inode));
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<Allocation> {
        let mut inner = self.disk.0.lock();
        if inner.state.file(self.inode).len() >= len {
            return Ok(Allocation::Reserved);
        }
        inner.faults.space()?;
        inner.perform(Op::Allocate { inode: self.inode, len });
        Ok(Allocation::Reserved)
    }

    fn next_written(&self, offset: u64) -> io::Result<u64> {
        let mut inner = self.disk.0.lock();
        inner.faults.call()?;
        Ok(inner.state.file(self.inode).next_byte(offset))
    }

    /// Anything: whoever asks takes it for a hint.
    fn next_unwritten(&self, offset: u64) -> io::Result<u64> {
        let mut inner = self.disk.0.lock();
        inner.faults.call()?;
        let len = inner.state.file(self.inode).len();
        let room = len.saturating_sub(offset);
        Ok(match inner.faults.rng.below(3) {
            0 => len,
            1 => offset.min(len),
            _ => offset.min(len) + inner.faults.rng.below(room.max(1)),
        })
    }

    fn size(&self) -> io::Result<u64> {
        let mut inner = self.disk.0.lock();
        inner.faults.call()?;
        Ok(inner.state.file(self.inode).len())
    }

    fn if_unshared(&self, action: &mut dyn FnMut() -> io::Result<()>) -> io::Result<bool> {
        let (mapped, late) = {
            let mut inner = self.disk.0.lock();
            inner.faults.call()?;
            (inner.faults.is_mapped(), inner.faults.rng.one_in(2))
        };
        // Somebody may have come while it ran.
        if !mapped || late {
            action()?;
        }
        Ok(!mapped)
    }

    fn fd(&self) -> Option<RawFd> {
        None
    }
}
