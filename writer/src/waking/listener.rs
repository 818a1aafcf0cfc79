//! Whoever listens in the writer's own process, and can be told by a call.

use crate::writer::Writer;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Hears that there may be something new for readers; see [`Writer::set_listener`].
pub trait Listener: Send + Sync {
    /// Called on any thread, the writer's own ones too, and while nobody else can append: must be short, must
    /// not block, and must run no code of others, such as wakers.
    fn rouse(&self);

    /// Called in place of [`Listener::rouse`] on the thread of who has appended through a
    /// [`SharedWriter`](crate::SharedWriter), when the writer is free again: may run code of others. Returns
    /// whether anybody was woken; a task that has appended gives way to others then.
    fn tell(&self) -> bool {
        self.rouse();
        false
    }
}

impl Writer {
    /// Has `listener` told whenever there may be something new for readers: when the log has grown, or more
    /// is durable, where sleeping readers are woken for that, and when the writer fails or closes. For
    /// readers in this process, whom a call reaches sooner than a futex; see `Ring::tell_streams` of the
    /// reader crate. The first listener stays; a second one is dropped.
    pub fn set_listener(&self, listener: Box<dyn Listener>) {
        let _ = self.core.waking.listener().listener.set(listener);
    }
}

/// Room for one listener.
#[derive(Default)]
pub(crate) struct ListenerSlot {
    listener: OnceLock<Box<dyn Listener>>,
    /// Whoever appends tells the listener when the writer is free again. Like the next field, only for who
    /// has the writer.
    deferred: AtomicBool,
    /// There is something to tell then.
    due: AtomicBool,
}

impl ListenerSlot {
    /// Rouses the listener, if there is one.
    pub(super) fn rouse(&self) {
        if let Some(listener) = self.listener.get() {
            listener.rouse();
        }
    }

    /// Does so, or leaves that to who appends. Only for who has the writer.
    pub(super) fn rouse_or_defer(&self) {
        match self.deferred.load(Ordering::Relaxed) {
            true => self.due.store(true, Ordering::Relaxed),
            false => self.rouse(),
        }
    }

    /// Runs `append`, and leaves it to the caller to tell the listener. Only for who has the writer. Gives
    /// whether there is something to tell.
    pub(crate) fn defer<T>(&self, append: impl FnOnce() -> T) -> (T, bool) {
        /// Also when a payload panics.
        struct Deferred<'a>(&'a AtomicBool);
        impl Drop for Deferred<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Relaxed);
            }
        }
        self.deferred.store(true, Ordering::Relaxed);
        let deferred = Deferred(&self.deferred);
        let outcome = append();
        drop(deferred);
        (outcome, self.due.load(Ordering::Relaxed) && self.due.swap(false, Ordering::Relaxed))
    }

    /// Tells the listener what was left to the caller. Gives whether anybody was woken.
    pub(crate) fn tell(&self) -> bool {
        self.listener.get().is_some_and(|listener| listener.tell())
    }
}

impl fmt::Debug for ListenerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.listener.get().is_some() { "a listener" } else { "no listener" })
    }
}
