//! Follow a Waldo ring from any process, without ever contacting its writer.
//!
//! ```no_run
//! use waldo_reader::{Cursor, Ring};
//!
//! let ring = Ring::attach("/var/lib/app/ring")?;
//! let mut reader = ring.reader(Cursor::Tip)?;
//! while let Some(batch) = reader.recv(None)? {
//!     for record in &batch {
//!         println!("{}: {} bytes", record.seq_no(), record.data().len());
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A reader opens everything read-only: page files, control segment, metadata. It needs read permission and
//! nothing else, leaves nothing behind, and can disturb neither the writer nor another reader. While a writer
//! keeps a control segment, the reader follows its watermarks; without one it reads the files and changes
//! over by itself when a writer comes.
//!
//! Reading order: [`Ring`] (`attach`, `home`, `link`), `control`, `standing` and `files` (where a ring says
//! what may be read), `pages`, `page_file` and `page_map` (opening and mapping), `walk` (records in a page),
//! `position` and `window` (where a reader stands, and the pages it has at hand), [`Reader`] (`reader`,
//! `seek`, `wait`), then [`Batches`] (`stream`, `turn`, `waiter`) and [`verify`].

mod attach;
mod batch;
mod checkpoint;
mod clock;
mod control;
mod error;
mod files;
mod futex;
mod held;
mod home;
mod lapse;
mod link;
mod options;
mod page_file;
mod page_map;
mod pages;
mod place;
mod position;
mod pulse;
mod reader;
mod seek;
mod source;
mod standing;
mod status;
mod stream;
mod turn;
pub mod verify;
mod wait;
mod waiter;
mod walk;
mod watermark;
mod window;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use attach::Ring;
pub use batch::{Batch, Record, Records};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use error::{AttachError, ReadError};
pub use lapse::{Lapse, Lapses};
pub use options::{AttachOptions, Cursor, Integrity, OnLapped, ReaderOptions, Visibility, WaitStrategy};
pub use reader::Reader;
pub use status::{ControlKind, RingStatus, WriterStatus};
pub use stream::Batches;
pub use turn::Turn;
pub use wait::Wakeup;
pub use waldo_shm_protocol::{Log, Position, RecordFault, RingId};
