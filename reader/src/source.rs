//! Where a reader learns what may be read: a control segment, or the files themselves.
//!
//! Everything that tells the two apart is in this folder. [`attached_ring`] is what a process shares,
//! [`look`] notices that the source has to be another one.

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
