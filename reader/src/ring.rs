//! The handle of a ring, with which programs attach and make readers.

use crate::checkpoint::Checkpoint;
use crate::error::{AttachError, ReadError};
use crate::options::{AttachOptions, Cursor, ReaderOptions};
use crate::place::SeekTarget;
use crate::reader::Reader;
use crate::source::attached_ring::AttachedRing;
use crate::source::link::read_meta;
use crate::source::snapshot::snapshot;
use crate::status::RingStatus;
use std::path::Path;
use std::sync::Arc;
use waldo_shm_protocol::RingId;
use waldo_shm_protocol::meta::Meta;

/// Streams that are woken by the thread that tells of something, and not by the one that waits for all: each
/// costs the appending thread about a microsecond if its runtime has to wake a thread for it.
const WAKES_MAX: usize = 8;

/// An attachment to a ring. Cheap to clone; all readers made from it, in any thread, share the mappings.
#[derive(Clone, Debug)]
pub struct Ring {
    pub(crate) inner: Arc<AttachedRing>,
}

impl Ring {
    /// Attaches to the ring in directory `home`. Works with and without a running writer.
    ///
    /// # Errors
    /// [`AttachError`] if there is no ring, if it may not be read, or if its files are not valid.
    pub fn attach(home: impl AsRef<Path>) -> Result<Ring, AttachError> {
        Ring::attach_with(home, AttachOptions::default())
    }

    /// [`Ring::attach`] with options.
    ///
    /// # Errors
    /// As [`Ring::attach`].
    pub fn attach_with(home: impl AsRef<Path>, options: AttachOptions) -> Result<Ring, AttachError> {
        Ok(Ring { inner: Arc::new(AttachedRing::attach(home.as_ref(), options)?) })
    }

    /// The metadata of the ring in directory `home`, without attaching to the ring. Never blocks, whatever
    /// kind of file has the name of the metadata.
    ///
    /// # Errors
    /// As [`Ring::attach`].
    pub fn metadata(home: impl AsRef<Path>) -> Result<Meta, AttachError> {
        read_meta(home.as_ref())
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

    /// A reader that continues after the record that `checkpoint` names.
    ///
    /// # Errors
    /// [`ReadError::ForeignCheckpoint`], [`ReadError::Diverged`] if another record has that number now,
    /// [`ReadError::Rewound`] if the log ends before it, [`ReadError::Lapped`] if records after it have been
    /// trimmed.
    pub fn resume(&self, checkpoint: &Checkpoint, options: ReaderOptions) -> Result<Reader, ReadError> {
        if checkpoint.ring_id != self.inner.meta.ring_id {
            return Err(ReadError::ForeignCheckpoint { home: self.inner.home.clone() });
        }
        let mut reader = Reader::new(self.inner.clone(), options);
        reader.go(SeekTarget::Resume(*checkpoint))?;
        Ok(reader)
    }

    /// The state of the ring at this moment.
    ///
    /// # Errors
    /// [`ReadError::Control`] if the control segment makes no sense, [`ReadError::Io`] in files mode,
    /// [`ReadError::Replaced`] and [`ReadError::Gone`] if the ring is not where it was.
    pub fn status(&self) -> Result<RingStatus, ReadError> {
        // Not what was true a while ago: a status is asked for seldom.
        let current = self.inner.refresh(&self.inner.current())?;
        let current = self.inner.attend(&current)?;
        snapshot(&self.inner, &current)
    }

    /// Tells the streams of this process to look for news. A program that attached with
    /// [`AttachOptions::streams_are_told`] calls this, or [`Ring::rouse_streams`], whenever something has
    /// been published. This thread wakes up to eight streams, by their wakers; the thread that waits for all
    /// streams wakes the others. Costs a fence and a load if no stream waits. Returns whether this thread
    /// woke any.
    pub fn tell_streams(&self) -> bool {
        self.inner.waiter.tell(WAKES_MAX)
    }

    /// The same without calling a waker on this thread: the waiting thread wakes all streams.
    pub fn rouse_streams(&self) {
        self.inner.waiter.tell(0);
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
