//! The threads that a start has started so far.

use crate::core::Core;
use crate::preparer::Preparer;
use std::thread::JoinHandle;

/// The started threads of a writer. Dropping this stops them and waits for them: a thread that continued
/// after a failed start would work without the lock.
pub(super) struct Started<'a> {
    pub(super) core: &'a Core,
    pub(super) preparer: Option<Preparer>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Started<'_> {
    /// The start has succeeded: the threads keep running.
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
