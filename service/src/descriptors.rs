//! Keeping some descriptors for the rings: a writer that can open no file cannot go on to the next page, and
//! everybody's records stop, because of producers that only hold connections.

#[cfg(test)]
mod tests;

use nix::sys::resource::{Resource, getrlimit};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a ring needs beside its connections: the page that is being written, pages that are made and flushed,
/// the journal, the control segment, the listener; with some to spare.
const OF_RING: u64 = 64;
/// What the process needs beside its rings: as a rule HTTP, which takes 64 at most.
const OF_PROCESS: u64 = 64;

/// Rings that this process serves: all of them open connections with the same numbers.
static RINGS: AtomicU64 = AtomicU64::new(0);

/// Rings that this process is to serve, as far as it has been told: one that cannot be opened now is opened
/// again later, and needs its descriptors then.
static EXPECTED: AtomicU64 = AtomicU64::new(0);

/// A ring that is served, and counts as long as this is there.
#[derive(Debug)]
pub(crate) struct Served(());

impl Served {
    pub(crate) fn new() -> Served {
        RINGS.fetch_add(1, Ordering::Relaxed);
        Served(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        RINGS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says how many rings this process is to serve, before it opens them: descriptors are kept for so many from
/// then on, also while some of them cannot be opened. Who serves more has them kept for all that are served.
pub fn keep_descriptors_for(rings: usize) {
    EXPECTED.store(rings as u64, Ordering::Relaxed);
}

/// Descriptors that a process with so many rings keeps for everything but connections of producers. Those
/// that would take one of them are refused; of a low limit half is kept at most.
pub fn descriptors_kept(rings: usize) -> u64 {
    OF_RING.saturating_mul(rings as u64).saturating_add(OF_PROCESS)
}

/// Whether a connection that has just come takes one of the last descriptors. The system gives the lowest
/// number that is free, so this one says how many are in use.
pub(crate) fn are_scarce(connection: &impl AsFd) -> bool {
    let number = u64::from(connection.as_fd().as_raw_fd().unsigned_abs());
    let rings = RINGS.load(Ordering::Relaxed).max(EXPECTED.load(Ordering::Relaxed)) as usize;
    getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(limit, _)| number >= connections_max(limit, rings))
}

/// Numbers below this are for connections, of so many that there may be.
fn connections_max(limit: u64, rings: usize) -> u64 {
    limit - descriptors_kept(rings).min(limit / 2)
}
