//! Commands that die in the middle of what they do.

use crate::points::{Point, die_at};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// Has what `command` starts die at its first call of this kind.
pub fn to_die_at(command: &mut Command, point: Point) {
    let number = point.number();
    // SAFETY: between fork and exec nothing but a system call is made that installs the filter.
    #[allow(unsafe_code, reason = "the kernel has to know where the child is to die")]
    unsafe {
        command.pre_exec(move || {
            die_at(number, Duration::ZERO);
            Ok(())
        });
    }
}
