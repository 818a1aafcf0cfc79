//! Why a service cannot start, or has ended.

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use thiserror::Error;
use waldo::reader::{AttachError, ReadError};
use waldo::writer::AppendError;

/// Why a service could not be started, or ended by itself.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// An option that cannot work.
    #[error("option refused: {reason}")]
    Options {
        /// Which, and what would work.
        reason: String,
    },
    /// A live service has the socket.
    #[error("{path} is held by a live service: stop that one, or choose another path")]
    SocketHeld {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket is in the way.
    #[error("{path} is there and is no socket; it was left as it is: choose another path, or remove it")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system allows no socket path as long as this.
    #[error("{path} takes {len} bytes, a socket's path may take {max}: choose a shorter one")]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        len: usize,
        /// Longest that works.
        max: usize,
    },
    /// The directory that the socket should be in cannot be used.
    #[error("the socket's directory {path} cannot be used: {source}{hint}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// No group has this name.
    #[error("there is no group {group:?} for the socket")]
    Group {
        /// The name.
        group: String,
    },
    /// A system call on the socket failed.
    #[error("cannot {action} {path}: {source}")]
    Socket {
        /// What was being done.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// What the process was started with is no listening socket.
    #[error("socket activation: {reason}")]
    Activation {
        /// What is wrong.
        reason: String,
    },
    /// The journal of the producers' names cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Journal {
        /// What was being done.
        action: &'static str,
        /// The journal.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The journal is damaged, or of another version.
    #[error(
        "{path}: {reason}. Without it a batch that is sent again after a crash could be stored twice: restore the file, or \
         remove it to forget all producers"
    )]
    JournalDamaged {
        /// The journal.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The ring could not be read, to see what of the journal is stored.
    #[error("cannot look into the ring: {0}")]
    Attach(#[from] AttachError),
    /// The same.
    #[error("cannot look into the ring: {0}")]
    Read(#[from] ReadError),
    /// The ring's writer has failed, or could not be closed.
    #[error("{0}")]
    Writer(#[from] AppendError),
    /// A thread that appends or answers panicked, which is a fault of this program. What was acknowledged is
    /// stored.
    #[error("the thread {thread} panicked: this is a fault of the service, its log says more")]
    Panicked {
        /// Its name.
        thread: String,
    },
    /// The system starts no thread.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}
