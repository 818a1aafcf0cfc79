//! What is read of files of which parts were never written, and what is not.

use super::*;
use std::cell::RefCell;
use std::convert::Infallible;
use std::ops::Range;

/// Bytes of a block of the file system, and blocks of a file.
const BLOCK: u64 = 8;
const BLOCKS: u64 = 5;
const LEN: u64 = BLOCK * BLOCKS;

/// A file that was written in the blocks whose bit is set, and never in the others.
struct Patchy {
    written: u32,
    /// The next answer about what was written passes over everything: what has just reached the disk is
    /// neither in the extents nor in the page cache.
    overlooks: Cell<bool>,
    /// What was read, and how many times the file system was asked for its account.
    reads: RefCell<Vec<Range<u64>>>,
    asked: Cell<u32>,
}

impl Patchy {
    fn new(written: u32) -> Sparse<Patchy> {
        let (overlooks, reads) = (Cell::new(false), RefCell::default());
        Sparse::new(Patchy { written, overlooks, reads, asked: Cell::new(0) })
    }

    fn is_written(&self, offset: u64) -> bool {
        self.written >> (offset / BLOCK) & 1 == 1
    }

    /// The first byte from `offset` on that was written, or was not; the end of the file if there is none.
    fn next(&self, offset: u64, written: bool) -> u64 {
        self.asked.set(self.asked.get() + 1);
        (offset..LEN).find(|at| self.is_written(*at) == written).unwrap_or(LEN)
    }

    fn byte(&self, offset: u64) -> u8 {
        if self.is_written(offset) { 1 + offset as u8 } else { 0 }
    }
}

impl PageBytes for Patchy {
    type Error = Infallible;

    fn size(&self) -> Result<u64, Infallible> {
        Ok(LEN)
    }

    fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Infallible> {
        let end = LEN.min(offset + bytes.len() as u64).max(offset);
        self.reads.borrow_mut().push(offset..end);
        bytes.iter_mut().zip(offset..end).for_each(|(byte, at)| *byte = self.byte(at));
        Ok((end - offset) as usize)
    }

    fn next_written(&self, offset: u64) -> Result<u64, Infallible> {
        let overlooked = self.overlooks.replace(false);
        Ok(if overlooked { LEN } else { self.next(offset, true) })
    }

    fn next_unwritten(&self, offset: u64) -> Result<u64, Infallible> {
        Ok(self.next(offset, false))
    }
}

/// Every read of every file of five blocks: it comes to what stands in the file, as far as the file goes, and
/// touches nothing that was never written.
#[test]
fn a_file_with_holes_reads_as_it_is_and_no_hole_is_read() {
    for written in 0..1 << BLOCKS {
        let sparse = Patchy::new(written);
        for offset in 0..LEN + 2 {
            for len in 1..LEN + 4 {
                let mut bytes = vec![0xee; len as usize];
                let read = sparse.read_up_to(&mut bytes, offset).unwrap();
                let case = format!("{len} bytes at {offset}, {written:#b}");
                assert_eq!(read as u64, LEN.saturating_sub(offset).min(len), "{case}");
                let expected = (offset..).map(|at| sparse.page.byte(at));
                assert!(bytes[..read].iter().copied().eq(expected.take(read)), "{case}: {bytes:?}");
                for range in sparse.page.reads.take() {
                    assert!(range.clone().all(|at| sparse.page.is_written(at)), "{case}: {range:?} was read");
                }
            }
        }
    }
}

/// A page is read in many small pieces. The file system is asked once for all that lie in the same part.
#[test]
fn the_account_of_a_part_that_was_written_is_asked_for_once() {
    let sparse = Patchy::new((1 << BLOCKS) - 1);
    for offset in 0..LEN {
        sparse.read_up_to(&mut [0], offset).unwrap();
    }
    assert_eq!(sparse.page.asked.get(), 2, "where it begins and where it ends");
}

/// What reaches the disk while a file system looks first at its extents and then at the page cache is in
/// neither. Taken for a hole it would be zeros in the middle of the log.
#[test]
fn what_a_file_system_overlooks_once_is_read_all_the_same() {
    for offset in [0, BLOCK, BLOCK + 3] {
        let sparse = Patchy::new(0b00011);
        sparse.page.overlooks.set(true);
        let mut bytes = [0; 4];
        assert_eq!(sparse.read_up_to(&mut bytes, offset).unwrap(), 4);
        assert!(bytes.iter().copied().eq((offset..).map(|at| sparse.page.byte(at)).take(4)), "{bytes:?}");
    }
}

/// Files of which nobody keeps an account are read whole.
#[test]
fn a_file_without_an_account_is_read_as_it_is() {
    struct Plain;
    impl PageBytes for Plain {
        type Error = Infallible;

        fn size(&self) -> Result<u64, Infallible> {
            Ok(LEN)
        }

        fn read_up_to(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Infallible> {
            let len = (LEN.saturating_sub(offset) as usize).min(bytes.len());
            bytes[..len].fill(7);
            Ok(len)
        }
    }
    let sparse = Sparse::new(Plain);
    assert_eq!(sparse.size(), Ok(LEN));
    for offset in 0..LEN {
        assert_eq!((sparse.next_written(offset), sparse.next_unwritten(offset)), (Ok(offset), Ok(LEN)));
        let mut bytes = [0; 4];
        let read = sparse.read_up_to(&mut bytes, offset).unwrap();
        assert!(
            read as u64 == 4.min(LEN - offset) && bytes[..read].iter().all(|byte| *byte == 7),
            "{offset}"
        );
    }
    // What wraps a file gives on what that says of itself.
    let patchy = Patchy::new(0b00110);
    assert_eq!((patchy.next_written(3), patchy.next_unwritten(BLOCK)), (Ok(BLOCK), Ok(3 * BLOCK)));
}
