//! Whoever listens in the writer's own process, and can be told by a call.

use crate::writer::Writer;
use std::fmt;
use std::sync::OnceLock;

/// Is called, on whichever thread publishes or wakes, when there may be something new for readers; see
/// [`Writer::set_listener`](crate::Writer::set_listener).
pub type Listener = Box<dyn Fn() + Send + Sync>;

impl Writer {
    /// Has `listener` called whenever there may be something new for readers: when the log has grown, or
    /// more is durable, where sleeping readers are woken for that, and when the writer fails or closes. For
    /// readers in this process, whom a call reaches sooner than a futex; see `Ring::tell_streams` of the
    /// reader crate.
    ///
    /// The call is on the appending thread where appends are rare, and on a thread of the writer otherwise:
    /// it must be short, and must neither block nor append. The first listener stays; a second one is
    /// dropped.
    pub fn set_listener(&self, listener: Listener) {
        self.core.waking.set_listener(listener);
    }
}

/// Room for one listener.
#[derive(Default)]
pub(super) struct ListenerSlot(OnceLock<Listener>);

impl ListenerSlot {
    /// The first one stays.
    pub(super) fn set(&self, listener: Listener) {
        let _ = self.0.set(listener);
    }

    /// Tells the listener, if there is one.
    pub(super) fn tell(&self) {
        if let Some(listener) = self.0.get() {
            listener();
        }
    }
}

impl fmt::Debug for ListenerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "a listener" } else { "no listener" })
    }
}
