//! Where a reader learns which bytes it may read: a control segment, or the files themselves.
//!
//! All code that distinguishes the two is in this folder. [`attached_ring`] is shared by all readers of a
//! process; [`look`] notices when another source has to be used.

pub(crate) mod attached_ring;
mod attachment;
pub(crate) mod control;
pub(crate) mod files;
pub(crate) mod home;
pub(crate) mod link;
mod liveness;
mod look;
mod looks;
pub(crate) mod pulse;
pub(crate) mod snapshot;
mod standing;
mod waiting;

pub(crate) use attachment::{Attachment, Observed, Source};
