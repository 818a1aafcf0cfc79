//! Opening a ring that is there already: finding out what it holds, and mending what a crash left (D10).
//!
//! [`survey`] only reads. It ends with an error if something that had been durable is damaged, and nothing has
//! been touched then. [`mend`] carries out what the survey found: cuts a torn tail, removes what never became
//! part of the log, and writes again what was not provably durable.
//!
//! ```text
//!   what stands where the walk ends        | below the durable position | above it
//!   ---------------------------------------+----------------------------+----------------------------
//!   A nothing, or bytes of an earlier life | damage: refused            | the end of the log
//!   B a record that fails its checks       | damage: refused            | torn tail: cut
//!   C a good record behind a bad one       | damage: refused            | written out of order: cut
//!   D no seal, but the next page goes on   | the seal was torn: written again
//!   E a page without a header              | damage: refused            | never begun: removed
//! ```

mod evidence;
mod mend;
mod survey;
#[cfg(test)]
mod tests;

pub(crate) use mend::mend;
pub(crate) use survey::{Found, Survey, survey};

use crate::engine::EngineKind;

/// The torn end of a log that was cut off when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Page of the first byte that was cut.
    pub page: u64,
    /// Its offset in the page, in bytes.
    pub offset: u64,
    /// The last record that was kept; 0 if there is none.
    pub after_seq_no: u64,
    /// What stood there.
    pub fault: String,
    /// Bytes that were overwritten with zeros.
    pub zeroed: u64,
    /// Pages behind it that were removed.
    pub pages_removed: u64,
}

/// What an opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// Whether the ring was made just now.
    pub created: bool,
    /// Whether the writer before had closed it.
    pub clean: bool,
    /// The number of this start.
    pub epoch: u32,
    /// Pages found with records, or begun.
    pub pages: u64,
    /// The last record; `None` if there is none.
    pub tip: Option<u64>,
    /// What was cut off at the end, if anything was.
    pub cut: Option<Cut>,
    /// How records are written.
    pub engine: EngineKind,
}
