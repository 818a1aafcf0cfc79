#![doc = include_str!("embedded.md")]

pub mod client;
mod embedded;

pub use embedded::{
    AppendError, Cursor, Error, Log, LogError, Metadata, Options, QueryError, QueryLogs, Waldo,
};
/// Attaching to a ring from any process, read-only.
pub use waldo_reader as reader;
/// Layouts, for programs that look at the files themselves.
pub use waldo_shm_protocol as protocol;
/// Writing a ring, with every option.
pub use waldo_writer as writer;

/// The programs in the README, held to compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
