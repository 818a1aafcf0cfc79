//! Opening an existing ring: finding out what it holds, and repairing what a crash left.
//!
//! [`survey`] only reads; the decisions are those of [`waldo_shm_protocol::recovery`], which readers and
//! verification use too. It ends with an error if durable bytes are damaged, and has changed nothing then.
//! [`mend`] carries out the survey's decisions: it cuts a torn tail, removes pages that never became part of
//! the log, and rewrites records that were not provably durable. After a crash in any step, the next opening
//! comes to the same result.

mod files;
mod mend;
mod note;
#[cfg(test)]
mod tests;

pub(crate) use files::survey;
pub(crate) use mend::mend;
pub(crate) use note::{note_mended, raise_epoch};

use crate::engine::EngineKind;

/// The end of a log that was cut off when it was opened. Nothing of it had been acknowledged as durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Page of the first byte that was cut.
    pub page: u64,
    /// Its offset in the page, in bytes.
    pub offset: u64,
    /// The last record that was kept; 0 if there is none.
    pub after_seq_no: u64,
    /// What was found there.
    pub fault: String,
    /// Bytes that were overwritten with zeros.
    pub zeroed: u64,
    /// Pages with records that were removed, after the end of the log and before its beginning.
    pub pages_removed: u64,
}

/// What an opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// Whether this opening made the ring.
    pub created: bool,
    /// Whether the previous writer had closed the ring.
    pub clean: bool,
    /// The epoch of this writer.
    pub epoch: u32,
    /// Pages found with records, or begun.
    pub pages: u64,
    /// The last record; `None` if there is none.
    pub tip: Option<u64>,
    /// What was cut off, if anything was.
    pub cut: Option<Cut>,
    /// How records are written.
    pub engine: EngineKind,
    /// The options asked for another ring size, page length or index capacity than the ring has, and did not
    /// ask for a change ([`GeometryChange`](crate::GeometryChange)): the ring's own are in force, see
    /// [`Writer::options`](crate::Writer::options).
    pub geometry_kept: bool,
}
