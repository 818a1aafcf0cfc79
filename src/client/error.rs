//! Why records could not be sent.

use super::wire::{ErrorCode, WireFault};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Why a producer could not connect, or a batch was not acknowledged.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ProducerError {
    /// An option that cannot work.
    #[error("option refused: {reason}")]
    Options {
        /// Which, and what would work.
        reason: String,
    },
    /// The service could not be reached, or the connection to it broke.
    #[error("no connection to the service at {path}: {source}")]
    Connect {
        /// Its socket.
        path: PathBuf,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// The service refused the producer or a batch.
    #[error("the service refused: {text} ({code:?})")]
    Refused {
        /// Why.
        code: ErrorCode,
        /// Depends on the code.
        detail: u64,
        /// The service's own words.
        text: String,
    },
    /// Another producer has connected under this one's name. It is the one that goes on.
    #[error("another producer has connected under the same name")]
    Fenced,
    /// The condition of an append does not hold. Nothing of the batch was stored.
    #[error("the log does not end at record {expected} but at {tip}")]
    Conflict {
        /// The last record that the append named.
        expected: u64,
        /// The last record there was.
        tip: u64,
    },
    /// The ring no longer holds records that it had acknowledged: a power cut took them because they were not
    /// acknowledged as durable, or the service has forgotten the producer's name after a long time.
    #[error("the service knows this producer's records up to {stored}, acknowledged were {acknowledged}")]
    Lost {
        /// The last number that the service knows of.
        stored: u64,
        /// The last number that was acknowledged.
        acknowledged: u64,
    },
    /// After a reconnect the service has another ring.
    #[error("the service at {path} now writes another ring")]
    RingChanged {
        /// Its socket.
        path: PathBuf,
    },
    /// A record is longer than the ring or the service takes. Nothing of the batch was sent.
    #[error("a record of {len} bytes, at most {max} are allowed")]
    RecordTooLarge {
        /// Bytes of its payload.
        len: usize,
        /// Longest payload that is taken.
        max: usize,
    },
    /// A batch is empty, or larger than the service takes. Nothing of it was sent.
    #[error(
        "a batch of {records} records and {len} bytes: it must be 1 to {records_max} records and {max} bytes"
    )]
    BatchSize {
        /// Records in it.
        records: usize,
        /// Bytes of its frame.
        len: usize,
        /// Most records.
        records_max: usize,
        /// Most bytes.
        max: usize,
    },
    /// Too much waits to be acknowledged, and the caller did not want to wait.
    #[error("{queued} bytes wait to be acknowledged, at most {max} may")]
    Full {
        /// Bytes that wait.
        queued: usize,
        /// Limit in bytes.
        max: usize,
    },
    /// The service did not come back in time. Batches that were sent may be stored.
    #[error("no service for {after:?}: {last}")]
    GaveUp {
        /// How long it was tried.
        after: Duration,
        /// The last error.
        last: Box<ProducerError>,
    },
    /// The service sent something that is not of the protocol.
    #[error("the service does not speak the protocol: {0}")]
    Wire(#[from] WireFault),
    /// The producer has been closed. Batches that were sent may be stored.
    #[error("the producer has been closed")]
    Closed,
}

impl ProducerError {
    /// Whether another attempt to connect may succeed.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            ProducerError::Connect { .. } => true,
            ProducerError::Refused { code, .. } => code.is_passing(),
            _ => false,
        }
    }
}
