//! How files become pages where the disk can do little, and what is written to them before the log comes.

use super::*;
use crate::disk::faulty::{Faults, FaultyDisk};
use crate::testing::Home;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Not a multiple of the pieces that zeros are written in.
const PAGE_LEN: u64 = 2 * ZERO_PIECE as u64 + (32 << 10);

struct Tested {
    home: Home,
    disk: FaultyDisk,
    faults: Arc<Faults>,
    template: PageTemplate,
}

fn tested(durable: bool) -> Tested {
    let home = Home::new();
    let disk = FaultyDisk::open(home.path());
    let faults = Arc::clone(&disk.faults);
    let geometry = PageGeometry::new(PAGE_LEN, 16).unwrap();
    let rights = FileRights::PRIVATE;
    let template = PageTemplate { ring_id: [7; 16], geometry, epoch: 1, rights, durable };
    Tested { home, disk, faults, template }
}

impl Tested {
    fn names(&self) -> Vec<String> {
        self.home.content().into_iter().map(|(name, _)| name).collect()
    }

    fn syncs(&self) -> u64 {
        self.faults.syncs.load(Ordering::Relaxed)
    }
}

/// A full disk is met when the page is made, and not when the log gets there.
#[test]
fn where_no_blocks_can_be_reserved_zeros_take_the_room() {
    for durable in [true, false] {
        let tested = tested(durable);
        tested.faults.no_blocks.store(true, Ordering::Relaxed);
        let blank = tested.template.blank(&tested.disk, 1).unwrap();
        let found = fs::metadata(tested.home.path().join(&blank.scratch)).unwrap();
        assert_eq!(found.len(), PAGE_LEN);
        assert!(found.blocks() * 512 >= PAGE_LEN, "{} bytes are taken", found.blocks() * 512);
        assert_eq!(blank.unwritten, u64::MAX, "all of it was written");
        // It is done now, when nobody waits for it.
        assert_eq!(tested.syncs(), u64::from(durable));
        let page = tested.template.name(&tested.disk, 3, blank).unwrap();
        assert_eq!((page.unwritten(), tested.syncs()), (u64::MAX, 2 * u64::from(durable)));
    }
}

#[test]
fn what_of_a_page_that_is_used_again_has_left_the_page_cache_becomes_zeros_and_the_rest_stays() {
    let piece = ZERO_PIECE as u64;
    let evictions = [None, Some(0..1), Some(piece..piece + 1), Some(2 * piece..PAGE_LEN), Some(0..PAGE_LEN)];
    for evicted in evictions {
        for durable in [true, false] {
            let tested = tested(durable);
            let file = tested.disk.create("fresh-1", FileRights::PRIVATE).unwrap();
            file.write_all_at(&vec![0x5a; PAGE_LEN as usize], 0).unwrap();
            tested.faults.evicted.lock().extend(evicted.clone());
            assert_eq!(tested.template.rezero(&*file).unwrap(), PAGE_LEN, "all of it was written once");
            let content = fs::read(tested.home.path().join("fresh-1")).unwrap();
            assert_eq!(content.len() as u64, PAGE_LEN);
            for (n, found) in content.chunks(ZERO_PIECE).enumerate() {
                let (from, to) = (n as u64 * piece, (n as u64 + 1) * piece);
                let gone = evicted.iter().any(|range| range.start < to && from < range.end);
                let mut expected = vec![if gone { 0 } else { 0x5a }; found.len()];
                if gone && n == 0 {
                    let retired = PageHeader::retired_bytes();
                    expected[..retired.len()].copy_from_slice(&retired);
                }
                assert!(found == expected, "piece {n} where {evicted:?} had been evicted");
            }
            assert_eq!(tested.syncs(), u64::from(durable && evicted.is_some()), "{evicted:?}");
        }
    }
}

#[test]
fn a_page_that_cannot_be_made_leaves_no_file_behind() {
    let tested = tested(true);
    tested.faults.no_blocks.store(true, Ordering::Relaxed);
    tested.faults.zeros.store(libc::ENOSPC as u64, Ordering::Relaxed);
    let error = tested.template.fresh(&tested.disk, 1).err().unwrap();
    assert_eq!((error.raw_os_error(), tested.names()), (Some(libc::ENOSPC), vec![]));
    tested.faults.zeros.store(0, Ordering::Relaxed);

    let blank = tested.template.blank(&tested.disk, 1).unwrap();
    tested.faults.sync.store(libc::EIO as u64, Ordering::Relaxed);
    let error = tested.template.name(&tested.disk, 1, blank).err().unwrap();
    assert_eq!((error.raw_os_error(), tested.names()), (Some(libc::EIO), vec![]));
}
