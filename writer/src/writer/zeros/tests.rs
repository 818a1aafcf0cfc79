//! What is there of a page, and when.

use crate::disk::faulty::FaultyDisk;
use crate::disk::{Disk, DiskFile, FileRights, OsDisk};
use crate::testing::{Home, LAZY, assert_run, payload, regimes, small};
use crate::{Durability, Io, Writer, WriterOptions};
use nix::fcntl::{FallocateFlags, fallocate};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use waldo_shm_protocol::names;

const MIB: u64 = 1 << 20;

fn roomy(durability: Durability) -> WriterOptions {
    WriterOptions { page_len: 16 * MIB, buffer_len: 256 << 10, ..small(Io::Pwrite, durability) }
}

fn page(home: &Home, id: u64) -> Arc<dyn DiskFile> {
    OsDisk::open(home.path()).unwrap().open(&names::page(id)).unwrap()
}

/// Whether the file system tells blocks that are reserved from blocks that were written.
fn tells_of_holes(home: &Home) -> bool {
    let disk = OsDisk::open(home.path()).unwrap();
    let file = disk.create("scratch-probe", FileRights::PRIVATE).unwrap();
    file.allocate(MIB).unwrap();
    let found = file.next_unwritten(0).unwrap();
    disk.remove("scratch-probe").unwrap();
    found == 0
}

fn unwritten(home: &Home, from: u64) -> u64 {
    page(home, 1).next_unwritten(from).unwrap()
}

#[test]
fn a_page_comes_into_being_as_the_log_reaches_it() {
    for (durability, ahead) in [(LAZY, 128 << 10), (Durability::Sync, 256 << 10)] {
        let home = Home::new();
        let mut writer = home.open(&roomy(durability));
        if !tells_of_holes(&home) {
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

fn reserved(home: &Home, id: u64) -> u64 {
    std::fs::metadata(home.page(id)).unwrap().blocks() * 512
}

/// A survey of a page that the log has only begun would otherwise read it to its end, and what was read
/// counts as written. A program that copies a ring leaves holes where there were blocks.
#[test]
fn recovery_brings_nothing_into_being_and_reserves_what_a_copy_lacks() {
    for blocks in [true, false] {
        let (home, killed) = (Home::new(), Home::new());
        let mut writer = home.open(&roomy(LAZY));
        if !tells_of_holes(&home) {
            println!("skipped: this file system keeps no account of what was written");
            return;
        }
        writer.append_payloads(&[[1; 100]]).unwrap();
        // Copied while the writer lives: as after a kill.
        for name in [names::META.to_owned(), names::page(1)] {
            let copy = OsDisk::open(killed.path()).unwrap().create(&name, FileRights::PRIVATE).unwrap();
            let original = OsDisk::open(home.path()).unwrap().open(&name).unwrap();
            let mut head = vec![0; 64 << 10];
            let len = original.read_up_to(&mut head, 0).unwrap();
            copy.write_all_at(&head[..len], 0).unwrap();
            match blocks {
                true => drop(copy.allocate(original.size().unwrap()).unwrap()),
                false => {
                    let file = std::fs::OpenOptions::new().write(true).open(killed.path().join(&name));
                    file.unwrap().set_len(original.size().unwrap()).unwrap();
                }
            }
        }
        assert_eq!(reserved(&killed, 1) >= 16 * MIB, blocks);
        let mut again = killed.open(&roomy(LAZY));
        assert_eq!((again.tip(), again.open_report().clean), (Some(1), false));
        assert!(unwritten(&killed, 4096) < MIB, "{} bytes are there", unwritten(&killed, 4096));
        assert!(reserved(&killed, 1) >= 16 * MIB, "a full disk would be met by an append");
        again.append_payloads(&[[1; 100]]).unwrap();
        again.close().unwrap();
        writer.close().unwrap();
    }
}

#[test]
fn a_page_is_recycled_with_all_its_blocks() {
    let home = Home::new();
    let options = WriterOptions { ring_size: 2, page_len: MIB, ..roomy(LAZY) };
    let mut writer = home.open(&options);
    let mut append_to = |page: u64| {
        while writer.committed().page() < page {
            writer.append_payloads(&[vec![1; 10_000]]).unwrap();
            let now = writer.committed().page();
            for id in now.max(2)..=now + 2 {
                // It may be gone by now, or not be there yet.
                let blocks = std::fs::metadata(home.page(id)).map_or(MIB, |found| found.blocks() * 512);
                assert!(blocks >= MIB, "page {id} has {blocks} bytes");
            }
        }
    };
    append_to(2);
    let first = std::fs::OpenOptions::new().write(true).open(home.page(1)).unwrap();
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    if fallocate(&first, flags, 8192, 900 << 10).is_err() {
        println!("skipped: no holes can be made on this file system");
        return;
    }
    drop(first);
    append_to(8);
    writer.close().unwrap();
}

#[test]
fn zeros_that_find_no_room_stop_nobody() {
    for durability in [LAZY, Durability::Sync] {
        let home = Home::new();
        let disk = FaultyDisk::open(home.path());
        let faults = Arc::clone(&disk.faults);
        let mut writer = Writer::open_on(home.path(), Arc::new(disk), roomy(durability)).unwrap();
        faults.zeros.store(libc::ENOSPC as u64, Ordering::Relaxed);
        for seq_no in 1..=20 {
            writer.append_payloads(&[payload(seq_no)]).unwrap();
        }
        faults.zeros.store(0, Ordering::Relaxed);
        writer.close().unwrap();
        assert_run(home.path(), 20);
    }
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
