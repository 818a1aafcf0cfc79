//! What a start has running so far.

use crate::core::Core;
use crate::preparer::Preparer;
use std::thread::JoinHandle;

/// What has been started of a writer. Stopped and waited for when dropped: a thread that went on after a
/// failed start would work without the lock.
pub(super) struct Started<'a> {
    pub(super) core: &'a Core,
    pub(super) preparer: Option<Preparer>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Started<'_> {
    /// All of it has been started.
    pub(super) fn keep(mut self) -> Option<(Preparer, Vec<JoinHandle<()>>)> {
        Some((self.preparer.take()?, std::mem::take(&mut self.threads)))
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        let Some(preparer) = &self.preparer else { return };
        self.core.waking.stop();
        self.core.unflushed.stop();
        preparer.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on stderr.
            let _ = thread.join();
        }
    }
}
