//! Stores the heartbeat while a writer recovers the files, before its notifier does so.
//!
//! A recovery can take long: pages are removed and flushed, on a disk that other programs may keep busy.
//! Readers take a writer for dead if its heartbeat has not changed for some intervals. They would then follow
//! the files while recovery changes them.

use crate::clock;
use crate::core::Core;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A thread that stores the heartbeat until this is dropped.
pub(super) struct RecoveryHeartbeat {
    /// Nothing is sent: the thread ends when this goes.
    ends: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RecoveryHeartbeat {
    pub(super) fn start(core: &Arc<Core>, interval: Duration) -> RecoveryHeartbeat {
        let (ends, ended) = mpsc::channel::<()>();
        let beating = Arc::clone(core);
        let beat = move || {
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                beating.control.publisher().beat(clock::boottime_ns());
            }
        };
        let thread = thread::Builder::new().name("waldo-recover".into()).spawn(beat);
        let thread = thread.inspect_err(|error| {
            // The recovery itself needs no thread.
            tracing::warn!("readers may take this writer for dead while it recovers: no thread: {error}");
        });
        RecoveryHeartbeat { ends: Some(ends), thread: thread.ok() }
    }
}

impl Drop for RecoveryHeartbeat {
    fn drop(&mut self) {
        self.ends = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so on stderr.
            let _ = thread.join();
        }
    }
}
