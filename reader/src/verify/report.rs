//! What a check reports.

use crate::error::AttachError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;
use waldo_shm_protocol::page::PageFault;
use waldo_shm_protocol::record::RecordFault;
use waldo_shm_protocol::recovery::DamageKind;
use waldo_shm_protocol::{Position, RingId};

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Page being checked.
    pub page: u64,
    /// Bytes checked so far.
    pub bytes_done: u64,
    /// Bytes of all page files together.
    pub bytes_total: u64,
}

/// What an intact ring was found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The ring.
    pub ring_id: RingId,
    /// Pages checked.
    pub pages: u64,
    /// Records checked.
    pub records: u64,
    /// Bytes of payload checked.
    pub payload_bytes: u64,
    /// First record; `None` if there is none.
    pub first_seq_no: Option<u64>,
    /// Last record; `None` if there is none.
    pub last_seq_no: Option<u64>,
    /// Where the log ends.
    pub end: Position,
    /// Observations that are not damage but worth knowing.
    pub notes: Vec<String>,
}

/// Why a ring is damaged, or could not be checked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The ring's metadata cannot be used.
    #[error(transparent)]
    Ring(#[from] AttachError),
    /// A file could not be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The first damage found.
    #[error(
        "{}: page {page}, offset {offset}, after record {}: {damage}",
        .path.display(), .seq_no.map_or_else(|| "(none)".to_owned(), |n| n.to_string())
    )]
    Damaged {
        /// The page file.
        path: PathBuf,
        /// Its page id.
        page: u64,
        /// Where the damage is, in bytes from the start of the file.
        offset: u64,
        /// Last good record before it.
        seq_no: Option<u64>,
        /// What it is.
        damage: Damage,
    },
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// The file is missing, but the log had been durable in it or behind it.
    #[error("the page file is missing")]
    Missing,
    /// The page's header.
    #[error("page header: {0}")]
    Header(PageFault),
    /// A record that had been durable.
    #[error("{0}")]
    Record(RecordFault),
    /// The page's footer.
    #[error("page footer: {0}")]
    Footer(PageFault),
    /// The footer does not describe the page.
    #[error("the footer says {stored} for {what}, it is {found}")]
    FooterMismatch {
        /// Which number.
        what: &'static str,
        /// The footer's.
        stored: u64,
        /// The page's.
        found: u64,
    },
    /// The sparse index.
    #[error("sparse index: {0}")]
    Index(PageFault),
    /// An index entry points at no record, or at another one.
    #[error("sparse index: its entry for record {seq_no} at offset {offset} does not fit any record")]
    IndexEntry {
        /// The entry's record.
        seq_no: u64,
        /// The entry's offset.
        offset: u64,
    },
}

impl From<DamageKind> for Damage {
    fn from(kind: DamageKind) -> Damage {
        match kind {
            DamageKind::Header(fault) => Damage::Header(fault),
            DamageKind::Record(fault) => Damage::Record(fault),
            DamageKind::Footer(fault) => Damage::Footer(fault),
            DamageKind::FooterMismatch { what, stored, found } => {
                Damage::FooterMismatch { what, stored, found }
            }
            DamageKind::Index(fault) => Damage::Index(fault),
            DamageKind::IndexEntry { seq_no, offset } => Damage::IndexEntry { seq_no, offset },
            _ => Damage::Missing,
        }
    }
}
