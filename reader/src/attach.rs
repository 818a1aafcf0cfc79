//! Attaching to a ring.

mod look;

use crate::checkpoint::Checkpoint;
use crate::error::{AttachError, ReadError};
use crate::files::FilesTail;
use crate::home::Home;
use crate::link::{Found, Wanted, open_control, read_here, read_meta_in};
use crate::options::{AttachOptions, Cursor, ReaderOptions};
use crate::pages::Pages;
use crate::place::Want;
use crate::reader::Reader;
use crate::source::{Attachment, Source};
use crate::status::{self, RingStatus};
use crate::waiter::Waiter;
use look::Looks;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use waldo_shm_protocol::RingId;
use waldo_shm_protocol::meta::Meta;

/// An attachment to a ring. Cheap to clone; all readers made from it, in whatever thread, share the mappings.
#[derive(Clone, Debug)]
pub struct Ring {
    pub(crate) inner: Arc<RingInner>,
}

#[derive(Debug)]
pub(crate) struct RingInner {
    /// The path by which the ring was asked for.
    pub(crate) home: PathBuf,
    /// As it was when the ring was attached to; only what never changes is to be taken from it.
    pub(crate) meta: Meta,
    pub(crate) options: AttachOptions,
    pub(crate) pages: Pages,
    pub(crate) waiter: Waiter,
    /// Generation of the attachment in use, so that readers need not take the lock to see that they are up to
    /// date.
    generation: AtomicU64,
    current: Mutex<Arc<Attachment>>,
    looks: Looks,
}

impl Ring {
    /// Attaches to the ring in directory `home`. Works with and without a running writer.
    ///
    /// # Errors
    /// [`AttachError`] if there is no ring, if it may not be read, or if what is there makes no sense.
    pub fn attach(home: impl AsRef<Path>) -> Result<Ring, AttachError> {
        Ring::attach_with(home, AttachOptions::default())
    }

    /// [`Ring::attach`] with options.
    ///
    /// # Errors
    /// As [`Ring::attach`].
    pub fn attach_with(home: impl AsRef<Path>, options: AttachOptions) -> Result<Ring, AttachError> {
        let path = std::path::absolute(home.as_ref()).map_err(|e| AttachError::io(home.as_ref(), e))?;
        let home = match Home::open(&path) {
            Ok(home) => Arc::new(home),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(AttachError::NotARing { home: path });
            }
            Err(error) => return Err(AttachError::io(path, error)),
        };
        let found = read_meta_in(&home)?;
        let (ring_id, looks) = (found.meta.ring_id, Looks::default());
        let here = read_here(&home, found.owner);
        let wanted = Wanted { ring_id: &ring_id, here, start: Some(found.start), options: &options };
        let control = open_control(&home, &wanted, None, &looks.last_beat)?;
        let handover = matches!(control, Found::Unusable { retired: true }).then(Instant::now);
        let source = match control {
            Found::Usable(control) => Source::Control(*control),
            _ => files_source(&path, ring_id).map_err(|e| AttachError::io(&path, io::Error::other(e)))?,
        };
        let attachment = Attachment::new(1, source, home.clone(), handover, options.stalled_after);
        let inner = RingInner {
            pages: Pages::new(home, ring_id),
            waiter: Waiter::default(),
            generation: AtomicU64::new(1),
            current: Mutex::new(Arc::new(attachment)),
            looks,
            home: path,
            meta: found.meta,
            options,
        };
        Ok(Ring { inner: Arc::new(inner) })
    }

    /// A reader with default options.
    ///
    /// # Errors
    /// As [`Reader::seek`].
    pub fn reader(&self, cursor: Cursor) -> Result<Reader, ReadError> {
        self.reader_with(cursor, ReaderOptions::default())
    }

    /// A reader that starts at `cursor`.
    ///
    /// # Errors
    /// As [`Reader::seek`].
    pub fn reader_with(&self, cursor: Cursor, options: ReaderOptions) -> Result<Reader, ReadError> {
        let mut reader = Reader::new(self.inner.clone(), options);
        reader.go(cursor.into())?;
        Ok(reader)
    }

    /// A reader that goes on behind the record `checkpoint` was made of.
    ///
    /// # Errors
    /// [`ReadError::ForeignCheckpoint`], [`ReadError::Diverged`] if another record has that number now,
    /// [`ReadError::Rewound`] if the log ends before it, [`ReadError::Lapped`] if records behind it have been
    /// trimmed.
    pub fn resume(&self, checkpoint: &Checkpoint, options: ReaderOptions) -> Result<Reader, ReadError> {
        if checkpoint.ring_id != self.inner.meta.ring_id {
            return Err(ReadError::ForeignCheckpoint { home: self.inner.home.clone() });
        }
        let mut reader = Reader::new(self.inner.clone(), options);
        reader.go(Want::Resume(*checkpoint))?;
        Ok(reader)
    }

    /// How the ring is at this moment.
    ///
    /// # Errors
    /// [`ReadError::Control`] if the control segment makes no sense, [`ReadError::Io`] in files mode,
    /// [`ReadError::Replaced`] and [`ReadError::Gone`] if the ring is not where it was.
    pub fn status(&self) -> Result<RingStatus, ReadError> {
        // Not what was true a while ago: a status is asked for seldom.
        let current = self.inner.refresh(&self.inner.current())?;
        let current = self.inner.attend(&current)?;
        status::snapshot(&self.inner, &current)
    }

    /// The ring's directory, absolute.
    pub fn home(&self) -> &Path {
        &self.inner.home
    }

    /// The ring's identity.
    pub fn ring_id(&self) -> RingId {
        self.inner.meta.ring_id
    }
}

impl RingInner {
    /// The attachment in use.
    pub(crate) fn current(&self) -> Arc<Attachment> {
        self.lock().clone()
    }

    /// Generation of the attachment in use.
    #[inline(always)]
    pub(crate) fn generation(&self) -> u64 {
        // Relaxed: a hint to go and take the lock.
        self.generation.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Attachment>> {
        // Only ever replaced as a whole.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files of the ring in directory `path`.
fn files_source(path: &Path, ring_id: RingId) -> Result<Source, ReadError> {
    let files = FilesTail::new(path, ring_id);
    files.look()?;
    Ok(Source::Files(Box::new(files)))
}
