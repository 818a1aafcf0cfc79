//! Sleeping on a word of the control segment.
#![allow(unsafe_code, reason = "the futex system call takes a raw address")]

use crate::clock;
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;
use waldo_shm_protocol::segment::wake_bit;

/// Sleeps while `word` holds `token`, until a thread wakes the word or `timeout` has passed. May return early
/// without a reason: the caller looks again.
///
/// The bitset of the wait says which value the reader sleeps on, so that a wake for sleepers on earlier
/// values does not wake it. Works on read-only shared mappings; FUTEX_PRIVATE_FLAG must not be set, since the
/// waker is another process.
pub(crate) fn wait(word: &AtomicU32, token: u32, timeout: Duration) {
    // This kind of wait takes a time of day, by the clock that does not jump.
    let until = clock::monotonic().saturating_add(timeout);
    let until = libc::timespec {
        tv_sec: libc::time_t::try_from(until.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: until.subsec_nanos().into(),
    };
    let none = ptr::null::<u32>();
    let op = libc::FUTEX_WAIT_BITSET;
    // SAFETY: `word` is aligned and mapped for the whole call because a reference to it is held; the kernel
    // only reads it and `until`. The second word is unused by FUTEX_WAIT_BITSET. Every result is treated
    // alike.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), op, token, &raw const until, none, wake_bit(token))
    };
}

#[cfg(test)]
pub(crate) fn wake_all(word: &AtomicU32) {
    // SAFETY: as above; the kernel uses the address as a key only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
