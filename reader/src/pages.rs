//! Opening page files, and sharing one mapping and one descriptor per page among all readers of a process.

pub(crate) mod opening;
pub(crate) mod page_file;
pub(crate) mod page_map;
pub(crate) mod tail;
pub(crate) mod window;

use crate::error::ReadError;
use crate::source::home::Home;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::statfs::{EXT4_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};
pub(crate) use opening::{Opened, list, open};
use opening::{check, open_with};
use page_file::{PageFacts, PageFile};
use page_map::PageMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use waldo_shm_protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo_shm_protocol::record::{Frame, Record};
use waldo_shm_protocol::{RawRecord, RingId, names};

/// The pages of one ring that this process has mapped or open.
#[derive(Debug)]
pub(crate) struct Pages {
    ring_id: RingId,
    held: Mutex<KnownPages>,
    /// Whether the file system reads without a lock that a writer needs, once that was checked.
    lock_free: OnceLock<bool>,
    /// Whether mapped pages have to stay open, once that was checked.
    hold: OnceLock<bool>,
    /// Reading changes access times: a page has been opened, and this could not be averted.
    traced: AtomicBool,
}

#[derive(Debug)]
struct KnownPages {
    /// Names are looked up in it. What leads there by now does not matter: a page is asked for by the
    /// position that was published for this directory.
    home: Arc<Home>,
    maps: Vec<Known<PageMap>>,
    files: Vec<Known<PageFile>>,
}

/// A page that a reader of this process has mapped or open.
#[derive(Debug)]
struct Known<T> {
    id: u64,
    /// The writer's start under which its name was last seen to lead to this file.
    epoch: u32,
    page: Weak<T>,
}

impl Pages {
    pub(crate) fn new(home: Arc<Home>, ring_id: RingId) -> Pages {
        let held = Mutex::new(KnownPages { home, maps: Vec::new(), files: Vec::new() });
        let (lock_free, hold) = (OnceLock::new(), OnceLock::new());
        Pages { ring_id, held, lock_free, hold, traced: AtomicBool::new(false) }
    }

    /// From now on opens pages in another directory, which holds the same ring.
    pub(crate) fn relocate(&self, home: Arc<Home>) {
        *self.lock() = KnownPages { home, maps: Vec::new(), files: Vec::new() };
    }

    /// Page `id`, mapped; the mapping is shared with all other readers of this process. `epoch` is the
    /// writer's epoch that the caller has seen. A writer that starts may put another file under the page's
    /// name, so a mapping from another epoch is checked again.
    ///
    /// # Errors
    /// [`ReadError::Io`] or [`ReadError::Page`] for what trimming cannot explain.
    pub(crate) fn map(&self, id: u64, epoch: u32) -> Result<Opened<Arc<PageMap>>, ReadError> {
        // Under the lock, so that two readers that enter a page together do not both map it.
        let mut held = self.lock();
        let KnownPages { home, maps, files } = &mut *held;
        if let Some(map) = find(maps, (id, epoch), home)? {
            return Ok(Opened::Page(map));
        }
        // A reader that has the page open reads it to its end, even if it has been trimmed meanwhile.
        let map = match find(files, (id, epoch), home)? {
            Some(page) => PageMap::new(page.file(), (*page).as_ref().clone(), self.hold(home)),
            None => match self.open(id, home)? {
                Opened::Page((file, facts)) => PageMap::new(&file, facts, self.hold(home)),
                Opened::Gone(why) => return Ok(Opened::Gone(why)),
            },
        };
        let map = Arc::new(map.map_err(|e| ReadError::io(path_in(home, id), e))?);
        enter(maps, (id, epoch), &map);
        Ok(Opened::Page(map))
    }

    /// Page `id`, open, as [`Pages::map`] has it mapped.
    ///
    /// # Errors
    /// As [`Pages::map`].
    pub(crate) fn file(&self, id: u64, epoch: u32) -> Result<Opened<Arc<PageFile>>, ReadError> {
        let mut held = self.lock();
        let KnownPages { home, files, .. } = &mut *held;
        if let Some(page) = find(files, (id, epoch), home)? {
            return Ok(Opened::Page(page));
        }
        let page = match self.open(id, home)? {
            Opened::Page((file, facts)) => Arc::new(PageFile::new(file, facts)),
            Opened::Gone(why) => return Ok(Opened::Gone(why)),
        };
        if !leaves_no_trace(page.file()) {
            self.traced.store(true, Ordering::Relaxed);
        }
        enter(files, (id, epoch), &page);
        Ok(Opened::Page(page))
    }

