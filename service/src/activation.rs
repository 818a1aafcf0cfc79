//! Socket activation: a listening socket that the process was started with, as by systemd.
//!
//! `LISTEN_PID` names the process that is meant, `LISTEN_FDS` how many descriptors there are, from 3 on, and
//! `LISTEN_FDNAMES` their names.
#![expect(unsafe_code, reason = "the descriptors are handed over as numbers, in the environment")]

#[cfg(test)]
mod tests;

use crate::ServiceError;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockType, getsockopt, sockopt};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

/// Relaxed: it guards nothing but itself.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The first descriptor that is handed over.
const FIRST: RawFd = 3;
/// Most descriptors that are looked at: nobody hands over more.
const COUNT_MAX: RawFd = 1024;

fn refuse<T>(reason: impl Into<String>) -> Result<T, ServiceError> {
    Err(ServiceError::Activation { reason: reason.into() })
}

/// A descriptor and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Inherited {
    fd: RawFd,
    name: String,
}

/// The descriptors that the environment names. None if the environment means another process.
fn parse(
    pid: Option<&str>,
    fds: Option<&str>,
    names: Option<&str>,
    own_pid: u32,
) -> Result<Vec<Inherited>, ServiceError> {
    let (Some(pid), Some(fds)) = (pid, fds) else { return Ok(Vec::new()) };
    let Ok(pid) = pid.parse::<u32>() else {
        return refuse(format!("LISTEN_PID is {pid:?}, which is no process"));
    };
    if pid != own_pid {
        return Ok(Vec::new());
    }
    let count = fds.parse::<RawFd>().ok().filter(|count| (0..=COUNT_MAX).contains(count));
    let Some(count) = count else {
        return refuse(format!("LISTEN_FDS is {fds:?}, it must be 0 to {COUNT_MAX}"));
    };
    let mut names = names.unwrap_or_default().split(':');
    let named = |fd| Inherited { fd, name: names.next().unwrap_or_default().to_owned() };
    Ok((FIRST..FIRST + count).map(named).collect())
}

/// Every listening socket that this process was started with, and its name (systemd: `FileDescriptorName=`).
///
/// # Errors
/// [`ServiceError::Activation`]: the variables make no sense, a descriptor is no listening Unix stream
/// socket, or the descriptors were taken before.
pub fn inherited_listeners() -> Result<Vec<(String, UnixListener)>, ServiceError> {
    let all = announced()?;
    if !all.is_empty() && TAKEN.swap(true, Ordering::Relaxed) {
        return refuse("the descriptors have been taken already");
    }
    let take = |Inherited { fd, name }| {
        // SAFETY: whoever started this process gave it the descriptor for this purpose and said so, by the
        // number of this very process; and it is taken once.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok((name, check(fd)?))
    };
    all.into_iter().map(take).collect()
}

/// What this process was started with, by its environment.
fn announced() -> Result<Vec<Inherited>, ServiceError> {
    let variable = |name| std::env::var(name).ok();
    let (pid, fds, names) = (variable("LISTEN_PID"), variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"));
    parse(pid.as_deref(), fds.as_deref(), names.as_deref(), std::process::id())
}

/// The listening socket that this process was started with; `None` if it was not started with any. Of several
/// the one named `name` counts (systemd: `FileDescriptorName=`); of one, its name does not matter.
///
/// # Errors
/// [`ServiceError::Activation`]: the variables make no sense, no descriptor has that name, the descriptor is
/// no listening Unix stream socket, or it was taken before.
pub fn inherited_listener(name: &str) -> Result<Option<UnixListener>, ServiceError> {
    let all = announced()?;
    let found = match all.as_slice() {
        [] => return Ok(None),
        [one] => one,
        several => match several.iter().find(|one| one.name == name) {
            Some(one) => one,
            None => return refuse(format!("none of {} descriptors is named {name:?}", several.len())),
        },
    };
    if TAKEN.swap(true, Ordering::Relaxed) {
        return refuse("the descriptor has been taken already");
    }
    // SAFETY: whoever started this process gave it the descriptor for this purpose and said so, by the number
    // of this very process; and it is taken once.
    let fd = unsafe { OwnedFd::from_raw_fd(found.fd) };
    check(fd).map(Some)
}

fn check(fd: OwnedFd) -> Result<UnixListener, ServiceError> {
    let reason = match getsockopt(&fd, sockopt::SockType) {
        Err(error) => format!("descriptor is no socket ({error})"),
        Ok(kind) if kind != SockType::Stream => "the socket is no stream socket (ListenStream=)".into(),
        Ok(_) if !matches!(getsockopt(&fd, sockopt::AcceptConn), Ok(true)) => {
            "the socket does not listen (systemd: Accept=no)".into()
        }
        Ok(_) => match is_unix(&fd) {
            true => {
                // Children of this process are not to hold it.
                if let Err(error) = fcntl(fd.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)) {
                    return refuse(format!("the descriptor cannot be kept from children ({error})"));
                }
                return Ok(UnixListener::from(fd));
            }
            false => "the socket is no Unix socket (ListenStream= with a path)".into(),
        },
    };
    // A number that is not open must not be closed: it is somebody else's by then.
    std::mem::forget(fd);
    refuse(reason)
}

fn is_unix(fd: &OwnedFd) -> bool {
    use nix::sys::socket::{SockaddrLike, SockaddrStorage, getsockname};
    use std::os::fd::AsRawFd;
    getsockname::<SockaddrStorage>(fd.as_raw_fd())
        .is_ok_and(|address| address.family() == Some(AddressFamily::Unix))
}
