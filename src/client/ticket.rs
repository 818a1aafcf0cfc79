//! [`Ticket`]: what an append returns before the batch is stored.

use super::ProducerError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A batch that the service has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// Sequence number of the batch's first record in the ring; 0 if the batch had been stored before and the
    /// service no longer knows where.
    pub first_seq_no: u64,
    /// Sequence number of its last record. The records between have the numbers between, except where
    /// `duplicates` is neither 0 nor the whole batch.
    pub last_seq_no: u64,
    /// The producer's own number of the last record; 0 for a producer without a name.
    pub last_number: u64,
    /// How many of the records had been stored by an earlier attempt.
    pub duplicates: u32,
    /// The batch survives power loss.
    pub durable: bool,
}

/// A batch on its way. Wait for it with [`Ticket::wait`], or `.await` it. Dropping it does not call it off.
#[derive(Debug)]
#[must_use = "a batch that is not waited for may fail unnoticed"]
pub struct Ticket(pub(super) oneshot::Receiver<Result<Stored, ProducerError>>);

impl Ticket {
    /// Blocks until the batch is acknowledged, or it is certain that it will not be.
    ///
    /// # Errors
    /// [`ProducerError`]. After [`ProducerError::Closed`] and [`ProducerError::GaveUp`] the batch may be
    /// stored or not.
    pub fn wait(self) -> Result<Stored, ProducerError> {
        self.0.recv().unwrap_or(Err(ProducerError::Closed))
    }
}

impl Future for Ticket {
    type Output = Result<Stored, ProducerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(ProducerError::Closed)))
    }
}
