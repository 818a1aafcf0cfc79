//! [`Link`]: what the threads that append know of a connection.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use waldo::client::wire::{Ack, ErrorCode, ErrorFrame, Welcome};

/// The part of its window that a batch takes, until its answer has been written to the socket.
pub(crate) type Window = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// What the service has to tell a producer.
#[derive(Debug)]
pub(crate) enum Reply {
    Welcome(Welcome),
    Ack(Ack),
    Error(ErrorFrame),
    /// There is room in the lane.
    Bell,
}

/// A connection, from inside. Replies end when the last one is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    producer: OnceLock<u32>,
    /// Nothing that it sent is stored any more. Only read and set with the core locked, so relaxed.
    dead: AtomicBool,
    replies: UnboundedSender<(Reply, Option<Window>)>,
    /// The connection is to be closed: nothing more is read from it.
    pub(crate) closing: Notify,
}

impl Link {
    pub(crate) fn new(replies: UnboundedSender<(Reply, Option<Window>)>) -> Link {
        Link { producer: OnceLock::new(), dead: AtomicBool::new(false), replies, closing: Notify::new() }
    }

    /// The number of the producer with a name that speaks here.
    pub(crate) fn producer(&self) -> Option<u32> {
        self.producer.get().copied()
    }

    pub(crate) fn set_producer(&self, id: u32) {
        // A connection has one HELLO.
        let _ = self.producer.set(id);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Nothing more of what it has sent is stored.
    pub(crate) fn bury(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    pub(crate) fn reply(&self, reply: Reply, window: Option<Window>) {
        // Nobody is there if the connection has broken.
        let _ = self.replies.send((reply, window));
    }

    /// Tells the producer why its connection ends, and ends it.
    pub(crate) fn end(&self, error: ErrorFrame) {
        self.bury();
        self.reply(Reply::Error(error), None);
        self.closing.notify_one();
    }
}

/// An ERROR that ends the connection.
pub(crate) fn fatal(code: ErrorCode, batch: u64, detail: u64, text: impl Into<String>) -> ErrorFrame {
    ErrorFrame { batch, detail, code, fatal: true, text: text.into() }
}
