//! Damage: bytes that had been durable are missing or bad, or that nothing explains.

use crate::page::PageFault;
use crate::record::RecordFault;
use thiserror::Error;

/// The first damage that a survey or a check met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("page {page}, offset {offset}, after record {after_seq_no}: {kind}")]
pub struct Damage {
    /// The page.
    pub page: u64,
    /// Where it begins, in bytes from the start of the page file.
    pub offset: u64,
    /// The last good record before it; 0 if there is none.
    pub after_seq_no: u64,
    /// What it is.
    pub kind: DamageKind,
}

/// What kind of damage it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DamageKind {
    /// The page file is not there, but the log had been durable in it or behind it.
    #[error("the page file is missing")]
    Missing,
    /// The page's header cannot be used.
    #[error("page header: {0}")]
    Header(PageFault),
    /// A record cannot be used.
    #[error("{0}")]
    Record(RecordFault),
    /// The page's footer is whole and says what cannot be. A survey meets neither this nor what follows.
    #[error("page footer: {0}")]
    Footer(PageFault),
    /// The footer says otherwise than the page holds, or than stands before the page.
    #[error("the footer says {stored} for {what}, it is {found}")]
    FooterMismatch {
        /// Which number.
        what: &'static str,
        /// The footer's.
        stored: u64,
        /// The page's.
        found: u64,
    },
    /// The page's sparse index is whole and says what cannot be.
    #[error("sparse index: {0}")]
    Index(PageFault),
    /// An entry of the sparse index fits no record.
    #[error("sparse index: its entry for record {seq_no} at offset {offset} does not fit any record")]
    IndexEntry {
        /// The entry's record.
        seq_no: u64,
        /// The entry's offset.
        offset: u64,
    },
}

/// Why a survey was not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurveyError<E> {
    /// A file could not be read.
    Io {
        /// What was being done, as in "cannot ... the file".
        action: &'static str,
        /// Which page's file; `None` for the directory.
        page: Option<u64>,
        /// The system's answer.
        source: E,
    },
    /// Something that had been durable is damaged.
    Damage(Damage),
}

impl<E> SurveyError<E> {
    pub(super) fn io(action: &'static str, page: u64) -> impl FnOnce(E) -> SurveyError<E> {
        move |source| SurveyError::Io { action, page: Some(page), source }
    }
}

impl<E> From<Damage> for SurveyError<E> {
    fn from(damage: Damage) -> SurveyError<E> {
        SurveyError::Damage(damage)
    }
}
