//! A page file whose holes are not read.

use super::source::PageBytes;
use std::cell::Cell;

/// Reads a page file, and skips the parts that were never written. Reading those would fill the page cache,
/// where the writer is about to write, with small folios of zeros.
pub struct Sparse<P> {
    page: P,
    /// A part of the file that is known to have been written as a whole: from where, and up to where.
    written: Cell<(u64, u64)>,
}

impl<P: PageBytes> Sparse<P> {
    /// Reads `page` without its holes.
    pub fn new(page: P) -> Sparse<P> {
        Sparse { page, written: Cell::default() }
    }

    /// Where what begins at `offset` ends, `end` at the latest, and whether that was ever written.
    fn part(&self, offset: u64, end: u64) -> Result<(u64, bool), P::Error> {
        let (from, to) = self.written.get();
        if (from..to).contains(&offset) {
            return Ok((to.min(end), true));
        }
        let mut written = self.page.next_written(offset)?;
        if written > offset {
            // A file system looks at its extents first and then at the page cache. What has reached the disk
            // between the two, and left the cache, is in neither; it is there when it is asked for again.
            written = written.min(self.page.next_written(offset)?);
        }
        if written > offset {
            return Ok((written.min(end), false));
        }
        // At the end of the file, or where nothing is known, the read itself finds out.
        let to = Some(self.page.next_unwritten(offset)?).filter(|to| *to > offset).unwrap_or(end);
        self.written.set((offset, to));
        Ok((to.min(end), true))
    }
}

impl<P: PageBytes> PageBytes for Sparse<P> {
    type Error = P::Error;

    fn size(&self) -> Result<u64, P::Error> {
        self.page.size()
    }

    fn next_written(&self, offset: u64) -> Result<u64, P::Error> {
        self.page.next_written(offset)
    }

    fn next_unwritten(&self, offset: u64) -> Result<u64, P::Error> {
        self.page.next_unwritten(offset)
    }

    fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> Result<usize, P::Error> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (to, written) = self.part(at, offset + bytes.len() as u64)?;
            let part = &mut bytes[done..(to - offset) as usize];
            let len = part.len();
            let read = if written {
                self.page.read_up_to(part, at)?
            } else {
                part.fill(0);
                len
            };
            done += read;
            if read < len {
                break;
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests;
