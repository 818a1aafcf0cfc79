//! Whether the disk has room for all of a new ring.
//!
//! A ring makes its pages one by one, as it grows. Without a check, the user of a ring that is too large
//! would learn that months later, when the disk is full. So this is checked before the ring is made.

use crate::units;
use nix::sys::statvfs::statvfs;
use std::path::Path;

/// Pages that are made ready beyond those of the ring.
const AHEAD: u64 = 2;

/// The warning to print if the file system of `home` cannot hold a new ring there when the ring is full.
/// `later` says what happens then.
pub fn shortage(home: &Path, ring_size: u32, page_len: u64, later: &str) -> Option<String> {
    let needed = (u64::from(ring_size) + AHEAD).saturating_mul(page_len);
    // The directory may have to be made, too. What cannot be found out is told when it happens.
    let home = std::path::absolute(home).ok()?;
    let stat = home.ancestors().find_map(|dir| statvfs(dir).ok())?;
    let available = stat.blocks_available().saturating_mul(stat.fragment_size());
    (needed > available).then(|| {
        format!(
            "{} takes up to {} when the ring is full, and its file system has {} left: {later} when that is used up. \
             Make the ring smaller (--ring-size or --size, or later `waldo resize`), or give it more room",
            home.display(),
            units::bytes(needed),
            units::bytes(available)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_with_figures_before_there_is_a_directory() {
        let home = Path::new("/proc/none/such/ring");
        let told = shortage(home, 4, 1 << 20, "appends are refused").unwrap();
        for part in
            ["/proc/none/such/ring takes up to 6.00 MiB", "has 0 B left", "appends are refused", "resize"]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(shortage(Path::new("."), 1, 0, ""), None);
    }
}
