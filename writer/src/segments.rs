//! The control segments of this machine, for its administration.
//!
//! A segment whose writer was killed stays, so that readers continue at once with the next writer. A segment
//! whose ring has been removed stays as well, and takes a megabyte of memory until it is removed by the next
//! writer of any ring of that user, or by [`remove_left_over`].

pub use crate::control::left_over::{RingClaim, SegmentContent, SegmentEntry};

use crate::control::left_over;
use std::io;

/// The POSIX objects with the name of a control segment, as far as this user may see them.
///
/// # Errors
/// If `/dev/shm` cannot be read.
pub fn list() -> io::Result<Vec<SegmentEntry>> {
    left_over::list()
}

/// The rings that the control segments of this machine name. The rings themselves are not looked at, so a
/// ring on a disk that does not answer does not hide the others.
///
/// # Errors
/// If `/dev/shm` cannot be read.
pub fn claims() -> io::Result<Vec<RingClaim>> {
    left_over::claims()
}

/// Whether [`remove_left_over`] would remove the object of this name.
///
/// # Errors
/// What the system says.
pub fn is_left_over(name: &str) -> io::Result<bool> {
    left_over::is_left_over(name)
}

/// Removes the object of this name if it is a control segment of this user, its ring is certainly no longer
/// at its place, and no process has the segment open or mapped. All of that is checked again. `false` if the
/// segment stays.
///
/// # Errors
/// What the system says.
pub fn remove_left_over(name: &str) -> io::Result<bool> {
    left_over::remove(name)
}
