//! A ring that this process is attached to: its present source, its pages, and the thread that sleeps for its
//! streams.

use super::home::Home;
use super::link::{ControlFound, Wanted, open_control, read_here, read_meta_in};
use super::looks::Looks;
use super::{Attachment, Source};
use crate::error::AttachError;
use crate::options::AttachOptions;
use crate::pages::Pages;
use crate::waiter::process_waiter::Waiter;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use waldo_shm_protocol::meta::Meta;

/// What all readers of one attachment share.
#[derive(Debug)]
pub(crate) struct AttachedRing {
    /// The path that the caller gave for the ring.
    pub(crate) home: PathBuf,
    /// The metadata when the ring was attached to; only fields that never change may be used.
    pub(crate) meta: Meta,
    pub(crate) options: AttachOptions,
    pub(crate) pages: Pages,
    pub(crate) waiter: Waiter,
    /// Generation of the attachment in use, so that readers need not take the lock to see that they are up to
    /// date.
    pub(super) generation: AtomicU64,
    current: Mutex<Arc<Attachment>>,
    pub(super) looks: Looks,
}

impl AttachedRing {
    /// Attaches to the ring in directory `home`.
    ///
    /// # Errors
    /// As [`Ring::attach`](crate::Ring::attach).
    pub(crate) fn attach(home: &Path, options: AttachOptions) -> Result<AttachedRing, AttachError> {
        let path = std::path::absolute(home).map_err(|e| AttachError::io(home, e))?;
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
        let handover = matches!(control, ControlFound::Unusable { retired: true }).then(Instant::now);
        let source = match control {
            ControlFound::Usable(control) => Source::Control(*control),
            _ => Source::files(&path, ring_id).map_err(|e| AttachError::io(&path, io::Error::other(e)))?,
        };
        let attachment = Attachment::new(1, source, home.clone(), handover, options.stalled_after);
        Ok(AttachedRing {
            pages: Pages::new(home, ring_id),
            waiter: Waiter::default(),
            generation: AtomicU64::new(1),
            current: Mutex::new(Arc::new(attachment)),
            looks,
            home: path,
            meta: found.meta,
            options,
        })
    }

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

    pub(super) fn lock(&self) -> MutexGuard<'_, Arc<Attachment>> {
        // Only ever replaced as a whole.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
