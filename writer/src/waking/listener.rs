//! A listener in the writer's own process, which is told of news by a call.

use crate::writer::Writer;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Is told that there may be something new for readers; see [`Writer::set_listener`].
pub trait Listener: Send + Sync {
    /// Called on any thread, including the writer's own, and while no other thread can append. Must be short,
    /// must not block, and must not run code of the program, such as wakers.
    fn rouse(&self);

    /// Called instead of [`Listener::rouse`] on a thread that has appended through a
    /// [`SharedWriter`](crate::SharedWriter), when the writer is free again. May run code of the program.
    /// Returns whether a task was woken; the task that has appended then yields to others.
    fn tell(&self) -> bool {
        self.rouse();
        false
    }
}

impl Writer {
    /// Registers `listener`, which is called whenever there may be something new for readers: when the log
    /// has grown, when more is durable (where sleeping readers are woken for that), and when the writer fails
    /// or closes. This is for readers in this process, which a call reaches sooner than a futex; see
    /// `Ring::tell_streams` of the reader crate. The first listener stays; a second one is dropped.
    pub fn set_listener(&self, listener: Box<dyn Listener>) {
        let _ = self.core.waking.listener().listener.set(listener);
    }
}

/// Room for one listener.
#[derive(Default)]
pub(crate) struct ListenerSlot {
    listener: OnceLock<Box<dyn Listener>>,
    /// The appending thread tells the listener when the writer is free again. Like the next field, accessed
    /// only by the thread that has the writer.
    deferred: AtomicBool,
    /// The listener has to be told then.
    due: AtomicBool,
}

impl ListenerSlot {
    /// Calls the listener, if there is one.
    pub(super) fn rouse(&self) {
        if let Some(listener) = self.listener.get() {
            listener.rouse();
        }
    }

    /// Calls the listener, or leaves the call to the appending thread. Only for the thread that has the
    /// writer.
    pub(super) fn rouse_or_defer(&self) {
        match self.deferred.load(Ordering::Relaxed) {
            true => self.due.store(true, Ordering::Relaxed),
            false => self.rouse(),
        }
    }

    /// Runs `append`, and leaves the call of the listener to the caller. Only for the thread that has the
    /// writer. Returns whether the listener has to be told.
    pub(crate) fn defer<T>(&self, append: impl FnOnce() -> T) -> (T, bool) {
        /// Runs also when a payload panics.
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

    /// Makes the call of the listener that was left to the caller. Returns whether a task was woken.
    pub(crate) fn tell(&self) -> bool {
        self.listener.get().is_some_and(|listener| listener.tell())
    }
}

impl fmt::Debug for ListenerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.listener.get().is_some() { "a listener" } else { "no listener" })
    }
}
