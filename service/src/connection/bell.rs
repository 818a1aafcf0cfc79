//! [`Bell`]: whether a producer is about to be told that there is room in its lane.
//!
//! Answers wait for a producer that does not read them, for a while. All but BELL are bounded by its window,
//! so a producer that asks for BELL again and again must not have more than one waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One for a connection; both halves of it have it.
// Relaxed, because one task polls both halves.
#[derive(Clone, Debug, Default)]
pub(super) struct Bell(Arc<AtomicBool>);

impl Bell {
    /// Whether BELL has to be queued. `false`: one is, and the producer hears it after this.
    pub(super) fn must_say(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// BELL is about to be written: whoever waits for room from now on needs another one.
    pub(super) fn is_said(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
