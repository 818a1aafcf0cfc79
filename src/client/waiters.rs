//! Tasks that wait for space in the backlog. Each one is kept once, however often it is polled, and only as
//! long as it waits.

use std::collections::HashMap;
use std::task::Waker;

/// The tasks that wait, by a number of their own.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    wakers: HashMap<u64, Waker>,
    next: u64,
}

impl Waiters {
    /// All wakers, to be woken. Those who still have to wait then come again.
    pub(super) fn take(&mut self) -> Vec<Waker> {
        self.wakers.drain().map(|(_, waker)| waker).collect()
    }

    /// Wakes `waker` when there is space, and returns the waker that it replaces.
    pub(super) fn put(&mut self, number: u64, waker: &Waker) -> Option<Waker> {
        self.wakers.insert(number, waker.clone())
    }

    /// A number for one that waits.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn forget(&mut self, number: u64) -> Option<Waker> {
        self.wakers.remove(&number)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.wakers.len()
    }
}
