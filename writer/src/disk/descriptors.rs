//! File descriptors are limited (RLIMIT_NOFILE): the soft limit is raised when it is reached, and if that is
//! not enough, the error says what to do.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

/// Calls `open`, which needs a descriptor. If none is left, raises the soft limit to the hard limit and tries
/// again.
pub(crate) fn with_room<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match open() {
        Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {}
        outcome => return outcome,
    }
    if raise() {
        match open() {
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {}
            outcome => return outcome,
        }
    }
    Err(exhausted())
}

/// `false` if the limit is as high as it may be.
fn raise() -> bool {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return false };
    if soft >= hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
        return false;
    }
    tracing::info!("no file descriptor was left of {soft}: the soft limit (RLIMIT_NOFILE) is {hard} now");
    true
}

fn exhausted() -> io::Error {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    let message = format!(
        "this process has all the {limit} files open that it may (RLIMIT_NOFILE): raise the hard limit (`ulimit -Hn`, \
         systemd's LimitNOFILE), or open fewer"
    );
    io::Error::other(message)
}
