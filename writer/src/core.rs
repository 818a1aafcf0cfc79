//! The core of a writer: what the appending thread shares with the threads behind it.

use crate::control::Control;
use crate::disk::Disk;
use crate::options::{Durability, OnFull};
use crate::poison::{Failure, Poison};
use crate::positions::Positions;
use crate::unflushed::UnflushedPages;
use crate::waking::Waking;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use waldo_shm_protocol::Position;

pub(crate) struct Core {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) control: Control,
    pub(crate) waking: Waking,
    pub(crate) poison: Poison,
    pub(crate) unflushed: UnflushedPages,
    pub(crate) positions: Positions,
    pub(crate) durability: Durability,
    pub(crate) on_full: OnFull,
    /// Pages whose records are all older than this are trimmed though the ring is not full.
    pub(crate) keep_for: Option<Duration>,
    /// Pages that the ring may have now. See [`Core::pages_max`].
    pub(crate) pages_max: AtomicUsize,
    /// The oldest page of the ring. See [`Core::oldest_page`].
    pub(crate) oldest_page: AtomicU64,
    /// Called when more of the log is durable: wakes the thread that trims pages.
    pub(crate) on_durable: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Core {
    /// The first final error stops the writer: readers are told, `durable` stays where it is.
    pub(crate) fn fail(&self, action: &str, source: io::Error) -> Failure {
        let failure = self.poison.set(Failure::new(action, source));
        tracing::error!("the writer stops: {failure}");
        self.control.publisher().fail(failure.errno() as u32);
        self.wake_all();
        failure
    }

    /// Wakes all readers, for events that happen once in a writer's life.
    pub(crate) fn wake_all(&self) {
        self.waking.rouse_listener();
        self.control.wake_all();
    }

    /// The error that has ended the writer, if there is one. To be asked before a file is touched.
    pub(crate) fn check_unfailed(&self) -> Result<(), Failure> {
        self.poison.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Whether the ring is to go on, as a smaller one, after this error kept it from getting another page.
    pub(crate) fn goes_on_after(&self, error: &io::Error) -> bool {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        // For lack of room a flush may have failed, too, which is final.
        full && self.on_full == OnFull::DropOldest && self.check_unfailed().is_ok()
    }

    pub(crate) fn durable(&self) -> Position {
        self.positions.durable()
    }

    pub(crate) fn committed(&self) -> Position {
        self.positions.committed()
    }

    /// Pages may be trimmed once the log has reached this position. It is the durable position, so that a
    /// power cut cannot leave an empty ring; only a writer that promises nothing for power cuts uses the
    /// committed position.
    pub(crate) fn settled(&self) -> Position {
        match self.durability {
            Durability::Sync | Durability::Interval(_) => self.durable(),
            Durability::PageCache => self.committed(),
        }
    }

    /// Pages that the ring may have now: its size, or fewer while the disk has no room for more. Relaxed,
    /// because only the thread that prepares pages changes the value, and its users load it again before they
    /// wait for a page.
    pub(crate) fn pages_max(&self) -> usize {
        self.pages_max.load(Ordering::Relaxed)
    }

    /// The oldest page that has not left the ring. Relaxed: whoever finds an older one than there is waits
    /// for the disk once without need.
    pub(crate) fn oldest_page(&self) -> u64 {
        self.oldest_page.load(Ordering::Relaxed)
    }

    /// Moves the durable position, in the writer and for readers.
    pub(crate) fn set_durable(&self, position: Position) {
        // The segment's position first: the notifier loads the writer's own, and the readers that it wakes
        // must find the segment's.
        self.control.publisher().set_durable(position);
        self.positions.set_durable(position);
    }
}
