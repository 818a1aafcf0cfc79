//! The control segments of this machine, for whoever looks after it.
//!
//! A segment whose writer was killed stays, so that readers go on at once with the next writer. One whose
//! ring has been removed stays as well, and takes a megabyte of memory until somebody removes it: the next
//! writer of any ring of that user, or [`remove_left_over`].

pub use crate::control::left_over::{RingClaim, SegmentContent, SegmentEntry};

use crate::control::left_over;
use std::io;

/// The POSIX objects that bear the name of a control segment, as far as this user may see them.
///
/// # Errors
/// If `/dev/shm` cannot be read.
pub fn list() -> io::Result<Vec<SegmentEntry>> {
    left_over::list()
}

/// The rings that the control segments of this machine name. None of these is looked at: one that is on a
/// disk which does not answer hides no other.
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

/// Removes the object of this name if it is a control segment of this user, its ring is certainly not at its
/// place any more, and nobody has it open or mapped. All of that is looked at anew. `false` if it stays.
///
/// # Errors
/// What the system says.
pub fn remove_left_over(name: &str) -> io::Result<bool> {
    left_over::remove(name)
}
