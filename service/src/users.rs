//! How many connections each user has: one alone must not take all that there are.

#[cfg(test)]
mod tests;

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::net::UnixStream;

/// The user of a connection whose system does not say: a number that no user has.
const UNKNOWN: u32 = u32::MAX;

/// Connections by the user's number; those of whom has none are not listed.
#[derive(Debug, Default)]
pub(crate) struct Users(Mutex<HashMap<u32, usize>>);

/// One connection of a user, which counts as long as this is there.
#[derive(Debug)]
pub(crate) struct OfUser {
    users: Arc<Users>,
    user: u32,
}

/// The user who has connected. The kernel says so, of the moment of the connection.
pub(crate) fn of(stream: &UnixStream) -> u32 {
    stream.peer_cred().map_or(UNKNOWN, |credentials| credentials.uid())
}

impl Users {
    /// Counts one connection more of a user, unless there are `max` already; 0: any number.
    pub(crate) fn count(self: &Arc<Users>, user: u32, max: usize) -> Option<OfUser> {
        let mut counts = self.0.lock();
        let connections = counts.entry(user).or_default();
        if max > 0 && *connections >= max {
            return None;
        }
        *connections += 1;
        Some(OfUser { users: Arc::clone(self), user })
    }
}

impl Drop for OfUser {
    fn drop(&mut self) {
        let mut counts = self.users.0.lock();
        if let Some(connections) = counts.get_mut(&self.user) {
            *connections -= 1;
            if *connections == 0 {
                counts.remove(&self.user);
            }
        }
    }
}
