//! Giving up rights before anything else happens in a child.
#![allow(unsafe_code, reason = "a seccomp filter is installed with prctl")]

use crate::support::args::Args;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

/// User and group `nobody`.
pub const NOBODY: u32 = 65534;

/// Applies what the parent asked for: `memlock`, `nofile`, `fsize`, `without_uring`, `without_enter`,
/// `without_fallocate`, `umask`, `nobody`, `uid`, with `gid` and `groups` (one more), `dies_at_mode`,
/// `dies_at_group`, `dies_at_flush_of_all`, `dies_at_sleep`.
pub fn restrict(args: &Args) {
    for (name, resource) in [("memlock", Resource::RLIMIT_MEMLOCK), ("fsize", Resource::RLIMIT_FSIZE)] {
        if args.has(name) {
            let limit = args.number(name);
            setrlimit(resource, limit, limit).unwrap();
        }
    }
    if args.has("nofile") {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, args.number("nofile"), hard).unwrap();
    }
    if args.has("without_uring") {
        forbid(libc::SYS_io_uring_setup, libc::EPERM);
    }
    if args.has("without_enter") {
        forbid(libc::SYS_io_uring_enter, args.number("without_enter") as i32);
    }
    if args.has("without_fallocate") {
        // Of pages only: shared memory has it.
        forbid_where(libc::SYS_fallocate, (3, args.number("without_fallocate") as u32), libc::EOPNOTSUPP);
    }
    if args.has("umask") {
        umask(Mode::from_bits_truncate(args.number("umask") as u32));
    }
    let id = |name: &str| args.has(name).then(|| args.number(name) as u32);
    if args.has("nobody") {
        become_user(NOBODY, NOBODY, None);
    }
    if let Some(user) = id("uid") {
        become_user(user, id("gid").unwrap_or(user), id("groups"));
    }
    if let Some(mode) = id("dies_at_mode") {
        die_at(libc::SYS_fchmod, (1, mode));
    }
    if let Some(group) = id("dies_at_group") {
        die_at(libc::SYS_fchown, (2, group));
    }
    if args.has("dies_at_flush_of_all") {
        refuse(libc::SYS_syncfs, libc::SECCOMP_RET_KILL_PROCESS);
    }
    if args.has("dies_at_sleep") {
        for call in [libc::SYS_nanosleep, libc::SYS_clock_nanosleep] {
            refuse(call, libc::SECCOMP_RET_KILL_PROCESS);
        }
    }
}

fn become_user(user: u32, group: u32, more: Option<u32>) {
    let more: Vec<Gid> = more.into_iter().map(Gid::from_raw).collect();
    setgroups(&more).unwrap();
    setgid(Gid::from_raw(group)).unwrap();
    setuid(Uid::from_raw(user)).unwrap();
}

/// From now on the process is killed by the kernel just before it carries out this call.
fn die_at(call: libc::c_long, argument: (u32, u32)) {
    refuse_where(call, argument, libc::SECCOMP_RET_KILL_PROCESS);
}

/// From now on this process's user has no more than `tasks` threads.
pub fn limit_threads(tasks: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC).unwrap();
    setrlimit(Resource::RLIMIT_NPROC, tasks, hard).unwrap();
}

/// From now on a write beyond `len` bytes of a file fails with EFBIG.
pub fn limit_file_length(len: u64) {
    setrlimit(Resource::RLIMIT_FSIZE, len, len).unwrap();
}

/// From now on the system call fails with this error, as io_uring's do in many containers.
fn forbid(call: libc::c_long, errno: i32) {
    refuse(call, libc::SECCOMP_RET_ERRNO | errno as u32);
}

fn refuse(call: libc::c_long, how: u32) {
    let op = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    let load_nr = op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0);
    let is_it = op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, 0, 1);
    let refuse = op(libc::BPF_RET | libc::BPF_K, how, 0, 0);
    let allow = op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0);
    install(&mut [load_nr, is_it, refuse, allow]);
}

/// The same for calls of which the argument with this number has this value.
fn forbid_where(call: libc::c_long, argument: (u32, u32), errno: i32) {
    refuse_where(call, argument, libc::SECCOMP_RET_ERRNO | errno as u32);
}

fn refuse_where(call: libc::c_long, (argument, value): (u32, u32), how: u32) {
    let op = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset: u32| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let is_or_skip = |k: u32, skip: u8| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, 0, skip);
    let refuse = op(libc::BPF_RET | libc::BPF_K, how, 0, 0);
    let allow = op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0);
    // In the kernel's `struct seccomp_data`: the number, and from 16 on the arguments, 8 bytes each.
    let loaded = load(16 + 8 * argument);
    install(&mut [load(0), is_or_skip(call as u32, 3), loaded, is_or_skip(value, 1), refuse, allow]);
}

fn install(filter: &mut [libc::sock_filter]) {
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
