//! One append that may have to wait for space, as a task.

use super::session::Session;
use super::waiters::Waiters;
use std::task::Waker;

/// One append that may have to wait. It is forgotten when it is dropped.
pub(super) struct Waiter<'a> {
    session: &'a Session,
    number: Option<u64>,
}

impl<'a> Waiter<'a> {
    pub(super) fn new(session: &'a Session) -> Waiter<'a> {
        Waiter { session, number: None }
    }

    /// Wakes `waker` when there is space, and returns the waker that it replaces. The caller must drop that
    /// one without the lock: the last waker of a task may drop the task, and the task a `Waiter`.
    #[must_use]
    pub(super) fn wait(&mut self, waiters: &mut Waiters, waker: &Waker) -> Option<Waker> {
        let number = *self.number.get_or_insert_with(|| waiters.number());
        waiters.put(number, waker)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // As above: the guard goes at the end of the statement, the waker after it.
            let waker = self.session.lock().waiters.forget(number);
            drop(waker);
        }
    }
}
