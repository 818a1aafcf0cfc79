//! A process that forks after its first stream, and whose child goes on with that stream and with a new one.
#![allow(unsafe_code, reason = "fork")]

use crate::support::args::Args;
use crate::support::child::tell;
use crate::support::ring::attach;
use futures_util::{FutureExt, StreamExt};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::path::Path;
use waldo::reader::{Batches, Cursor};

/// Argument: `home`. Says `parent N` for record 1, from a stream; then forks, and the child says `child N N`
/// for record 2, from the stream that it has inherited and from a new one.
pub fn play(args: &Args) {
    let ring = attach(Path::new(args.get("home")));
    let mut inherited = ring.reader(Cursor::After(0)).unwrap().into_stream();
    tell(format!("parent {}", next(&mut inherited)));
    // It waits now, so the thread that would wake it runs, in this process.
    assert!(inherited.next().now_or_never().is_none());
    // SAFETY: the other threads of this process, the test harness and the one that waits for streams, hold no
    // lock that the child takes: the first waits for this thread, the second is started anew.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).unwrap();
            let mut new = ring.reader(Cursor::After(1)).unwrap().into_stream();
            tell(format!("child {} {}", next(&mut inherited), next(&mut new)));
            // SAFETY: ends the process without the exit handlers, which are the parent's.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        }
    }
}

fn next(batches: &mut Batches) -> u64 {
    pollster::block_on(batches.next()).unwrap().unwrap().last_seq_no()
}
