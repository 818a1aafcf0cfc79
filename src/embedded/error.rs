//! The errors of the embedded API, and how the errors of writer and reader map onto them.

use std::io;
use thiserror::Error as ThisError;
use waldo_reader::{AttachError, ReadError};
use waldo_shm_protocol::RecordFault;
use waldo_writer::OpenError;

/// Different types of errors when opening or closing Waldo.
#[derive(Debug, ThisError)]
pub enum Error {
    /// A file could not be used, or what it holds is damaged; the message names it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// An option that cannot work, and why.
    #[error("option refused: {0}")]
    Option(String),
}

/// Different types of errors when appending logs to storage.
#[derive(Debug, ThisError)]
pub enum AppendError {
    /// The system refused, say because the disk is full. Nothing is damaged; another append tries again.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The storage has stopped for good after a failed write or flush; open it again to recover.
    #[error("{0}")]
    Fault(&'static str),
    /// The storage has been closed.
    #[error("waldo has been closed")]
    Closed,
    /// Another append is in the way.
    #[error("another append is in the way")]
    Conflict,
    /// (sequence number, the predecessor it names, the predecessor it would have to name)
    #[error("record {0} names {1} as its predecessor, the record before it is {2}")]
    Sequence(u64, u64, u64),
    /// (sequence number, serialized size in bytes)
    #[error("record {0} takes {1} bytes, which is over the limit")]
    ExceedsLimit(u64, usize),
}

/// Different types of errors when querying for logs from storage.
#[derive(Debug, ThisError)]
pub enum QueryError {
    /// A file could not be used, or what it holds is damaged; the message names it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The storage contradicts itself.
    #[error("{0}")]
    Fault(&'static str),
    /// The storage has been closed.
    #[error("waldo has been closed")]
    Closed,
    /// The position asked for has been trimmed.
    #[error("records at position {0} have been trimmed")]
    Trimmed(u64),
    /// (sequence number, the predecessor it names, the predecessor it should name)
    #[error("record {0} names {1} as its predecessor, the record before it is {2}")]
    Sequence(u64, u64, u64),
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Error {
        let kind = match &error {
            OpenError::Options { reason } => return Error::Option(reason.clone()),
            OpenError::Io { source, .. }
            | OpenError::Uring { source }
            | OpenError::Buffers { source, .. }
            | OpenError::Control { source, .. }
            | OpenError::Threads { source, .. } => source.kind(),
            OpenError::ControlTaken { .. } => io::ErrorKind::AlreadyExists,
            OpenError::FileLength { .. } => io::ErrorKind::FileTooLarge,
            OpenError::Locked { .. } => io::ErrorKind::WouldBlock,
            _ => io::ErrorKind::InvalidData,
        };
        Error::Io(io::Error::new(kind, error))
    }
}

impl From<AttachError> for Error {
    fn from(error: AttachError) -> Error {
        Error::Io(io::Error::other(error))
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        Error::Io(io::Error::other(error))
    }
}

impl From<waldo_writer::AppendError> for AppendError {
    fn from(error: waldo_writer::AppendError) -> AppendError {
        use waldo_writer::AppendError as E;
        match error {
            E::Sequence { seq_no, prev_seq_no, expected } => {
                AppendError::Sequence(seq_no, prev_seq_no, expected)
            }
            // It names as its predecessor a record that cannot come before it.
            E::NotIncreasing { seq_no, prev_seq_no } => {
                AppendError::Sequence(seq_no, prev_seq_no, prev_seq_no)
            }
            E::TooLarge { seq_no, size, .. } => {
                AppendError::ExceedsLimit(seq_no, usize::try_from(size).unwrap_or(usize::MAX))
            }
            E::Damaged { .. } => AppendError::Io(io::Error::new(io::ErrorKind::InvalidInput, error)),
            E::NoPage { cause, .. } => AppendError::Io(cause.to_io_error()),
            E::Failed { cause } => AppendError::Io(cause.to_io_error()),
            E::Closed => AppendError::Closed,
            _ => AppendError::Fault("the writer refused the append"),
        }
    }
}

impl From<ReadError> for QueryError {
    fn from(error: ReadError) -> QueryError {
        match error {
            ReadError::Lapped { requested, .. } => QueryError::Trimmed(requested),
            ReadError::Corrupt { fault: RecordFault::Chain { seq_no, found, expected }, .. } => {
                QueryError::Sequence(seq_no, found, expected)
            }
            ReadError::Rewound { .. } => QueryError::Fault("the log now ends before a record that was read"),
            other => QueryError::Io(io::Error::other(other)),
        }
    }
}
