//! Giving up rights before anything else happens in a child.
#![allow(unsafe_code, reason = "a seccomp filter is installed with prctl")]

use crate::support::args::Args;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

/// User and group `nobody`.
pub const NOBODY: u32 = 65534;

/// Applies what the parent asked for: `memlock`, `without_uring`, `nobody`.
pub fn restrict(args: &Args) {
    // Blocked before there are other threads: the signal that comes with EFBIG must not end the process.
    let mut set = SigSet::empty();
    set.add(Signal::SIGXFSZ);
    set.thread_block().unwrap();
    if args.has("memlock") {
        let limit = args.number("memlock");
        setrlimit(Resource::RLIMIT_MEMLOCK, limit, limit).unwrap();
    }
    if args.has("without_uring") {
        forbid_uring();
    }
    if args.has("nobody") {
        setgroups(&[]).unwrap();
        setgid(Gid::from_raw(NOBODY)).unwrap();
        setuid(Uid::from_raw(NOBODY)).unwrap();
    }
}

/// From now on a write beyond `len` bytes of a file fails with EFBIG.
pub fn limit_file_length(len: u64) {
    setrlimit(Resource::RLIMIT_FSIZE, len, len).unwrap();
}

/// From now on `io_uring_setup` fails with EPERM, as it does in many containers.
fn forbid_uring() {
    let op = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    let load_nr = op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0);
    let is_setup = op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_io_uring_setup as u32, 0, 1);
    let refuse = op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0);
    let allow = op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0);
    let mut filter = [load_nr, is_setup, refuse, allow];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: passes integers only.
    let outcome = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    // For all threads: the test harness runs this in one of several.
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
