//! The embedded API: one process that opens a ring, appends and queries.

mod error;
mod options;
mod query;
mod storage;

pub use error::{AppendError, Error, QueryError};
pub use options::Options;
pub use query::{Cursor, QueryLogs};
pub use storage::{Metadata, Waldo};
pub use waldo_shm_protocol::{Log, LogError};
