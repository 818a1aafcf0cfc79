//! What connections ask of the sequencer, and the queue they ask through.

use crate::connection::link::{Link, Window};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use waldo::client::wire::{Batch, ErrorFrame};

/// What a batch takes of the limits.
#[derive(Debug)]
pub(crate) struct Permits {
    /// Of its connection's window, until the answer is written.
    pub(crate) window: Window,
    /// Of the queue of all, until it is appended.
    pub(crate) queue: OwnedSemaphorePermit,
}

/// Carried out in the order in which they come.
#[derive(Debug)]
pub(crate) enum Request {
    /// A producer says who it is.
    Hello { link: Arc<Link>, name: Option<String> },
    /// A producer sends a batch.
    Append { link: Arc<Link>, batch: Batch<Vec<u8>>, durable: bool, permits: Permits },
    /// A connection ends by an error.
    End { link: Arc<Link>, error: ErrorFrame },
    /// A connection has ended.
    Leave { link: Arc<Link> },
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    closed: bool,
}

/// Bounded by the permits that go with each batch.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    state: Mutex<State>,
    work: Condvar,
}

impl Requests {
    /// Adds a request. Once closed, it is dropped: nobody is left to be answered.
    pub(crate) fn push(&self, request: Request) {
        let mut state = self.state.lock();
        if !state.closed {
            state.requests.push(request);
            self.work.notify_one();
        }
    }

    /// Waits for requests and takes them all; `None` once it is closed and empty.
    pub(crate) fn take(&self) -> Option<Vec<Request>> {
        let mut state = self.state.lock();
        while state.requests.is_empty() && !state.closed {
            self.work.wait(&mut state);
        }
        let requests = std::mem::take(&mut state.requests);
        (!requests.is_empty()).then_some(requests)
    }

    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
    }
}
