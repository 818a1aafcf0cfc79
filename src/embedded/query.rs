//! The cursor and the result of a query.

use waldo_reader::Batch;
use waldo_shm_protocol::Log;

/// Different logical positions for stream subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// Records after the newest one there is when the query is made. A waiting query waits for one.
    Tip,
    /// The oldest record still held.
    Trim,
    /// The record that comes after this sequence number, which need not exist.
    After(u64),
    /// The record with this sequence number, or the next one that exists.
    From(u64),
}

impl From<Cursor> for waldo_reader::Cursor {
    fn from(cursor: Cursor) -> waldo_reader::Cursor {
        match cursor {
            Cursor::Tip => waldo_reader::Cursor::Tip,
            Cursor::Trim => waldo_reader::Cursor::Oldest,
            Cursor::After(seq_no) => waldo_reader::Cursor::After(seq_no),
            Cursor::From(seq_no) => waldo_reader::Cursor::From(seq_no),
        }
    }
}

/// A chunk of contiguous log records queried from storage.
///
/// The records are read from the mapped file; none is copied. Keeping a chunk keeps its page mapped, and so
/// also the disk space of a trimmed page.
#[derive(Debug)]
pub struct QueryLogs(pub(super) Option<Batch>);

impl<'a> IntoIterator for &'a QueryLogs {
    type Item = Log<'a>;
    type IntoIter = Logs<'a>;

    fn into_iter(self) -> Logs<'a> {
        Logs(self.0.as_ref().map(Batch::iter))
    }
}

/// Iterator over the records of a [`QueryLogs`].
#[derive(Debug)]
pub struct Logs<'a>(Option<waldo_reader::Records<'a>>);

impl<'a> Iterator for Logs<'a> {
    type Item = Log<'a>;

    fn next(&mut self) -> Option<Log<'a>> {
        self.0.as_mut()?.next().map(|record| record.log())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.as_ref().map_or((0, Some(0)), Iterator::size_hint)
    }
}