    /// The first record of page `id`, for a caller that does not find it in the directory; `None` if there is
    /// no good record.
    pub(crate) fn first_record(&self, id: u64, epoch: u32) -> Option<Record> {
        let Ok(Opened::Page(page)) = self.file(id, epoch) else { return None };
        let (mut bytes, first) = ([0; RECORD_HEADER_LEN], PAGE_HEADER_LEN as u32);
        page.read(&mut bytes, first).ok()?;
        let raw = RawRecord::read(&bytes)?;
        let facts = (*page).as_ref();
        raw.verify(facts.seed(), first).ok()?;
        match raw.check(facts.page_len() as u64) {
            Ok(Frame::Record(record)) => Some(record),
            _ => None,
        }
    }

    /// Whether reading a page with a system call cannot hold up the writer. XFS locks the inode for such a
    /// read, and a reader that loses its processor while it has the lock holds up the writer; an unknown file
    /// system may do the same.
    pub(crate) fn read_without_lock(&self) -> bool {
        // Checked once for all pages: they got their names in this directory, so they are in its file system.
        let lock_free = *self.lock_free.get_or_init(|| {
            let kind = fstatfs(self.lock().home.dir()).map(|stat| stat.filesystem_type());
            kind.is_ok_and(|kind| kind == EXT4_SUPER_MAGIC || kind == TMPFS_MAGIC)
        });
        lock_free && !self.traced.load(Ordering::Relaxed)
    }

    /// Whether a page that is mapped has to stay open. A writer uses a file again once the kernel has granted
    /// it a lease. A mapping alone is in the way of that on ext4, XFS and tmpfs; on overlayfs it is one of
    /// another file, in a layer below. An open file is in the way everywhere.
    fn hold(&self, home: &Home) -> bool {
        *self.hold.get_or_init(|| {
            let kind = fstatfs(home.dir()).map(|stat| stat.filesystem_type());
            !kind.is_ok_and(|kind| [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, TMPFS_MAGIC].contains(&kind))
        })
    }

    /// Sets that, whatever the file system.
    #[cfg(test)]
    pub(crate) fn set_read_without_lock(&self, lock_free: bool) {
        self.lock_free.set(lock_free).unwrap();
    }

    fn open(&self, id: u64, home: &Home) -> Result<Opened<(File, PageFacts)>, ReadError> {
        let path = path_in(home, id);
        let name = names::page(id);
        let opened = open_with(|flags| home.open_file(&name, OFlag::from_bits_retain(flags)));
        Ok(match check(opened, &path, &self.ring_id, id)? {
            Opened::Page((file, header)) => {
                let facts = PageFacts::new(&file, &path, &header).map_err(|e| ReadError::io(&path, e))?;
                Opened::Page((file, facts))
            }
            Opened::Gone(why) => Opened::Gone(why),
        })
    }

    fn lock(&self) -> MutexGuard<'_, KnownPages> {
        // Directory and vectors are whole between any two statements above.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether reading `file` does not change its access time.
fn leaves_no_trace(file: &File) -> bool {
    let granted = fcntl(file, FcntlArg::F_GETFL).is_ok_and(|flags| flags & libc::O_NOATIME != 0);
    granted || fstatvfs(file).is_ok_and(|stat| stat.flags().contains(FsFlags::ST_NOATIME))
}

/// What is known under this id, if it is still held, and is what its name in `home` leads to under this
/// epoch.
fn find<T: AsRef<PageFacts>>(
    known: &mut [Known<T>],
    (id, epoch): (u64, u32),
    home: &Home,
) -> Result<Option<Arc<T>>, ReadError> {
    let known = known.iter_mut().find(|known| known.id == id);
    if let Some((known, page)) = known.and_then(|known| known.page.upgrade().map(|page| (known, page)))
        && (known.epoch == epoch || leads_to(home, (*page).as_ref())?)
    {
        known.epoch = epoch;
        return Ok(Some(page));
    }
    Ok(None)
}

/// Registers `page`, and forgets pages that no reader holds any more.
fn enter<T>(known: &mut Vec<Known<T>>, (id, epoch): (u64, u32), page: &Arc<T>) {
    known.retain(|known| known.id != id && known.page.strong_count() > 0);
    known.push(Known { id, epoch, page: Arc::downgrade(page) });
}

/// Whether its name still leads to the file of this page. While it is held, its inode cannot be another's.
fn leads_to(home: &Home, page: &PageFacts) -> Result<bool, ReadError> {
    let inode = home.inode(&names::page(page.id())).map_err(|e| ReadError::io(&**page.path(), e))?;
    Ok(inode == Some(page.inode()))
}

/// The path of page `id`, for messages.
fn path_in(home: &Home, id: u64) -> PathBuf {
    home.path().join(names::page(id))
}
