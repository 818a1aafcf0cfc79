//! The files of a ring as the survey reads them: the same survey as the writer's recovery, with the same
//! results.

use crate::error::ReadError;
use crate::pages::opening::read_at;
use crate::pages::{self, Opened};
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::borrow::Borrow;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use waldo_shm_protocol::limits::RECORD_HEADER_LEN;
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::record::{Frame, PageEnd, Seal, Stamp};
use waldo_shm_protocol::recovery::judge::{self, StopVerdict};
use waldo_shm_protocol::recovery::{
    self, Damage, DamageKind, PageBytes, RingFiles, Sparse, Survey, SurveyError, first_predecessor, read_page,
};
use waldo_shm_protocol::scan::PayloadCheck;
use waldo_shm_protocol::{PageSeed, Position, RingId, names};

/// Surveys in a row that find damage before that is believed, the last two at the same place. A writer at
/// work changes files meanwhile, and a directory that is listed meanwhile may show an older page and not a
/// newer one.
const LOOKS: u32 = 8;
/// The same if the damage is elsewhere each time, or its page has been trimmed since, or has come since if it
/// is missing.
const TRIM_LOOKS: u32 = 1000;

/// The page files in a directory.
struct Directory<'a>(&'a Path);

/// A page file, open: borrowed or owned.
pub(crate) struct Bytes<F>(pub(crate) F);

impl RingFiles for Directory<'_> {
    type Error = io::Error;
    type Page = Sparse<Bytes<File>>;

    fn page_ids(&self) -> io::Result<Vec<u64>> {
        pages::list(self.0)
    }

    fn open_page(&self, id: u64) -> io::Result<Option<Sparse<Bytes<File>>>> {
        let open = |flags| {
            let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW | flags;
            OpenOptions::new().read(true).custom_flags(flags).open(self.0.join(names::page(id)))
        };
        // A FIFO would be waited for without O_NONBLOCK; and a lease, which only a file can have, is to be
        // waited for.
        let opened = match open(libc::O_NONBLOCK) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => open(0),
            opened => opened,
        };
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not a regular file"));
        }
        Ok(Some(Sparse::new(Bytes(file))))
    }
}

impl<F: Borrow<File>> PageBytes for Bytes<F> {
    type Error = io::Error;

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.borrow().metadata()?.len())
    }

    fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        read_at(self.0.borrow(), bytes, offset)
    }

    fn next_written(&self, offset: u64) -> io::Result<u64> {
        match seek(self.0.borrow(), offset, Whence::SeekData)? {
            Extents::At(at) => Ok(at),
            // Nothing up to the end.
            Extents::Nowhere => self.size(),
            Extents::Unknown => Ok(offset),
        }
    }

    fn next_unwritten(&self, offset: u64) -> io::Result<u64> {
        match seek(self.0.borrow(), offset, Whence::SeekHole)? {
            Extents::At(at) => Ok(at),
            Extents::Nowhere | Extents::Unknown => self.size(),
        }
    }
}

/// What a file system says of data and holes.
enum Extents {
    At(u64),
    Nowhere,
    Unknown,
}

fn seek(file: &File, offset: u64, whence: Whence) -> io::Result<Extents> {
    let from = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    match lseek(file, from, whence) {
        Err(Errno::ENXIO) => Ok(Extents::Nowhere),
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(Extents::Unknown),
        found => Ok(u64::try_from(found?).map_or(Extents::Unknown, Extents::At)),
    }
}

#[cfg(test)]
thread_local! {
    /// Surveys that this thread has made.
    pub(crate) static SURVEYS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// What the ring in `home` holds, or the first damage.
///
/// # Errors
/// [`ReadError::Io`] if a file cannot be read.
pub(crate) fn survey(home: &Path, meta: &Meta) -> Result<Result<Survey, Damage>, ReadError> {
    #[cfg(test)]
    SURVEYS.set(SURVEYS.get() + 1);
    let (mut looks, mut listed, mut before) = (0, Vec::new(), None);
    loop {
        looks += 1;
        match recovery::survey(&Directory(home), meta) {
            Ok(survey) => return Ok(Ok(survey)),
            Err(SurveyError::Damage(damage)) => {
                let ids = pages::list(home).unwrap_or_default();
                // Only a writer at work explains anything: in a ring that stays as it is, damage is damage.
                // What moves on is where a writer appends: a record behind it was read, and it was not yet.
                let stays = before.replace(damage) == Some(damage);
                let explained = ids != listed && explained(&ids, &damage) || !stays;
                if looks >= LOOKS && (!explained || looks >= TRIM_LOOKS) {
                    return Ok(Err(damage));
                }
                listed = ids;
                #[cfg(test)]
                crate::meanwhile::happens(crate::meanwhile::Moment::Surveyed);
                std::thread::yield_now();
            }
            Err(SurveyError::Io { page, source, .. }) => {
                let path = page.map_or_else(|| home.to_path_buf(), |id| home.join(names::page(id)));
                return Err(ReadError::io(path, source));
            }
        }
    }
}

/// Whether a writer at work explains it: the page has left the ring meanwhile, or is there now and was not
/// listed before.
fn explained(ids: &[u64], damage: &Damage) -> bool {
    match ids.first() {
        Some(oldest) if *oldest > damage.page => true,
        _ => matches!(damage.kind, DamageKind::Missing) && ids.contains(&damage.page),
    }
}

/// The seal that belongs at `offset` of page `id`, if a crash has torn it and nothing else: every record is
/// there, and the log goes on in the next page. The next writer writes the seal again.
pub(crate) fn torn_seal(home: &Path, ring_id: &RingId, id: u64, offset: u64) -> Option<Seal> {
    let open = |id| match pages::open(&home.join(names::page(id)), ring_id, id) {
        Ok(Opened::Page(page)) => Some(page),
        _ => None,
    };
    let ((file, header), (next_file, next_header)) = (open(id)?, open(id + 1)?);
    let read = read_page(&Sparse::new(Bytes(&file)), &header, None, PayloadCheck::Verify).ok()?;
    let (last, records) = (read.summary.last_seq_no, read.summary.records);
    let goes_on = records > 0 && first_predecessor(&Bytes(&next_file), &next_header).ok()? == Some(last);
    let here = Position::new(id, offset)?;
    let torn = read.fault.is_some() && read.summary.records_end == offset;
    if !torn || judge::stop(here, Position::NONE, goes_on) != StopVerdict::TornSeal {
        return None;
    }
    let stamp =
        Stamp { time_ns: read.summary.last_time_ns, durable: read.durable, epoch: read.summary.epoch };
    let raw = Seal::encode(
        PageSeed::new(ring_id, id),
        PageEnd { offset: here.offset().into(), last_seq_no: last, records },
        stamp,
    );
    match raw.check(RECORD_HEADER_LEN as u64) {
        Ok(Frame::Seal(seal)) => Some(seal),
        _ => None,
    }
}

/// Damage as a reader meets it.
pub(crate) fn error(home: &Path, damage: &Damage) -> ReadError {
    let path = home.join(names::page(damage.page));
    match damage.kind {
        DamageKind::Record(fault) => ReadError::Corrupt {
            path,
            page: damage.page,
            offset: damage.offset,
            fault,
            seq_no: (damage.after_seq_no > 0).then_some(damage.after_seq_no),
        },
        DamageKind::Header(fault) => ReadError::Page { path, fault },
        DamageKind::Missing => ReadError::io(path, io::ErrorKind::NotFound.into()),
        kind => ReadError::io(path, io::Error::other(kind.to_string())),
    }
}
