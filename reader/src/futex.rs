//! Sleeping on a word of the control segment.
#![allow(unsafe_code, reason = "the futex system call takes a raw address")]

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while `word` holds `token`, until somebody wakes the word or `timeout` has passed. May return early
/// for no reason at all: the caller looks again.
///
/// Works on read-only shared mappings; FUTEX_PRIVATE_FLAG must not be set, since the waker is another process.
pub(crate) fn wait(word: &AtomicU32, token: u32, timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let none = ptr::null::<u32>();
    // SAFETY: `word` is aligned and mapped for the whole call because a reference to it is held; the kernel only
    // reads it and `timeout`. The last two arguments are unused by FUTEX_WAIT. Every result is treated alike.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, token, &raw const timeout, none, 0)
    };
}

#[cfg(test)]
pub(crate) fn wake_all(word: &AtomicU32) {
    // SAFETY: as above; the kernel uses the address as a key only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
