//! Zeros ahead of the log's end, in a page whose blocks are only reserved.
//!
//! For a short append into such a block, the kernel would allocate memory for these 4 KiB alone, in a folio
//! of that size, and for a durable append it would also flush a change of the file's extents (a commit of the
//! journal, where there is one). So the first short append that gets there writes zeros after itself, up to
//! the end of one large folio. Long appends make large folios, and one such change, by themselves; zeros
//! ahead of them would only be overwritten.
//!
//! The appending thread does this itself. Another thread would block it from the file for as long, and would
//! have to know at every moment how far the log has got (docs/PERFORMANCE.md, "Zeros ahead of the log").

#[cfg(test)]
mod tests;

use super::Writer;
use crate::disk::DiskFile;
use std::io::{self, IoSlice};

/// Writes of so many bytes need no zeros.
const LONG: u64 = 64 << 10;
/// How far zeros go at most. This is the size of a folio, too.
const COMMITTED_AHEAD: u64 = 128 << 10;
/// The same where appends are durable: a flush less is worth more there than the time that zeros take.
const DURABLE_AHEAD: u64 = 256 << 10;
/// Written again and again, so they are short enough to stay in the nearest cache.
static ZEROS: [u8; 8 << 10] = [0; 8 << 10];

impl Writer {
    /// Whether zeros must follow a write of `len` bytes at the log's end. They must be flushed with the
    /// write.
    #[inline]
    pub(super) fn wants_zeros(&self, len: u64) -> bool {
        let end = self.piece_start + len;
        end > self.active.page.unwritten() && len < LONG && self.zeros_end(end) > end
    }

    /// Must be called before `len` bytes are written at the log's end. All writes in flight are before these
    /// bytes, and all later writes after them.
    #[inline]
    pub(super) fn reach(&self, len: u64) {
        if self.piece_start + len > self.active.page.unwritten() {
            self.reach_unwritten(len);
        }
    }

    #[cold]
    fn reach_unwritten(&self, len: u64) {
        let end = self.piece_start + len;
        let mut reached = end;
        if self.wants_zeros(len) {
            reached = self.zeros_end(end);
            if let Err(error) = write_zeros(&*self.active.page.file, end, reached) {
                // There may still be room for the records; their own write will show. No more zeros in this
                // page.
                tracing::debug!("no zeros in front of the log: {error}");
                reached = u64::MAX;
            }
        }
        self.active.page.set_unwritten(reached);
    }

    fn zeros_max(&self) -> u64 {
        if self.sync { DURABLE_AHEAD } else { COMMITTED_AHEAD }
    }

    /// Up to where zeros go that begin at `end`: where the next folio begins, and not into the index.
    fn zeros_end(&self, end: u64) -> u64 {
        let limit = self.active.page.header.fields().records_limit;
        end.next_multiple_of(self.zeros_max()).min(limit).max(end)
    }
}

fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut parts = [IoSlice::new(&ZEROS); DURABLE_AHEAD as usize / ZEROS.len()];
    let len = (to - from) as usize;
    let (count, rest) = (len.div_ceil(ZEROS.len()), len % ZEROS.len());
    if rest > 0 {
        parts[count - 1] = IoSlice::new(&ZEROS[..rest]);
    }
    file.write_all_parts_at(&mut parts[..count], from)
}
