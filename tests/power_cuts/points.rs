//! Death at a point that has a name: the process is killed at its next system call of a kind, just before the
//! call is carried out.
//!
//! The kernel does that (a seccomp filter), so nothing of it is in the writer. What goes through io_uring is
//! not seen.
#![allow(unsafe_code, reason = "a seccomp filter is installed with a bare system call")]

use nix::libc;
use std::thread;
use std::time::Duration;

/// A point in what a writer does to its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A page gets its name, or loses it; the link is replaced.
    Rename,
    /// A page is let go of, a left-over is removed.
    Remove,
    /// A trimmed page is to be proven unshared.
    Lease,
    /// The header of a page is written, or made dead; a slot of the metadata.
    Header,
    /// A file's content is made durable.
    Flush,
    /// A directory is made durable.
    FlushDirectory,
    /// A durable append.
    DurableWrite,
    /// A page is made.
    Allocate,
}

impl Point {
    pub const ALL: [Point; 8] = [
        Point::Rename,
        Point::Remove,
        Point::Lease,
        Point::Header,
        Point::Flush,
        Point::FlushDirectory,
        Point::DurableWrite,
        Point::Allocate,
    ];

    /// As an argument of a child.
    pub fn number(self) -> usize {
        Point::ALL.iter().position(|point| *point == self).unwrap_or(0)
    }

    /// The system calls, each with an argument and the value that it must have, if any.
    fn calls(self) -> Vec<(libc::c_long, Option<(u32, u32)>)> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Point::Rename => {
                vec![(libc::SYS_rename, None), (libc::SYS_renameat, None), (libc::SYS_renameat2, None)]
            }
            #[cfg(not(target_arch = "x86_64"))]
            Point::Rename => vec![(libc::SYS_renameat, None), (libc::SYS_renameat2, None)],
            #[cfg(target_arch = "x86_64")]
            Point::Remove => vec![(libc::SYS_unlink, None), (libc::SYS_unlinkat, None)],
            #[cfg(not(target_arch = "x86_64"))]
            Point::Remove => vec![(libc::SYS_unlinkat, None)],
            Point::Lease => vec![(libc::SYS_fcntl, Some((1, libc::F_SETLEASE as u32)))],
            // At offset 0.
            Point::Header => vec![(libc::SYS_pwrite64, Some((3, 0)))],
            Point::Flush => vec![(libc::SYS_fdatasync, None)],
            Point::FlushDirectory => vec![(libc::SYS_fsync, None)],
            Point::DurableWrite => vec![(libc::SYS_pwritev2, None)],
            Point::Allocate => vec![(libc::SYS_fallocate, None)],
        }
    }
}

/// From `delay` on, this process dies at `point`.
pub fn die_at(point: usize, delay: Duration) {
    let point = Point::ALL[point % Point::ALL.len()];
    if delay.is_zero() {
        return install(point);
    }
    thread::spawn(move || {
        thread::sleep(delay);
        install(point);
    });
}

fn install(point: Point) {
    let op = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |at: u32| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0, 0);
    let equal = |k: u32, jt, jf| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, jt, jf);
    let end = |how: u32| op(libc::BPF_RET | libc::BPF_K, how, 0, 0);
    let mut filter = Vec::new();
    for (call, argument) in point.calls() {
        filter.push(load(0));
        match argument {
            None => filter.push(equal(call as u32, 0, 1)),
            Some((number, value)) => {
                filter.push(equal(call as u32, 0, 3));
                // The lower half of an argument; those that are looked at fit.
                filter.push(load(16 + 8 * number));
                filter.push(equal(value, 0, 1));
            }
        }
        filter.push(end(libc::SECCOMP_RET_KILL_PROCESS));
    }
    filter.push(end(libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: passes integers only.
    let outcome = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    // For all threads: the writer has several.
    // SAFETY: `program` describes `filter`; both live through the call, which copies them.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        )
    };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}
