//! Waking sleepers on a word, in this process or others.

#![allow(unsafe_code, reason = "one system call without a safe wrapper")]

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Wakes up to `limit` sleepers on `word`, in any process; returns how many.
pub(crate) fn wake(word: &AtomicU32, limit: i32) -> usize {
    // SAFETY: FUTEX_WAKE takes the address only as a key; `word` is a live reference.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, limit) };
    usize::try_from(woken).unwrap_or(0)
}

/// Sleeps while `word` holds `expected`, for `timeout` at most.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs().min(1 << 30) as libc::time_t,
        tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
    };
    // SAFETY: `word` is a live, aligned u32 and `timeout` lives through the call. Every outcome, errors
    // included, means "look again" to the caller.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, &timeout) };
}
