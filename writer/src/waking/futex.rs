//! Waking sleepers on a word, in this process or others.

#![allow(unsafe_code, reason = "one system call without a safe wrapper")]

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use waldo_shm_protocol::segment::wake_bit;

/// Wakes up to `limit` sleepers on `word`, in any process, that fell asleep before the word got its present
/// value; returns how many.
///
/// Readers that have looked since and sleep again are not woken. Otherwise waking many readers in groups
/// would never end: the first ones are asleep again before the last ones are awake.
pub(crate) fn wake(word: &AtomicU32, limit: i32) -> usize {
    // Relaxed: this thread has changed the word, or the thread that did wakes too. With a later value, more
    // sleepers are woken, not fewer.
    let not_now = !wake_bit(word.load(Ordering::Relaxed));
    let none = ptr::null::<u32>();
    // SAFETY: FUTEX_WAKE_BITSET takes the address only as a key; `word` is a live reference. Timeout and
    // second word are unused.
    let woken = unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE_BITSET, limit, none, none, not_now)
    };
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use std::thread;
    use std::time::Instant;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// Sleeps on `word` as readers do, in a thread that the channel tells of first.
    pub(crate) fn sleep(word: &AtomicU32, tell: Sender<i32>) {
        let token = word.load(Ordering::Relaxed);
        tell.send(nix::unistd::gettid().as_raw()).unwrap();
        let none = ptr::null::<u32>();
        // SAFETY: a live word; without a timeout and a second word.
        unsafe {
            let op = libc::FUTEX_WAIT_BITSET;
            libc::syscall(libc::SYS_futex, word.as_ptr(), op, token, none, none, wake_bit(token))
        };
    }

    /// Also returns if the thread has ended: another thread has changed the word, and this one did not fall
    /// asleep.
    pub(crate) fn wait_until_asleep(thread: i32) {
        let start = Instant::now();
        let stat = format!("/proc/self/task/{thread}/stat");
        let asleep = |stat: String| stat.rsplit_once(") ").unwrap().1.starts_with('S');
        while !std::fs::read_to_string(&stat).map_or(true, asleep) {
            assert!(start.elapsed() < DEADLINE);
            thread::yield_now();
        }
    }

    #[test]
    fn who_has_looked_since_the_change_is_not_woken_again() {
        let word = AtomicU32::new(u32::MAX - 20);
        thread::scope(|scope| {
            // More changes than there are bits, across the wrap-around of the value.
            for _ in 0..70 {
                let (tell, told) = channel();
                let (word, also) = (&word, tell.clone());
                let early = scope.spawn(move || sleep(word, also));
                wait_until_asleep(told.recv().unwrap());
                word.fetch_add(1, Ordering::Relaxed);
                let late = scope.spawn(move || sleep(word, tell));
                wait_until_asleep(told.recv().unwrap());
                assert_eq!(wake(word, 8), 1);
                early.join().unwrap();
                assert_eq!(wake(word, 8), 0, "the late one");
                assert!(!late.is_finished());
                word.fetch_add(1, Ordering::Relaxed);
                assert_eq!(wake(word, 8), 1);
                late.join().unwrap();
            }
        });
    }
}
