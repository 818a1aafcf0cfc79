//! A disk that fails on demand, for tests: the real one with faults in front.

use super::{Allocation, Disk, DiskFile, FileRights, OsDisk};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};
use waldo_shm_protocol::names::parse_page;

/// What goes wrong from now on. Errors are errno values; 0 is none.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Every write of a page.
    pub(crate) write: AtomicU64,
    /// Every write of a page that is nothing but zeros.
    pub(crate) zeros: AtomicU64,
    /// Every flush of a page, RWF_DSYNC writes included (the bytes get into the page cache).
    pub(crate) sync: AtomicU64,
    /// Making a new page file.
    pub(crate) create: AtomicU64,
    /// The same, from this number of page files on (ENOSPC); 0 for none.
    pub(crate) files_max: AtomicU64,
    /// Giving a page its name, from this number of pages on (ENOSPC); 0 for none.
    pub(crate) pages_max: AtomicU64,
    /// Taking the name of a page away.
    pub(crate) trim: AtomicU64,
    /// Taking any name away.
    pub(crate) remove: AtomicU64,
    /// Making the names in the directory durable.
    pub(crate) sync_dir: AtomicU64,
    /// A page that is listed with the others though nobody finds it any more; 0 for none.
    pub(crate) listed: AtomicU64,
    /// Page files that were not made.
    pub(crate) refused: AtomicU64,
    /// What the next flushes of pages come to, in the order in which they begin; then it is as `sync` says.
    pub(crate) sync_outcomes: Mutex<VecDeque<u64>>,
    /// Writes and reads move at most this many bytes; 0 is no limit.
    pub(crate) piece: AtomicU64,
    /// Every second write or read is interrupted.
    pub(crate) interrupt: AtomicU64,
    /// No blocks can be reserved: a file gets its length and no more.
    pub(crate) no_blocks: AtomicBool,
    /// What of each page has left the page cache.
    pub(crate) evicted: Mutex<Vec<Range<u64>>>,
    /// Flushes of pages that may begin; more of them wait until it is raised. `None`: as many as there are.
    permits: Mutex<Option<u64>>,
    permitted: Condvar,
    /// Successful flushes so far.
    pub(crate) syncs: AtomicU64,
    calls: AtomicU64,
    log: Mutex<Vec<(ThreadId, String)>>,
    /// What io_uring gets to write to in place of the pages that it asks for next; `None` for the page
    /// itself.
    diverted: Mutex<VecDeque<Option<OwnedFd>>>,
}

