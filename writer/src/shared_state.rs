//! What the appending thread shares with the threads behind it.

use crate::control::Control;
use crate::disk::Disk;
use crate::flusher::Dirty;
use crate::futex;
use crate::notifier::Bell;
use crate::poison::{Failure, Poison};
use std::io;
use std::sync::Arc;
use waldo_shm_protocol::Position;

pub(crate) struct Core {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) control: Control,
    pub(crate) bell: Bell,
    pub(crate) poison: Poison,
    pub(crate) dirty: Dirty,
}

impl Core {
    /// The first final error stops the writer: readers are told, `durable` stays where it is (D9).
    pub(crate) fn fail(&self, action: &str, source: io::Error) -> Failure {
        let failure = self.poison.set(Failure::new(action, source));
        tracing::error!("the writer stops: {failure}");
        self.control.publisher().fail(failure.errno() as u32);
        self.control.wake_all();
        failure
    }

    pub(crate) fn durable(&self) -> Position {
        self.control.publisher().segment().durable()
    }

    pub(crate) fn committed(&self) -> Position {
        self.control.publisher().segment().committed()
    }
}

impl Core {
    /// To be called after something was published: sees to it that sleepers hear of it.
    ///
    /// While the notifier is awake this is a fence and a load. While it sleeps, nothing has been published for a
    /// moment, and the first sleeper is woken from here: one hop instead of two. If there was one, the notifier is
    /// woken to look after the others; if there was none time and again, it is woken too, since looking now and
    /// then costs less than a system call with every append.
    #[inline]
    pub(crate) fn ring_bell(&self) {
        if self.bell.published() {
            self.wake_first();
        }
    }

    #[cold]
    fn wake_first(&self) {
        let publisher = self.control.publisher();
        let mut woken = 0;
        for n in 0..publisher.segment().wake_words() {
            woken += futex::wake(publisher.bump_wake(n), 1);
        }
        if woken > 0 || self.bell.nobody_again() {
            self.bell.ring();
        }
    }
}
