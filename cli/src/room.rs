//! Whether the disk has room for all of a ring that is made.
//!
//! A ring takes its pages one by one, as it grows. Whoever makes one that does not fit hears of it months
//! later, when the disk is full: better when it is made.

use nix::sys::statvfs::statvfs;
use std::path::Path;
use waldo_terminal::{notice, units};

/// Pages that are made ready beyond those of the ring.
const AHEAD: u64 = 2;

/// Says so if the file system of the ring that has been made in `home` cannot hold it when it is full.
pub fn tell_if_short(home: &Path, ring_size: u32, page_len: u64) {
    let needed = (u64::from(ring_size) + AHEAD).saturating_mul(page_len);
    // What cannot be found out is told when it happens.
    let Ok(stat) = statvfs(home) else { return };
    let available = stat.blocks_available().saturating_mul(stat.fragment_size());
    // The first pages are there.
    if needed.saturating_sub(AHEAD.saturating_mul(page_len)) > available {
        notice!(
            "waldo: {} takes up to {} when the ring is full, and its file system has {} left: appends will be refused \
             when that is used up; make the ring smaller with `waldo resize`",
            home.display(),
            units::bytes(needed),
            units::bytes(available)
        );
    }
}
