//! Tasks that wait for space in the backlog. Each one is kept once, however often it is polled, and only as
//! long as it waits.

use super::session::Session;
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

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.wakers.len()
    }
}

/// One append that may have to wait. It is forgotten when it is dropped.
pub(super) struct Waiter<'a> {
    session: &'a Session,
    number: Option<u64>,
}

impl<'a> Waiter<'a> {
    pub(super) fn new(session: &'a Session) -> Waiter<'a> {
        Waiter { session, number: None }
    }

    /// Has `waker` woken when there is space, and gives back the one of before. That is to be dropped without
    /// the lock: the last waker of a task may drop the task, and the task a `Waiter`.
    #[must_use]
    pub(super) fn wait(&mut self, waiters: &mut Waiters, waker: &Waker) -> Option<Waker> {
        let number = *self.number.get_or_insert_with(|| {
            waiters.next += 1;
            waiters.next
        });
        waiters.wakers.insert(number, waker.clone())
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // As above: the guard goes at the end of the statement, the waker after it.
            let waker = self.session.lock().waiters.wakers.remove(&number);
            drop(waker);
        }
    }
}
