//! Zeros in front of the log's end, in a page whose blocks are reserved and no more.
//!
//! A short append into such a block would have the kernel make memory for these 4 KiB alone, in a folio of
//! that size, and a durable one would have it flush a change of the file's extents too (a commit of the
//! journal, where there is one). So the first short append to get there writes zeros behind itself, as far as
//! one large folio goes. Long appends make large folios, and one such change, by themselves; zeros would only
//! be written before they are.
//!
//! The appending thread does this itself. Any other would keep it from the file for as long, and would have
//! to know at every moment how far the log has got (docs/PERFORMANCE.md, "Zeros ahead of the log").

use super::Writer;
use crate::error::AppendError;

/// Writes of so many bytes need no zeros.
const LONG: u64 = 64 << 10;
/// How far zeros go at most. This is the size of a folio, too.
const COMMITTED_AHEAD: u64 = 128 << 10;
/// The same where appends are durable: a flush less is worth more there than the time that zeros take.
const DURABLE_AHEAD: u64 = 256 << 10;

impl Writer {
    /// Whether zeros go behind a write of `len` bytes at the log's end. They are to be flushed with it.
    #[inline]
    pub(super) fn wants_zeros(&self, len: u64) -> bool {
        let end = self.piece_start + len;
        end > self.active.page.unwritten() && len < LONG && self.zeros_end(end) > end
    }

    /// To be called before `len` bytes are written at the log's end. All that is in flight lies in front of
    /// them, and all that is written later behind.
    #[inline]
    pub(super) fn reach(&mut self, len: u64) -> Result<(), AppendError> {
        if self.piece_start + len <= self.active.page.unwritten() {
            return Ok(());
        }
        self.reach_unwritten(len)
    }

    #[cold]
    fn reach_unwritten(&mut self, len: u64) -> Result<(), AppendError> {
        let end = self.piece_start + len;
        let mut reached = end;
        if self.wants_zeros(len) {
            reached = self.zeros_end(end);
            if self.zeros.is_empty() {
                // Memory that nobody writes to is one block of zeros, which stays in the nearest cache.
                self.zeros = vec![0; self.zeros_max() as usize];
            }
            let zeros = &self.zeros[..(reached - end) as usize];
            let written = self.active.page.file.write_all_at(zeros, end);
            written.map_err(|error| self.failed("writing zeros in front of the log", error))?;
        }
        self.active.page.set_unwritten(reached);
        Ok(())
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

#[cfg(test)]
mod tests {
    use crate::disk::{Disk, DiskFile, OsDisk};
    use crate::testing::{Home, LAZY, assert_run, payload, regimes, small};
    use crate::{Durability, Io, Writer, WriterOptions};
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;
    use waldo_shm_protocol::names;

    const MIB: u64 = 1 << 20;

    fn roomy(durability: Durability) -> WriterOptions {
        WriterOptions { page_len: 16 * MIB, buffer_len: 256 << 10, ..small(Io::Pwrite, durability) }
    }

    fn page(home: &Home, id: u64) -> Arc<dyn DiskFile> {
        OsDisk::open(home.path()).unwrap().open(&names::page(id)).unwrap()
    }

    fn unwritten(home: &Home, from: u64) -> u64 {
        page(home, 1).next_unwritten(from).unwrap()
    }

    #[test]
    fn a_page_comes_into_being_as_the_log_reaches_it() {
        for (durability, ahead) in [(LAZY, 128 << 10), (Durability::Sync, 256 << 10)] {
            let home = Home::new();
            let mut writer = home.open(&roomy(durability));
            if unwritten(&home, 4096) == 16 * MIB {
                println!("skipped: this file system keeps no account of what was written");
                return;
            }
            // A full disk is met when a page is made, and not when the log gets to its blocks.
            let reserved = std::fs::metadata(home.page(1)).unwrap().blocks() * 512;
            assert!(reserved >= 16 * MIB, "{reserved} bytes are reserved");
            assert_eq!(unwritten(&home, 4096), 4096);
            let mut append = |len: usize| {
                writer.append_payloads(&[vec![0x5a; len]]).unwrap();
                (u64::from(writer.committed().offset()), unwritten(&home, 4096))
            };
            // A short one has zeros behind it, up to where a folio ends, and only the first does.
            assert_eq!(append(100).1, ahead);
            assert_eq!(append(100).1, ahead);
            // A long one has none.
            let (end, written) = append(900 << 10);
            assert!((end..end + 4096).contains(&written), "{end} {written}");
            // A short one behind that has.
            assert_eq!(append(100).1, (end + 148).next_multiple_of(ahead));
            writer.close().unwrap();
        }
    }

    #[test]
    fn a_page_that_is_taken_up_again_goes_on_where_it_was() {
        let home = Home::new();
        let mut writer = home.open(&roomy(LAZY));
        writer.append_payloads(&[[1; 100]]).unwrap();
        let before = unwritten(&home, 4096);
        writer.close().unwrap();
        let mut writer = home.open(&roomy(LAZY));
        assert_eq!(writer.active.page.unwritten(), before);
        writer.append_payloads(&[[1; 100]]).unwrap();
        assert_eq!(unwritten(&home, 4096), before);
        writer.append_payloads(&[vec![1; 200 << 10]]).unwrap();
        writer.append_payloads(&[[1; 100]]).unwrap();
        assert!(unwritten(&home, 4096) >= 256 << 10);
        writer.close().unwrap();
    }

    /// A survey of a page that the log has only begun would otherwise read it to its end.
    #[test]
    fn recovery_brings_nothing_into_being() {
        let (home, killed) = (Home::new(), Home::new());
        let mut writer = home.open(&roomy(LAZY));
        writer.append_payloads(&[[1; 100]]).unwrap();
        // Copied as a program would that knows of holes, while the writer lives: as after a kill.
        for name in [names::META.to_owned(), names::page(1)] {
            let copy = std::fs::File::create(killed.path().join(&name)).unwrap();
            copy.set_len(std::fs::metadata(home.path().join(&name)).unwrap().len()).unwrap();
            let disk = OsDisk::open(home.path()).unwrap();
            let mut head = vec![0; 64 << 10];
            let len = disk.open(&name).unwrap().read_up_to(&mut head, 0).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&copy, &head[..len], 0).unwrap();
        }
        let mut again = killed.open(&roomy(LAZY));
        assert_eq!((again.tip(), again.open_report().clean), (Some(1), false));
        let file = page(&killed, 1);
        if file.next_unwritten(4096).unwrap() < 16 * MIB {
            assert!(!file.cached(MIB, 64 << 10).unwrap());
        }
        again.append_payloads(&[[1; 100]]).unwrap();
        again.close().unwrap();
        writer.close().unwrap();
    }

    /// With everything in flight that can be, pages of several folios, and appends on both sides of each
    /// limit.
    #[test]
    fn zeros_overwrite_nothing() {
        for regime in regimes() {
            let home = Home::new();
            let options = WriterOptions { page_len: MIB, index_capacity: 256, ..regime.clone() };
            let mut writer: Writer = home.open(&options);
            let mut last = 0;
            for step in 0..150 {
                let count = [1, 3, 40, 1, 1, 150][step % 6];
                let batch: Vec<_> = (last + 1..=last + count).map(payload).collect();
                writer.append_payloads(&batch).unwrap();
                last += count;
            }
            writer.close().unwrap();
            assert_run(home.path(), last);
            let mut writer = home.open(&options);
            writer.append_payloads(&[payload(last + 1)]).unwrap();
            writer.close().unwrap();
            assert_run(home.path(), last + 1);
        }
    }
}
