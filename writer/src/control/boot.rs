//! Which boot of the machine this is.
//!
//! The boot id proves one thing: that a segment on a disk was made since the machine was started, so that its
//! heartbeat is a time of this boot's clock. A segment on a tmpfs cannot outlive a reboot and needs no such
//! proof. So where no boot id can be read (`/proc` missing, hidden or mounted over), only a segment on a disk
//! is given up.

use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use std::fs::File;
use std::io::Read;

/// The boot id in a segment whose writer could not read one.
pub(super) const UNKNOWN: [u8; 16] = [0; 16];

/// The kernel's boot id as sixteen bytes; [`UNKNOWN`] if it cannot be read.
pub(super) fn boot_id() -> [u8; 16] {
    read().unwrap_or_else(|| {
        tracing::info!(
            "there is no /proc/sys/kernel/random/boot_id here; a control segment on a disk is made anew"
        );
        UNKNOWN
    })
}

fn read() -> Option<[u8; 16]> {
    let mut text = String::new();
    File::open("/proc/sys/kernel/random/boot_id").ok()?.take(64).read_to_string(&mut text).ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).ok()?;
    Some(number.to_be_bytes())
}

/// Whether a segment with boot id `then` was made in this boot, whose id is `now`.
pub(super) fn same_boot(file: &File, then: [u8; 16], now: [u8; 16]) -> bool {
    then == now && (now != UNKNOWN || in_memory(file))
}

/// Whether the file's content is lost when the machine stops.
pub(super) fn in_memory(file: &File) -> bool {
    const RAMFS: FsType = FsType(0x8584_58f6);
    fstatfs(file).is_ok_and(|found| [TMPFS_MAGIC, RAMFS].contains(&found.filesystem_type()))
}
