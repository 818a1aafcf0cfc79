//! What the files of a ring hold, and whether what they lack is a crash's doing or damage.
//!
//! The writer's recovery, readers without a control segment, verification and repair all ask the same code,
//! so they agree about every crash. No I/O happens here: the caller brings the files as a [`RingFiles`].
//!
//! # How
//!
//! 1. **Headers.** Every page file's header is read.
//! 2. **Evidence.** How far was the log durable? Every record names a position below which everything was
//!    durable before the record was written. The newest records name the highest one, also where they stand
//!    behind a bad one, or in a page whose header is unreadable. Nothing is judged before this is known.
//! 3. **Walk.** Pages are read from the oldest on. Where the walk stops, [`judge`] decides, by one rule: what
//!    lies below the durable position and is not good is damage, and nothing is changed; what lies above it
//!    is a crash's doing.
//!
//! A ring whose writer promised to survive `kill -9` only can lose anything in a power cut. Where nothing in
//! the ring is known to have been durable and the log does not go on from something that was, the longest run
//! of pages counts.

mod damage;
mod evidence;
mod findings;
pub mod judge;
mod page_walk;
mod source;
mod sparse;
mod survey;
#[cfg(test)]
mod tests;

pub use damage::{Damage, DamageKind, SurveyError};
pub use evidence::{Beyond, look_beyond};
pub use page_walk::{PageRead, first_predecessor, read_footer, read_page};
pub use source::{PageBytes, RingFiles};
pub use sparse::Sparse;
pub use survey::{FoundPage, LeftOver, ReadyPage, Survey, Torn, survey};
