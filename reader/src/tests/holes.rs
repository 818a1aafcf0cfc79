//! Pages whose blocks are reserved and not written yet.

use crate::Cursor;
use crate::source::Source;
use crate::source::files::survey::Bytes;
use crate::testing::{Forge, drain};
use crate::verify::verify;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;
use waldo_shm_protocol::recovery::PageBytes;

const PAGE: u64 = 16 << 20;

/// What is read there is in the page cache then, in front of the writer, in folios in which its short appends
/// are slow; and it counts as written.
#[test]
fn readers_of_the_files_bring_nothing_into_being() {
    for live in [false, true] {
        let mut forge = if live { Forge::live(PAGE, 4) } else { Forge::new(PAGE, 4) };
        forge.append_n(5);
        let page = OpenOptions::new().write(true).open(forge.page_path(1)).unwrap();
        if fallocate(&page, FallocateFlags::empty(), 0, PAGE as i64).is_err() {
            println!("skipped: blocks cannot be reserved on this file system");
            return;
        }
        let unwritten = || {
            let page = File::open(forge.page_path(1)).unwrap();
            Bytes(page).next_unwritten(PAGE_HEADER_LEN as u64).unwrap()
        };
        let before = unwritten();
        if before == PAGE {
            println!("skipped: this file system keeps no account of what was written");
            return;
        }
        let ring = forge.attach();
        assert_eq!(drain(&mut ring.reader(Cursor::Oldest).unwrap()), [1, 2, 3, 4, 5]);
        if let Source::Files(files) = &ring.inner.current().source {
            // The second time it looks what stands behind the end.
            assert!(!files.look().unwrap() && !files.look().unwrap());
        }
        assert_eq!(unwritten(), before, "by a reader, live: {live}");
        verify(forge.home(), &mut |_| {}).unwrap();
        assert_eq!(unwritten(), before, "by verification, live: {live}");
    }
}