impl Faults {
    fn check(word: &AtomicU64) -> io::Result<()> {
        match word.load(Ordering::Relaxed) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno as i32)),
        }
    }

    fn piece<'a>(&self, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        self.interrupted()?;
        match self.piece.load(Ordering::Relaxed) as usize {
            0 => Ok(bytes),
            max => Ok(&bytes[..bytes.len().min(max)]),
        }
    }

    fn interrupted(&self) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.interrupt.load(Ordering::Relaxed) == 1 {
            match call % 3 {
                0 => return Err(io::Error::from_raw_os_error(libc::EINTR)),
                1 => return Err(io::Error::from_raw_os_error(libc::EAGAIN)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets so many flushes of pages begin from now on, the others wait; `None` lets all go.
    pub(crate) fn permit_syncs(&self, permits: Option<u64>) {
        *self.permits.lock() = permits;
        self.permitted.notify_all();
    }

    fn await_permit(&self) {
        let mut permits = self.permits.lock();
        while *permits == Some(0) {
            self.permitted.wait(&mut permits);
        }
        *permits = permits.map(|left| left - 1);
    }

    /// Lets io_uring write to these descriptors instead of the pages that it writes to next for the first
    /// time, one each; the page itself where there is none. What such a descriptor does, the kernel reports:
    /// a pipe that is full keeps a piece in flight, `/dev/full` refuses it, `/dev/null` cannot be flushed.
    pub(crate) fn divert(&self, descriptors: impl IntoIterator<Item = Option<OwnedFd>>) {
        self.diverted.lock().extend(descriptors);
    }

    /// The most page files there have been at a time, of those made on this disk.
    pub(crate) fn files_max(&self) -> usize {
        let (mut files, mut max) = (0, 0);
        for (_, entry) in self.log.lock().iter() {
            match entry.split_once(' ') {
                Some(("create", name)) if is_page(name) => files += 1,
                Some(("remove", name)) if is_page(name) => files -= 1,
                _ => {}
            }
            max = max.max(files);
        }
        max
    }

    /// Names that were made, renamed and removed, flushes of the directory, and files that were made no page
    /// any more while nobody else could have them, in order.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().iter().map(|(_, entry)| entry.clone()).collect()
    }

    /// The same, each with the thread that did it.
    pub(crate) fn log_with_threads(&self) -> Vec<(ThreadId, String)> {
        self.log.lock().clone()
    }

    fn note(&self, entry: impl Into<String>) {
        self.log.lock().push((thread::current().id(), entry.into()));
    }
}

/// Whether it is a page, was one, or is to become one.
fn is_page(name: &str) -> bool {
    ["page-", "fresh-", "trim-"].iter().any(|part| name.contains(part))
}

pub(crate) struct FaultyDisk {
    inner: OsDisk,
    pub(crate) faults: Arc<Faults>,
}

impl FaultyDisk {
    pub(crate) fn open(home: &Path) -> FaultyDisk {
        std::fs::create_dir_all(home).unwrap();
        FaultyDisk { inner: OsDisk::open(home).unwrap(), faults: Arc::default() }
    }

    fn wrap(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let faults = Arc::clone(&self.faults);
        Arc::new(FaultyFile { inner: file, faults, page: is_page(name), diverted: OnceLock::new() })
    }

    /// Refuses if there are as many names of this kind as there may be.
    fn room_for(&self, max: &AtomicU64, is_one: impl Fn(&str) -> bool) -> io::Result<()> {
        let max = max.load(Ordering::Relaxed) as usize;
        let there = || self.inner.list().map(|names| names.iter().filter(|name| is_one(name)).count());
        if max > 0 && there()? >= max {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(())
    }
}

impl Disk for FaultyDisk {
    fn create(&self, name: &str, rights: FileRights) -> io::Result<Arc<dyn DiskFile>> {
        if name.contains("fresh-") {
            Faults::check(&self.faults.create).inspect_err(|_| {
                self.faults.refused.fetch_add(1, Ordering::Relaxed);
            })?;
            self.room_for(&self.faults.files_max, is_page)?;
        }
        self.faults.note(format!("create {name}"));
        Ok(self.wrap(name, self.inner.create(name, rights)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(name, self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if to.contains("trim-") {
            Faults::check(&self.faults.trim)?;
        }
        if parse_page(to).is_some() {
            self.room_for(&self.faults.pages_max, |name| parse_page(name).is_some())?;
        }
        self.faults.note(format!("rename {from} {to}"));
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Faults::check(&self.faults.remove)?;
        self.faults.note(format!("remove {name}"));
        self.inner.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.inner.list()?;
        let listed = self.faults.listed.load(Ordering::Relaxed);
        names.extend((listed > 0).then(|| waldo_shm_protocol::names::page(listed)));
        Ok(names)
    }

    fn sync_dir(&self) -> io::Result<()> {
        Faults::check(&self.faults.sync_dir)?;
        self.faults.note("sync_dir");
        self.inner.sync_dir()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }

    fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.inner.directory()
    }

    fn can_prove_unshared(&self) -> bool {
        self.inner.can_prove_unshared()
    }
}

struct FaultyFile {
    inner: Arc<dyn DiskFile>,
    faults: Arc<Faults>,
    page: bool,
    /// What io_uring writes to instead, decided when it asks for the first time.
    diverted: OnceLock<Option<OwnedFd>>,
}

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if self.page {
            Faults::check(&self.faults.write)?;
            if bytes.iter().all(|byte| *byte == 0) {
                Faults::check(&self.faults.zeros)?;
            }
        }
        self.inner.write_at(self.faults.piece(bytes)?, offset)
    }

    fn write_durable_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let n = self.write_at(bytes, offset)?;
        self.sync_data()?;
        Ok(n)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.faults.interrupted().or_else(|error| match error.raw_os_error() {
            Some(libc::EAGAIN) => Ok(()),
            _ => Err(error),
        })?;
        let len = match self.faults.piece.load(Ordering::Relaxed) as usize {
            0 => bytes.len(),
            max => bytes.len().min(max),
        };
        self.inner.read_at(&mut bytes[..len], offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.page {
            let outcome = self.faults.sync_outcomes.lock().pop_front();
            self.faults.await_permit();
            Faults::check(outcome.map(AtomicU64::new).as_ref().unwrap_or(&self.faults.sync))?;
            self.faults.syncs.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.sync_data()
    }

    fn allocate(&self, len: u64) -> io::Result<Allocation> {
        if !self.faults.no_blocks.load(Ordering::Relaxed) {
            return self.inner.allocate(len);
        }
        if self.inner.size()? < len {
            self.inner.write_all_at(&[0], len - 1)?;
        }
        Ok(Allocation::LengthOnly)
    }

    fn cached(&self, offset: u64, len: u64) -> io::Result<bool> {
        let evicted = self.faults.evicted.lock();
        Ok(!evicted.iter().any(|range| range.start < offset + len && offset < range.end))
    }

    fn next_written(&self, offset: u64) -> io::Result<u64> {
        self.inner.next_written(offset)
    }

    fn next_unwritten(&self, offset: u64) -> io::Result<u64> {
        self.inner.next_unwritten(offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn if_unshared(&self, action: &mut dyn FnMut() -> io::Result<()>) -> io::Result<bool> {
        let dead = waldo_shm_protocol::page::PageHeader::retired_bytes();
        self.inner.if_unshared(&mut || {
            action()?;
            let mut head = [0; 8];
            self.inner.read_at(&mut head, 0)?;
            if head == dead[..8] {
                self.faults.note("retired");
            }
            Ok(())
        })
    }

    fn fd(&self) -> Option<RawFd> {
        if !self.page {
            return self.inner.fd();
        }
        let diverted = self.diverted.get_or_init(|| self.faults.diverted.lock().pop_front().flatten());
        diverted.as_ref().map(|diverted| diverted.as_raw_fd()).or_else(|| self.inner.fd())
    }
}
