//! Keeping some descriptors for the ring: a writer that can open no file cannot go on to the next page, and
//! everybody's records stop, because of producers that only hold connections.

#[cfg(test)]
mod tests;

use nix::sys::resource::{Resource, getrlimit};
use std::os::fd::{AsFd, AsRawFd};

/// Left to everything but connections: pages, the journal, the control segment, and HTTP, which takes 64 at
/// most.
const RESERVE: u64 = 128;

/// Whether a connection that has just come takes one of the last descriptors. The system gives the lowest
/// number that is free, so this one says how many are in use.
pub(crate) fn are_scarce(connection: &impl AsFd) -> bool {
    let number = u64::from(connection.as_fd().as_raw_fd().unsigned_abs());
    getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(limit, _)| number >= connections_max(limit))
}

/// Numbers below this are for connections, of so many that there may be.
fn connections_max(limit: u64) -> u64 {
    limit - RESERVE.min(limit / 2)
}
