//! The one writer of a Waldo ring: opens and recovers the ring, appends records, publishes how far the log
//! goes.
//!
//! [`Writer`] belongs to one thread and does everything on it: the low-latency path. [`SharedWriter`] lets
//! any number of threads and async tasks append, and lets them share flushes.
//!
//! Effects on the process: threads that write block SIGXFSZ from then on, so that the limit on the length of
//! files (RLIMIT_FSIZE) is an error and does not end the process; the soft limit on open files is raised to
//! the hard limit when it is reached.
//!
//! Reading order: `recover`, `writer`, `preparer`, then `waking` with its thread (`notifier`) and
//! durability (`flusher`). Every file operation goes through [`disk`].

mod active;
mod clock;
mod control;
mod core;
pub mod disk;
mod engine;
mod error;
mod flusher;
#[cfg(test)]
mod histories;
mod lock;
mod metafile;
mod notifier;
mod options;
mod page;
mod poison;
mod positions;
mod preparer;
mod recover;
pub mod removal;
pub mod repair;
pub mod resize;
mod rights;
mod scheduling;
pub mod segments;
mod shared;
#[cfg(test)]
mod testing;
mod unflushed;
mod waking;
mod writer;

pub use engine::EngineKind;
pub use error::{AppendError, OpenError};
pub use options::{ControlPlace, Durability, GeometryChange, Io, OnFull, WriterOptions};
pub use poison::Failure;
pub use recover::{Cut, OpenReport};
pub use rights::{UnknownGroup, group_id, why_not_given};
pub use scheduling::{Scheduling, SchedulingError};
pub use shared::{SharedWriter, Ticket};
pub use waking::Listener;
pub use waldo_shm_protocol::{Log, Position};
pub use writer::{Appended, Writer};
