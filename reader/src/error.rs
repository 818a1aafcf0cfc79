//! What can go wrong, each with the file and the place.

use crate::id_text::render_id;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use waldo_shm_protocol::link::LinkFault;
use waldo_shm_protocol::meta::MetaFault;
use waldo_shm_protocol::page::PageFault;
use waldo_shm_protocol::segment::SegmentFault;
use waldo_shm_protocol::{RecordFault, RingId};

/// Why a ring could not be attached to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The directory holds no ring.
    #[error("{}: no ring here (there is no ring.meta); start the writer once, or correct the path", .home.display())]
    NotARing {
        /// The directory.
        home: PathBuf,
    },
    /// A file could not be opened or read.
    #[error("{}: {source}{}", .path.display(), remedy(.source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The ring's metadata is unusable.
    #[error("{}: {fault}", .path.display())]
    Meta {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: MetaFault,
    },
    /// The file that names the control segment is unusable.
    #[error("{}: {fault}; restarting the writer replaces it", .path.display())]
    Link {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: LinkFault,
    },
    /// The control segment is unusable.
    #[error("{}: {fault}; restarting the writer replaces it", .path.display())]
    Control {
        /// The segment's file.
        path: PathBuf,
        /// What is wrong.
        fault: SegmentFault,
    },
}

/// Why reading cannot continue. The reader stays where it is: polling again gives the same error, and
/// [`Reader::seek`](crate::Reader::seek) moves the reader away from the cause.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The next record has been trimmed from the ring.
    #[error(
        "records after {requested} have been trimmed, the oldest one left is {oldest}{}; \
         seek to Cursor::Oldest to go on there", lost_text(.lost)
    )]
    Lapped {
        /// Sequence number after which the reader wanted to continue; 0 if it had read nothing.
        requested: u64,
        /// Sequence number of the oldest record left.
        oldest: u64,
        /// How many records were missed, if that is known.
        lost: Option<u64>,
    },
    /// The log ends before the place the reader had reached, or holds something else there: it was restored
    /// from an older copy, or its end was lost.
    #[error(
        "the log now ends at record {}, before record {} that this reader had reached; seek anew",
        number(.tip), number(.seq_no)
    )]
    Rewound {
        /// Last record the reader knows of.
        seq_no: Option<u64>,
        /// Last record in the log.
        tip: Option<u64>,
    },
    /// The record a checkpoint names is not the one that was read when it was made.
    #[error(
        "record {seq_no} is not the one the checkpoint was made of (epoch {epoch}, checksum {checksum:#010x}): \
         the log was restored or written anew; seek instead of resuming"
    )]
    Diverged {
        /// The checkpoint's sequence number.
        seq_no: u64,
        /// The checkpoint's epoch.
        epoch: u32,
        /// The checkpoint's record checksum.
        checksum: u32,
        /// Epoch and checksum of the record with that number now; `None` if there is none.
        found: Option<(u32, u32)>,
    },
    /// The checkpoint was made of another ring.
    #[error("the checkpoint belongs to another ring than {}", .home.display())]
    ForeignCheckpoint {
        /// The ring's directory.
        home: PathBuf,
    },
    /// Another ring is now at the place of the one being read: that one was removed and a new one made, or
    /// another directory was put in its place.
    #[error(
        "{}: another ring is here now ({} instead of {}); attach anew to read it", .home.display(), render_id(.found), render_id(.ring_id)
    )]
    Replaced {
        /// The ring's directory, as it was named.
        home: PathBuf,
        /// The ring that was attached to.
        ring_id: RingId,
        /// The ring that is there now.
        found: RingId,
    },
    /// The ring's directory, or the metadata in it, has been removed.
    #[error(
        "{}: the ring has been removed (its ring.meta is gone); attach anew when there is one again", .home.display()
    )]
    Gone {
        /// The ring's directory, as it was named.
        home: PathBuf,
    },
    /// A record is damaged.
    #[error(
        "{}: page {page}, offset {offset}, after record {}: {fault}; `waldo verify` tells the extent",
        .path.display(), number(.seq_no)
    )]
    Corrupt {
        /// The page file.
        path: PathBuf,
        /// Its page id.
        page: u64,
        /// Where the record starts, in bytes from the start of the file.
        offset: u64,
        /// What is wrong.
        fault: RecordFault,
        /// The last good record before it, if known.
        seq_no: Option<u64>,
    },
    /// A page file is not valid.
    #[error("{}: {fault}", .path.display())]
    Page {
        /// The page file.
        path: PathBuf,
        /// What is wrong.
        fault: PageFault,
    },
    /// The control segment's content is impossible.
    #[error("{}: {fault}; restarting the writer replaces it", .path.display())]
    Control {
        /// The segment's file.
        path: PathBuf,
        /// What is wrong.
        fault: SegmentFault,
    },
    /// A file could not be opened, read or mapped.
    #[error("{}: {source}{}", .path.display(), remedy(.source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ReadError {
    pub(crate) fn io(path: impl AsRef<Path>, source: io::Error) -> ReadError {
        ReadError::Io { path: path.as_ref().to_path_buf(), source }
    }
}

impl AttachError {
    pub(crate) fn io(path: impl AsRef<Path>, source: io::Error) -> AttachError {
        AttachError::Io { path: path.as_ref().to_path_buf(), source }
    }
}

impl From<AttachError> for ReadError {
    fn from(error: AttachError) -> ReadError {
        match error {
            AttachError::Io { path, source } => ReadError::Io { path, source },
            AttachError::Control { path, fault } => ReadError::Control { path, fault },
            AttachError::NotARing { home } => {
                ReadError::Io { path: home, source: io::ErrorKind::NotFound.into() }
            }
            AttachError::Meta { path, fault } => ReadError::Io { path, source: io::Error::other(fault) },
            AttachError::Link { path, fault } => ReadError::Io { path, source: io::Error::other(fault) },
        }
    }
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            " (a reader needs read permission on the ring's files, and must be let through the directories above: `waldo \
             stat`, run by the ring's user, says who may read; the writer's --mode and --group change that)"
        }
        _ => "",
    }
}

fn lost_text(lost: &Option<u64>) -> String {
    lost.map(|n| format!(" ({n} records were missed)")).unwrap_or_default()
}

fn number(seq_no: &Option<u64>) -> String {
    seq_no.map_or_else(|| "(unknown)".to_owned(), |n| n.to_string())
}
