//! What the sequencer hands to the completer, and the completer to the syncer.

use crate::connection::link::{Link, Window};
use crate::request::Permits;
use std::sync::Arc;
use waldo::client::wire::{Ack, Batch, ErrorCode, ErrorFrame};
use waldo::writer::{AppendError, Appended, Ticket};

/// The records of a batch that are to be appended, and what its ACK says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Records at its beginning that are stored already.
    pub(crate) skip: u32,
    /// Records that are to be appended.
    pub(crate) count: u32,
    /// The producer's own number of the first of them; 0 without a name.
    pub(crate) number: u64,
    /// The sequence number of the first of them.
    pub(crate) seq_no: u64,
    /// The sequence number of the batch's first record; 0 if that is no longer known.
    pub(crate) first_seq_no: u64,
    /// The sequence number of its last record; 0 if that is no longer known.
    pub(crate) last_seq_no: u64,
    /// The producer's own number of the last record; 0 without a name.
    pub(crate) last_number: u64,
}

/// A batch with a plan.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) link: Arc<Link>,
    pub(crate) batch: Batch<Vec<u8>>,
    pub(crate) plan: Plan,
    /// To be answered when it is durable.
    pub(crate) durable: bool,
    pub(crate) permits: Permits,
}

/// How far a batch is.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// To be appended.
    Planned,
    /// All of it was stored before, or is about to be by a step before this.
    Duplicate,
    /// Queued with the ring's writer.
    Queued(Ticket),
    /// Appended or not.
    Done(Result<Appended, AppendError>),
}

/// What the sequencer has done. One after the other.
#[derive(Debug)]
pub(crate) enum Step {
    Greet(Arc<Link>),
    Append { job: Job, outcome: Outcome },
    Conflict { link: Arc<Link>, error: ErrorFrame, window: Window },
    End { link: Arc<Link>, error: ErrorFrame },
}

/// An answer that waits until everything up to now is durable.
#[derive(Debug)]
pub(crate) struct Durable {
    pub(crate) link: Arc<Link>,
    pub(crate) ack: Ack,
    pub(crate) window: Window,
}

/// The code for an append that did not happen.
pub(crate) fn code_of(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Failed { .. } | AppendError::Closed => ErrorCode::WriterFailed,
        _ => ErrorCode::NotStored,
    }
}
