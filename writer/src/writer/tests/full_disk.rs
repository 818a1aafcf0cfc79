//! A ring that goes on where the disk is full.

use super::*;
use crate::{OnFull, Position};

const RING_SIZE: u32 = 8;

struct Written {
    writer: Writer,
    tip: u64,
}

impl Written {
    fn up_to_page(&mut self, page: u64) {
        while self.writer.committed().page() < page {
            self.writer.append_payloads(&payloads(self.tip + 1..=self.tip + 10)).unwrap();
            self.tip += 10;
        }
    }
}

fn pages(home: &Home) -> usize {
    home.names().iter().filter(|name| waldo_shm_protocol::names::parse_page(name).is_some()).count()
}

#[test]
fn a_ring_that_drops_its_oldest_goes_on_and_grows_again_when_there_is_room() {
    for options in regimes() {
        let home = Home::new();
        let options = WriterOptions { on_full: OnFull::DropOldest, ring_size: RING_SIZE, ..options };
        let (writer, faults) = faulty_with(&home, options.clone());
        let mut written = Written { writer, tip: 0 };
        written.up_to_page(5);
        assert_eq!(counter(&written.writer, Counter::FullDiskTrims), 0);
        faults.create.store(libc::ENOSPC as u64, Ordering::Relaxed);
        written.up_to_page(40);
        let early = counter(&written.writer, Counter::FullDiskTrims);
        assert!(early >= 25, "{options:?}: {early}");
        assert_run(home.path(), written.tip);
        // Only what a full disk says.
        assert!(written.writer.core.pages_max() < RING_SIZE as usize);
        faults.create.store(0, Ordering::Relaxed);
        written.up_to_page(100);
        assert_eq!(written.writer.core.pages_max(), RING_SIZE as usize);
        assert!(pages(&home) >= RING_SIZE as usize, "{options:?}: {}", pages(&home));
        assert_run(home.path(), written.tip);
        written.writer.close().unwrap();
        let (writer, _) = faulty_with(&home, options);
        assert_eq!(writer.tip(), Some(written.tip));
    }
}

/// Where a page's name, or its header, finds no room, that is a full disk too.
#[test]
fn a_ring_that_drops_its_oldest_goes_on_where_only_a_page_s_name_finds_no_room() {
    for options in regimes() {
        let home = Home::new();
        let options = WriterOptions { on_full: OnFull::DropOldest, ring_size: RING_SIZE, ..options };
        let (writer, faults) = faulty_with(&home, options.clone());
        let mut written = Written { writer, tip: 0 };
        faults.pages_max.store(5, Ordering::Relaxed);
        written.up_to_page(40);
        let early = counter(&written.writer, Counter::FullDiskTrims);
        assert!(early >= 25 && pages(&home) <= 5, "{options:?}: {early}, {}", pages(&home));
        assert!(pages(&home) >= 3, "{options:?}: {}", pages(&home));
        assert_run(home.path(), written.tip);
        faults.pages_max.store(0, Ordering::Relaxed);
        written.up_to_page(80);
        assert_eq!(written.writer.core.pages_max(), RING_SIZE as usize);
        written.writer.close().unwrap();
        let (writer, _) = faulty_with(&home, options);
        assert_eq!(writer.tip(), Some(written.tip));
    }
}

/// Another error says nothing about room, and a ring of two files has none to give up. A ring that is to stop
/// gives up nothing.
#[test]
fn only_a_full_disk_makes_the_ring_smaller_and_only_if_that_leaves_a_ring() {
    use OnFull::{DropOldest, Stop};
    for (page, errno, on_full) in [
        (5, libc::EIO, DropOldest),
        (5, libc::EMFILE, DropOldest),
        (1, libc::ENOSPC, DropOldest),
        (5, libc::ENOSPC, Stop),
    ] {
        for prepare_ahead in [true, false] {
            let home = Home::new();
            let options = WriterOptions { prepare_ahead, on_full, ..small(Io::Pwrite, Durability::Sync) };
            let (writer, faults) = faulty_with(&home, WriterOptions { ring_size: RING_SIZE, ..options });
            let mut written = Written { writer, tip: 0 };
            written.up_to_page(page);
            faults.create.store(errno as u64, Ordering::Relaxed);
            let error = loop {
                match written.writer.append_payloads(&payloads(written.tip + 1..=written.tip + 10)) {
                    Ok(_) => written.tip += 10,
                    Err(error) => break error,
                }
                assert!(written.tip < 10_000);
            };
            assert!(matches!(&error, AppendError::NoPage { cause, .. } if cause.errno() == errno), "{error}");
            assert_eq!(counter(&written.writer, Counter::TrimmedPages), 0, "{errno}");
            assert!(written.writer.committed() > Position::NONE);
        }
    }
}
