//! Opening page files, and sharing one mapping per page among all readers of a process.

use crate::error::ReadError;
use crate::page_map::PageMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use waldo_shm_protocol::page::{PageFault, PageHeader, RawPageHeader};
use waldo_shm_protocol::{RingId, names};

/// The pages of one ring that this process has mapped.
#[derive(Debug)]
pub(crate) struct Pages {
    home: PathBuf,
    ring_id: RingId,
    mapped: Mutex<Vec<Mapped>>,
}

/// A page that somebody in this process has mapped.
#[derive(Debug)]
struct Mapped {
    id: u64,
    /// The writer's start under which its name was last seen to lead to this file.
    epoch: u32,
    map: Weak<PageMap>,
}

/// What became of an attempt to open a page.
pub(crate) enum Opened<T> {
    /// There it is.
    Page(T),
    /// The name leads nowhere, or to a file whose header is not that of the page: trimmed, if the ring's oldest page
    /// is a newer one by now; damage if it still is not after a few tries.
    Gone(ReadError),
}

impl Pages {
    pub(crate) fn new(home: &Path, ring_id: RingId) -> Pages {
        Pages { home: home.to_path_buf(), ring_id, mapped: Mutex::new(Vec::new()) }
    }

    /// Page `id`, mapped; shared with whoever else in this process has it mapped. `epoch` is the writer's start
    /// that the caller has seen: a writer that starts may put another file under the name, so what was mapped
    /// under another start is looked at again.
    ///
    /// # Errors
    /// [`ReadError::Io`] or [`ReadError::Page`] for what trimming cannot explain.
    pub(crate) fn map(&self, id: u64, epoch: u32) -> Result<Opened<Arc<PageMap>>, ReadError> {
        let path = || self.home.join(names::page(id));
        let mut mapped = self.lock();
        let known = mapped.iter_mut().find(|known| known.id == id);
        if let Some((known, map)) = known.and_then(|known| known.map.upgrade().map(|map| (known, map)))
            && (known.epoch == epoch || leads_to(&path(), &map)?)
        {
            known.epoch = epoch;
            return Ok(Opened::Page(map));
        }
        // Under the lock: two readers that enter a page together shall not both map it.
        let path = path();
        let (file, header) = match open(&path, &self.ring_id, id)? {
            Opened::Page(page) => page,
            Opened::Gone(why) => return Ok(Opened::Gone(why)),
        };
        let map = PageMap::new(&file, &path, &header).map_err(|e| ReadError::io(&path, e))?;
        let map = Arc::new(map);
        mapped.retain(|known| known.id != id && known.map.strong_count() > 0);
        mapped.push(Mapped { id, epoch, map: Arc::downgrade(&map) });
        Ok(Opened::Page(map))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Mapped>> {
        // The vector is whole between any two statements above.
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `path` still leads to the file that `map` is of. While it is mapped, its inode cannot be another's.
fn leads_to(path: &Path, map: &PageMap) -> Result<bool, ReadError> {
    match std::fs::symlink_metadata(path) {
        Ok(stat) => Ok((stat.dev(), stat.ino()) == map.inode()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(ReadError::io(path, e)),
    }
}

/// Opens page `id` for reading and checks its header, read into private memory: a page that is being recycled is
/// recognised before anything is mapped.
///
/// # Errors
/// As [`Pages::map`].
pub(crate) fn open(path: &Path, ring_id: &RingId, id: u64) -> Result<Opened<(File, PageHeader)>, ReadError> {
    // O_NONBLOCK is left out on purpose: while the writer proves that nobody uses the page it holds a lease, and
    // this open has to wait for the outcome, some microseconds.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Opened::Gone(ReadError::io(path, e))),
        Err(e) => return Err(ReadError::io(path, e)),
    };
    let stat = file.metadata().map_err(|e| ReadError::io(path, e))?;
    if !stat.is_file() {
        return Err(ReadError::Page { path: path.to_path_buf(), fault: PageFault::Magic });
    }
    let mut bytes = [0; size_of::<RawPageHeader>()];
    let got = read_at(&file, &mut bytes, 0).map_err(|e| ReadError::io(path, e))?;
    match PageHeader::check(&bytes[..got], stat.len(), ring_id, id) {
        Ok(header) => Ok(Opened::Page((file, header))),
        // Whatever is wrong with it, trimming may explain it: the page may have been opened just before its name was
        // taken away, and read while its header was written over.
        Err(fault) => Ok(Opened::Gone(ReadError::Page { path: path.to_path_buf(), fault })),
    }
}

/// Reads up to `bytes.len()` bytes at `offset`; fewer only at the end of the file.
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

/// Ids of all page files in `home`, in order.
pub(crate) fn list(home: &Path) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(home)? {
        ids.extend(entry?.file_name().to_str().and_then(names::parse_page));
    }
    ids.sort_unstable();
    Ok(ids)
}
