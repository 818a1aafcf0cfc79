//! The limit on the length of this process's files (RLIMIT_FSIZE). Writing beyond the limit is an error, and
//! raises a signal (SIGXFSZ) whose default action ends the process: a library must not let that happen.

use crate::error::OpenError;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, Signal};
use std::cell::Cell;

thread_local! {
    static IS_BLOCKED: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread gets only the error, not the signal. Costs a load after the first time.
#[inline]
pub(crate) fn block_signal() {
    IS_BLOCKED.with(|is_blocked| {
        if !is_blocked.replace(true) {
            let mut set = SigSet::empty();
            set.add(Signal::SIGXFSZ);
            // It cannot fail with this signal.
            let _ = set.thread_block();
        }
    });
}

/// Refuses if a file of `needed` bytes may not be made.
pub(crate) fn check(needed: u64) -> Result<(), OpenError> {
    match getrlimit(Resource::RLIMIT_FSIZE) {
        Ok((limit, _)) if limit < needed => Err(OpenError::FileLength { limit, needed }),
        // Where the limit cannot be read it is met when a page is made.
        _ => Ok(()),
    }
}
