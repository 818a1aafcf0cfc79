//! What the files of a ring hold, and whether missing or bad bytes are the result of a crash, or damage.
//!
//! The writer's recovery, readers without a control segment, verification and repair all use this code, so
//! they agree about every crash. This module does no I/O: the caller supplies the files as a [`RingFiles`].
//!
//! # How
//!
//! 1. **Headers.** Every page file's header is read.
//! 2. **Evidence.** How far was the log durable? Every record names a position below which everything was
//!    durable before the record was written. The newest records name the highest position, even if they
//!    follow a bad record or are in a page whose header is unreadable. No record is judged before this
//!    position is known.
//! 3. **Walk.** Pages are read from the oldest on. Where the walk stops, [`judge`] decides by one rule: bad
//!    bytes below the durable position are damage, and nothing is changed; bad bytes above it are the result
//!    of a crash.
//!
//! A ring whose writer promised to survive only `kill -9` can lose any bytes in a power cut. If nothing in
//! the ring is known to have been durable, and the log does not continue a durable part, the log is the
//! longest run of pages.

mod check;
mod damage;
mod evidence;
mod findings;
pub mod judge;
mod page_walk;
mod source;
mod sparse;
mod survey;
mod tail;
#[cfg(test)]
mod tests;

pub use check::{CheckedPage, LogCheck, RecordCount, Stop, WalkedPage};
pub use damage::{Damage, DamageKind, SurveyError};
pub use evidence::{Beyond, look_beyond};
pub use page_walk::{PageRead, first_predecessor, read_footer, read_page};
pub use source::{PageBytes, RingFiles};
pub use sparse::Sparse;
pub use survey::{FoundPage, LeftOver, ReadyPage, Survey, Torn, survey};
pub use tail::{FooterCheck, PageTail};
