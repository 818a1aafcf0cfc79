//! What can go wrong when a ring is opened and written.

use crate::poison::Failure;
use std::io;
use std::path::PathBuf;
use thiserror::Error;
use waldo_shm_protocol::meta::MetaFault;
use waldo_shm_protocol::page::PageFault;
use waldo_shm_protocol::record::RecordFault;

/// Why a ring could not be opened for writing. Nothing has been modified, unless the error says so.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// An option, or a combination of them, that cannot work.
    #[error("option refused: {reason}")]
    Options {
        /// Which, and what would work.
        reason: String,
    },
    /// Another writer has the ring.
    #[error("{path} is locked: {holder} is writing this ring; there can be only one writer")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The other writer, as far as it is known.
        holder: String,
    },
    /// A file could not be read, written or made.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// There are page files but no metadata.
    #[error("{home} holds page files but no ring.meta: restore that file, or choose an empty directory")]
    NoMeta {
        /// The home directory.
        home: PathBuf,
    },
    /// `ring.meta` cannot be used.
    #[error("{path}: {fault}")]
    Meta {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: MetaFault,
    },
    /// A page's header or footer is damaged or foreign.
    #[error("{path}: {fault}; nothing was changed, `waldo verify` shows the extent")]
    Page {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: PageFault,
    },
    /// A page in the middle of the ring is missing.
    #[error("{path} is missing, but pages before and after it are there; restore it")]
    MissingPage {
        /// The file that should be there.
        path: PathBuf,
    },
    /// A record that had been durable is damaged.
    #[error(
        "{path}, offset {offset}, after record {after_seq_no}: {fault}; this record had been durable, so it is \
         damage and not a torn write; nothing was changed, `waldo verify` shows the extent"
    )]
    Corrupt {
        /// The page file.
        path: PathBuf,
        /// Offset in the file.
        offset: u64,
        /// The last good record before it; 0 if there is none.
        after_seq_no: u64,
        /// What is wrong.
        fault: RecordFault,
    },
    /// Every start of a writer gets a new epoch, and no higher one is left.
    #[error(
        "the ring names start number 4294967295, after which there is none; a damaged or hostile file may do so: \
         `waldo verify` shows which"
    )]
    EpochsExhausted,
    /// io_uring was asked for and is not available.
    #[error("io_uring cannot be used here: {source}; choose Io::Auto or Io::Pwrite to go without it")]
    Uring {
        /// The system's answer.
        source: io::Error,
    },
    /// The write buffers could not be allocated.
    #[error("cannot allocate {bytes} bytes of write buffers: {source}{hint}")]
    Buffers {
        /// How much.
        bytes: usize,
        /// The system's answer.
        source: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// The control segment could not be made.
    #[error("cannot make the control segment {name}: {source}{hint}")]
    Control {
        /// Its name.
        name: String,
        /// The system's answer.
        source: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// The path that was named for the control segment leads to something else.
    #[error(
        "{path} cannot be the control segment: {reason}; it was left as it is. Name another path, or remove it if nobody \
         needs it"
    )]
    ControlTaken {
        /// The path.
        path: PathBuf,
        /// What is there.
        reason: String,
    },
    /// The process may not make files as long as a page or the control segment.
    #[error(
        "files of this process may be {limit} bytes long (RLIMIT_FSIZE), the ring needs {needed}: raise that limit (`ulimit \
         -f`, systemd's LimitFSIZE), or choose smaller pages"
    )]
    FileLength {
        /// Bytes that are allowed.
        limit: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// This process may not give the requested rights.
    #[error("who may read {path} cannot be changed: {reason}; nothing was changed")]
    Rights {
        /// The home directory, or a file in it.
        path: PathBuf,
        /// Why, and what to do about it.
        reason: String,
    },
    /// A thread could not be started.
    #[error(
        "cannot start the threads that look after {home}: {source}; a writer has up to four, and those of io_uring. Raise \
         RLIMIT_NPROC (`ulimit -u`) or the control group's pids.max"
    )]
    Threads {
        /// The home directory.
        home: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file system on which readers would not see what is written, or flushes do nothing.
    #[error("{path} is on {fs}: {reason}")]
    FileSystem {
        /// The home directory.
        path: PathBuf,
        /// The file system.
        fs: &'static str,
        /// Why it cannot be used.
        reason: &'static str,
    },
}

impl OpenError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> OpenError {
        let path = path.into();
        move |source| OpenError::Io { action, path, source }
    }

    /// The system's error number; EIO if there is none.
    pub(crate) fn errno(&self) -> i32 {
        match self {
            OpenError::Io { source, .. }
            | OpenError::Control { source, .. }
            | OpenError::Threads { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
            _ => libc::EIO,
        }
    }
}

/// Why records were not appended.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The record does not continue the log. Nothing of the batch was appended.
    #[error("record {seq_no} names {prev_seq_no} as its predecessor, the record before it is {expected}")]
    Sequence {
        /// Its sequence number.
        seq_no: u64,
        /// The predecessor it names.
        prev_seq_no: u64,
        /// The predecessor it would have to name.
        expected: u64,
    },
    /// The record's number is not above its predecessor's. Nothing of the batch was appended.
    #[error("sequence number {seq_no} is not greater than its predecessor {prev_seq_no}")]
    NotIncreasing {
        /// Its sequence number.
        seq_no: u64,
        /// The predecessor it names.
        prev_seq_no: u64,
    },
    /// The record is too large. Nothing of the batch was appended.
    #[error("record {seq_no} takes {size} bytes, at most {max} fit")]
    TooLarge {
        /// Its sequence number.
        seq_no: u64,
        /// Its serialized size in bytes.
        size: u64,
        /// The largest size that fits a page and the format, in bytes.
        max: u64,
    },
    /// The hash that a record was constructed with is not that of its payload: one of both was damaged before
    /// it got here. Nothing of the batch was appended.
    #[error(
        "payload of record {seq_no} is damaged: its hash was given as {stored:#010x}, computed {computed:#010x}"
    )]
    Damaged {
        /// Its sequence number.
        seq_no: u64,
        /// The hash that was given.
        stored: u32,
        /// The hash of the payload.
        computed: u32,
    },
    /// No sequence number is left above the tip. Nothing of the batch was appended.
    #[error("sequence numbers are used up: the tip is {tip}")]
    Exhausted {
        /// The last record's number.
        tip: u64,
    },
    /// The next page could not be prepared. Records before it are appended: `tip` tells. Another append tries
    /// again, say when there is room on the disk.
    #[error("no next page: {cause}; the log ends at record {tip}")]
    NoPage {
        /// Why.
        cause: Failure,
        /// The last record that was appended; 0 if there is none.
        tip: u64,
    },
    /// A write or flush failed, now or earlier: the writer takes no more records. What was durable before
    /// stays durable; reopening the ring recovers.
    #[error("the writer has stopped after an error: {cause}; reopen the ring to recover")]
    Failed {
        /// The first error.
        cause: Failure,
    },
    /// Too much waits to be appended, and the caller did not want to wait. Nothing of the batch was appended.
    #[error(
        "{queued} bytes of records wait to be appended, at most {max} may: try again later, or use an append that waits"
    )]
    QueueFull {
        /// Bytes that wait, payloads and bookkeeping.
        queued: usize,
        /// From this many on nothing more is taken.
        max: usize,
    },
    /// The writer has been closed.
    #[error("the writer has been closed")]
    Closed,
}
