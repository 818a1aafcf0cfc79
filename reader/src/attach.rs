//! Attaching to a ring, and noticing when its control segment is replaced.

use crate::checkpoint::Checkpoint;
use crate::control::{ControlMap, Here};
use crate::error::{AttachError, ReadError};
use crate::files::FilesTail;
use crate::link::{Found, held_object, open_control, passing, read_here, read_meta};
use crate::options::{AttachOptions, Cursor, ReaderOptions};
use crate::pages::Pages;
use crate::place::Want;
use crate::reader::Reader;
use crate::source::{Attachment, Source, alive, usable};
use crate::status::{self, RingStatus};
use crate::waiter::Waiter;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use waldo_shm_protocol::RingId;
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::segment::WriterState;

/// Shortest time between two looks at the link of a writer that has ended.
const LINK_PAUSE: Duration = Duration::from_millis(100);

/// An attachment to a ring. Cheap to clone; all readers made from it, in whatever thread, share the mappings.
#[derive(Clone, Debug)]
pub struct Ring {
    pub(crate) inner: Arc<RingInner>,
}

#[derive(Debug)]
pub(crate) struct RingInner {
    pub(crate) home: PathBuf,
    pub(crate) meta: Meta,
    pub(crate) options: AttachOptions,
    pub(crate) pages: Pages,
    pub(crate) waiter: Waiter,
    here: Here,
    /// Generation of `current`, so that readers need not take the lock to see that they are up to date.
    generation: AtomicU64,
    current: Mutex<Arc<Attachment>>,
    since: Instant,
    /// When the link of a writer that has ended was last looked at, in milliseconds after `since`.
    link_checked_ms: AtomicU64,
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
        let home = std::path::absolute(home.as_ref()).map_err(|e| AttachError::io(home.as_ref(), e))?;
        let meta = read_meta(&home)?;
        let here = read_here(&home)?;
        let control = open_control(&home, &meta.ring_id, &here, &options, None)?;
        let handover = matches!(control, Found::Unusable { retired: true }).then(Instant::now);
        let source = match control {
            Found::Usable(control) => Source::Control(control),
            _ => {
                files_source(&home, meta.ring_id).map_err(|e| AttachError::io(&home, io::Error::other(e)))?
            }
        };
        let inner = RingInner {
            pages: Pages::new(&home, meta.ring_id),
            waiter: Waiter::default(),
            generation: AtomicU64::new(1),
            since: Instant::now(),
            link_checked_ms: AtomicU64::new(0),
            current: Mutex::new(Arc::new(Attachment::new(1, source, handover))),
            home,
            meta,
            options,
            here,
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
    /// [`ReadError::Rewound`] if the log ends before it, [`ReadError::Lapped`] if records behind it have been trimmed.
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
    /// [`ReadError::Control`] if the control segment makes no sense, [`ReadError::Io`] in files mode.
    pub fn status(&self) -> Result<RingStatus, ReadError> {
        let current = self.inner.attend(&self.inner.current())?;
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

    /// The attachment to use instead of `seen` if `seen` cannot be used any more, else `seen`. In files mode,
    /// looks at the files and for a segment, not more often than is worth while.
    ///
    /// # Errors
    /// What is wrong with the files or with the segment that has taken the place of an old one.
    pub(crate) fn attend(&self, seen: &Arc<Attachment>) -> Result<Arc<Attachment>, ReadError> {
        match &seen.source {
            // The writer has ended, and may have taken the segment's name away: the next one makes another.
            Source::Control(control) if seen.usable(&self.options) => {
                let ended = control.segment().status().state() != Some(WriterState::Live);
                if ended && self.link_due() { self.refresh(seen) } else { Ok(seen.clone()) }
            }
            Source::Control(_) if seen.awaits_successor() && !self.link_due() => Ok(seen.clone()),
            Source::Control(_) => self.refresh(seen),
            Source::Files(files) => {
                if !files.due() {
                    return Ok(seen.clone());
                }
                let fresh = self.refresh(seen)?;
                if Arc::ptr_eq(&fresh, seen) {
                    files.look()?;
                }
                Ok(fresh)
            }
        }
    }

    /// At most once per [`LINK_PAUSE`] for all readers of the process together: is it time to look at the link?
    fn link_due(&self) -> bool {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.link_checked_ms.load(Ordering::Relaxed);
        let due = now >= last.saturating_add(LINK_PAUSE.as_millis() as u64);
        due && self.link_checked_ms.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Looks where the link leads now. Gives `seen` back if that is where we are, or if there is nothing better.
    ///
    /// # Errors
    /// As [`RingInner::attend`].
    pub(crate) fn refresh(&self, seen: &Arc<Attachment>) -> Result<Arc<Attachment>, ReadError> {
        let mut current = self.lock();
        if current.generation != seen.generation {
            return Ok(current.clone());
        }
        let (held, in_use) = match &seen.source {
            Source::Control(control) => (Some(control), usable(control, &self.options)),
            Source::Files(_) => (None, false),
        };
        let found = match self.look_for_control(held) {
            Ok(found) => found,
            // As long as what we have works, a broken successor is nobody's problem.
            Err(_) if in_use => return Ok(seen.clone()),
            Err(error) => return Err(error.into()),
        };
        let (source, handover) = match found {
            Some(control) => (Source::Control(control), None),
            // Thousands of others may stand here too: the files are no place for all of them to look at once.
            None if seen.patience() => return Ok(seen.clone()),
            None if held.is_none_or(|held| in_use && !self.abandoned(held)) => return Ok(seen.clone()),
            None => {
                let retired = held.map(|c| c.segment().status().state()) == Some(Some(WriterState::Retired));
                (files_source(&self.home, self.meta.ring_id)?, retired.then(Instant::now))
            }
        };
        let next = Arc::new(Attachment::new(seen.generation + 1, source, handover));
        *current = next.clone();
        self.generation.store(next.generation, Ordering::Relaxed);
        Ok(next)
    }

    /// Whether nobody will write to `held` any more: no writer is seen alive in it, and the link leads elsewhere or
    /// nowhere. The next writer may have come and gone between two looks, so the segment is not waited on.
    fn abandoned(&self, held: &ControlMap) -> bool {
        !alive(held, &self.options)
            && held_object(&self.home).is_ok_and(|object| object != Some(held.object()))
    }

    /// A usable segment other than `held`.
    fn look_for_control(&self, held: Option<&ControlMap>) -> Result<Option<ControlMap>, AttachError> {
        let object = held.map(ControlMap::object);
        match open_control(&self.home, &self.meta.ring_id, &self.here, &self.options, object) {
            Ok(Found::Usable(control)) => {
                Ok(Some(control).filter(|c| held.is_none_or(|held| held.instance() != c.instance())))
            }
            Ok(Found::Held | Found::Unusable { .. } | Found::Nothing) => Ok(None),
            // Being made at this moment, or not for us: the files go on without it.
            Err(error) if passing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn files_source(home: &Path, ring_id: RingId) -> Result<Source, ReadError> {
    let files = FilesTail::new(home, ring_id);
    files.look()?;
    Ok(Source::Files(Box::new(files)))
}
