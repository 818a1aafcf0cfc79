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
//! maintains a control segment, the reader follows the segment's watermarks. Without a segment the reader
//! reads the files, and changes to the segment by itself when a writer starts.
//!
//! Reading order: [`Ring`] (`ring`), then `source` (where a reader learns which records there are: a control
//! segment, or the files; and how it notices that another source has replaced that one), `pages` (opening and
//! mapping page files), `walk` (finding records in bytes), `position` (where a reader stands), [`Reader`]
//! (`reader`, `seek`, `wait`), and [`Batches`] (`stream`, `turn`, `waiter`), [`verify`], [`Reporter`]
//! (`reporting`).

mod batch;
mod batch_storage;
mod checked_text;
mod checkpoint;
mod clock;
mod error;
mod futex;
mod id_text;
mod lapse;
#[cfg(test)]
mod meanwhile;
mod options;
mod pace;
mod pages;
mod passed;
mod place;
mod plain_file;
mod position;
mod reader;
mod reporting;
mod ring;
mod seek;
mod source;
mod status;
mod stream;
mod turn;
pub mod verify;
mod wait;
mod waiter;
mod walk;
mod watermark;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Record, Records};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use error::{AttachError, ReadError};
pub use lapse::{Lapse, Lapses};
pub use options::{AttachOptions, Cursor, Integrity, OnLapped, ReaderOptions, Visibility, WaitStrategy};
pub use reader::Reader;
pub use reporting::{
    LeftOverReports, ProcessState, ReaderReport, ReaderReports, ReportDirectory, ReportError, ReportUsers,
    Reporter,
};
pub use ring::Ring;
pub use status::{ControlKind, RingStatus, WriterStatus};
pub use stream::Batches;
pub use turn::Turn;
pub use wait::Wakeup;
pub use waldo_shm_protocol::{Log, Position, RecordFault, RingId};
