//! Making the listening socket, with its mode and group from the first moment on, and without taking a path
//! from a service that lives.
//!
//! ```text
//!   bind PATH.XXXXXXXX, set mode and group, listen --> rename to PATH, if nothing is there
//!                                                     | something is
//!                                                     v
//!                                  connect to it: answered --> held by a live service
//!                                                 refused  --> exchange the two, look again, remove the old
//! ```
//!
//! That nobody answers proves that a socket is left over: the kernel refuses a connection to a socket that no
//! process listens on. The number of a process would prove nothing. The first name is one that nobody else
//! uses: of two services that start at once, one would find the other's socket there before it listens.

#[cfg(test)]
mod tests;

use crate::{ServiceError, ServiceOptions};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::socket::bind as bind_to;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, listen, socket};
use nix::unistd::{Gid, chown};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use waldo::client::connect_at_once;
use waldo::writer::group_id;

/// Longest path in bytes: what the system allows, less the end of the path that is used at first.
const PATH_LEN_MAX: usize = 107 - SUFFIX_LEN;
/// Bytes of that end: a point and eight digits.
const SUFFIX_LEN: usize = 9;

/// A listening socket, and where it is.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) file: SocketFile,
    pub(crate) listener: UnixListener,
}

/// The socket's file. Removed when dropped, unless another one is there by then. To be dropped before the
/// listener: as long as that is open, nobody takes the path for left over, and no other file can have the
/// same number.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            // Left over, it will be replaced.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Who is at a path.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// A socket that nobody listens on.
    LeftOver,
}

fn socket_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ServiceError {
    let path = path.to_owned();
    move |source| ServiceError::Socket { action, path, source }
}

/// Makes the socket at `path`.
pub(crate) fn bind(path: &Path, options: &ServiceOptions) -> Result<Bound, ServiceError> {
    check_path(path)?;
    let group = options.group.as_deref().map(find_group).transpose()?;
    check_directory(path)?;
    look(path)?;
    let (socket, mut file) = bind_beside(path)?;
    prepare(&file.path, options.mode, group)?;
    // Nobody can connect before.
    listen(&socket, Backlog::MAXCONN).map_err(|errno| socket_error("listen on", path)(errno.into()))?;
    install(&file.path, path)?;
    file.path = path.into();
    Ok(Bound { file, listener: UnixListener::from(socket) })
}

/// Says whether a socket could have this path, without looking at what is there.
///
/// # Errors
/// [`ServiceError::Options`] or [`ServiceError::PathTooLong`].
pub(crate) fn check_path(path: &Path) -> Result<(), ServiceError> {
    let bytes = path.as_os_str().as_bytes();
    let refuse = |what| {
        let reason = format!("the socket's path {path:?} {what}");
        Err(ServiceError::Options { reason })
    };
    match bytes {
        [] => refuse("is empty"),
        // A name that is in no directory has neither mode nor group: everybody could append.
        [b'@', ..] | [0, ..] => refuse(
            "looks like an abstract socket, which everybody may connect to: name a file (./@ for one that begins with @)",
        ),
        _ if bytes.contains(&0) => refuse("holds a zero byte"),
        [.., b'/'] | [.., b'/', b'.'] => refuse("names a directory"),
        _ if path.file_name().is_none() => refuse("names no file"),
        _ if bytes.len() > PATH_LEN_MAX => {
            Err(ServiceError::PathTooLong { path: path.into(), len: bytes.len(), max: PATH_LEN_MAX })
        }
        _ => Ok(()),
    }
}

