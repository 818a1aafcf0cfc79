//! What the appending thread shares with the threads behind it.

use crate::control::Control;
use crate::disk::Disk;
use crate::flusher::Dirty;
use crate::futex;
use crate::notifier::{Bell, FEW};
use crate::options::Durability;
use crate::poison::{Failure, Poison};
use crate::positions::Positions;
use std::io;
use std::sync::{Arc, OnceLock};
use waldo_shm_protocol::Position;

pub(crate) struct Core {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) control: Control,
    pub(crate) bell: Bell,
    pub(crate) poison: Poison,
    pub(crate) dirty: Dirty,
    pub(crate) positions: Positions,
    pub(crate) durability: Durability,
    /// What waits for the log to become durable: the thread that trims pages.
    pub(crate) on_durable: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Core {
    /// The first final error stops the writer: readers are told, `durable` stays where it is.
    pub(crate) fn fail(&self, action: &str, source: io::Error) -> Failure {
        let failure = self.poison.set(Failure::new(action, source));
        tracing::error!("the writer stops: {failure}");
        self.control.publisher().fail(failure.errno() as u32);
        self.control.wake_all();
        failure
    }

    /// The error that has ended the writer, if there is one. To be asked before a file is touched.
    pub(crate) fn check_unfailed(&self) -> Result<(), Failure> {
        self.poison.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    pub(crate) fn durable(&self) -> Position {
        self.positions.durable()
    }

    pub(crate) fn committed(&self) -> Position {
        self.positions.committed()
    }

    /// Pages may leave the ring once the log has got so far. That takes durable records, so that a power cut
    /// cannot leave an empty ring; only a writer that promises nothing for power cuts goes by what is
    /// committed.
    pub(crate) fn settled(&self) -> Position {
        match self.durability {
            Durability::Sync | Durability::Interval(_) => self.durable(),
            Durability::PageCache => self.committed(),
        }
    }

    /// Moves the durable position, in the writer and for readers.
    pub(crate) fn set_durable(&self, position: Position) {
        // Readers first: the notifier goes by the writer's own, and whom it wakes must find the other.
        self.control.publisher().set_durable(position);
        self.positions.set_durable(position);
    }
}

impl Core {
    /// To be called after records were published that were appended at this time: sees to it that sleepers
    /// hear of it.
    #[inline]
    pub(crate) fn tell(&self, now_ns: u64) {
        self.bell.note(now_ns);
        self.ring_bell();
    }

    /// To be called after something was published.
    ///
    /// While the notifier is awake this is a fence and a load. While it sleeps, publications are rare enough
    /// for a system call each, and the first sleepers are woken from here: one hop instead of two. If there
    /// are more than a few, the notifier is woken to look after the others, in groups and at its pace.
    #[inline]
    pub(crate) fn ring_bell(&self) {
        if self.bell.published() {
            self.wake_few();
        }
    }

    #[cold]
    fn wake_few(&self) {
        if self.bell.is_busy() {
            self.bell.ring();
            return;
        }
        let publisher = self.control.publisher();
        let mut more = false;
        for n in 0..publisher.segment().wake_words() {
            more |= futex::wake(publisher.bump_wake(n), FEW as i32) == FEW;
        }
        if more {
            self.bell.ring();
        }
    }
}