/// A socket in the same directory, by a name that nobody else has. It does not listen yet.
fn bind_beside(path: &Path) -> Result<(OwnedFd, SocketFile), ServiceError> {
    let make = || socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let socket = make().map_err(|errno| socket_error("make", path)(errno.into()))?;
    for _ in 0..100 {
        // Its keys are random, other ones each time.
        let random = RandomState::new().hash_one(std::process::id());
        let mut new = path.as_os_str().to_owned();
        new.push(format!(".{:08x}", random as u32));
        let new = PathBuf::from(new);
        match UnixAddr::new(&new).and_then(|address| bind_to(socket.as_raw_fd(), &address)) {
            Ok(()) => {
                let found = fs::symlink_metadata(&new).map_err(socket_error("look at", &new))?;
                return Ok((socket, SocketFile { path: new, identity: (found.dev(), found.ino()) }));
            }
            Err(Errno::EADDRINUSE) => {}
            Err(errno) => return Err(bind_error(&new, errno.into())),
        }
    }
    Err(ServiceError::SocketHeld { path: path.into() })
}

fn find_group(name: &str) -> Result<Gid, ServiceError> {
    group_id(name).map(Gid::from_raw).map_err(|unknown| ServiceError::Group { group: unknown.name })
}

fn check_directory(path: &Path) -> Result<(), ServiceError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let refuse = |source: io::Error| Err(directory_error(parent, source));
    match fs::metadata(parent) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => refuse(ErrorKind::NotADirectory.into()),
        Err(error) => refuse(error),
    }
}

fn directory_error(parent: &Path, source: io::Error) -> ServiceError {
    let hint = match source.kind() {
        ErrorKind::NotFound => {
            ": make it first, or have it made (systemd: RuntimeDirectory=, or a socket unit)"
        }
        ErrorKind::NotADirectory => ": name a path in a directory",
        ErrorKind::PermissionDenied => ": the service needs permission to write to it",
        ErrorKind::ReadOnlyFilesystem => ": choose one that can be written, as below /run",
        _ => "",
    };
    ServiceError::Directory { path: parent.into(), source, hint }
}

fn bind_error(new: &Path, source: io::Error) -> ServiceError {
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotFound => {
            directory_error(new.parent().unwrap_or(new), source)
        }
        _ => socket_error("bind", new)(source),
    }
}

fn prepare(new: &Path, mode: u32, group: Option<Gid>) -> Result<(), ServiceError> {
    if group.is_some() {
        chown(new, None, group).map_err(|error| socket_error("give a group to", new)(error.into()))?;
    }
    fs::set_permissions(new, fs::Permissions::from_mode(mode)).map_err(socket_error("set the mode of", new))
}

/// What is at `path`; an error if it may not be replaced.
fn look(path: &Path) -> Result<Holder, ServiceError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Holder::Nobody),
        Err(source) => return Err(socket_error("look at", path)(source)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ServiceError::NotASocket { path: path.into() });
        }
        Ok(_) => {}
    }
    match connect_at_once(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(Holder::LeftOver),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Holder::Nobody),
        // Also where it cannot be told, as without permission to connect: nobody's socket is taken on a
        // guess.
        _ => Err(ServiceError::SocketHeld { path: path.into() }),
    }
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> Result<(), Errno> {
    renameat2(AT_FDCWD, from, AT_FDCWD, to, flags)
}

/// Gives the socket at `new` its path.
fn install(new: &Path, path: &Path) -> Result<(), ServiceError> {
    let failed = |error: Errno| socket_error("rename a socket to", path)(error.into());
    loop {
        match rename(new, path, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EEXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        if look(path)? == Holder::Nobody {
            continue;
        }
        match rename(new, path, RenameFlags::RENAME_EXCHANGE) {
            Ok(()) => {}
            Err(Errno::ENOENT) => continue,
            Err(error) => return Err(failed(error)),
        }
        // Somebody may have replaced it between the look and the exchange: then it is his.
        return match look(new) {
            Ok(_) => fs::remove_file(new).map_err(socket_error("remove", new)),
            Err(error) => {
                rename(new, path, RenameFlags::RENAME_EXCHANGE).map_err(failed)?;
                Err(error)
            }
        };
    }
}
