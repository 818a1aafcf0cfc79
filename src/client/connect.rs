//! Connecting to a socket without ever waiting for whoever listens on it.

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Connects to the socket at `path` if that is possible at once. A service that is stopped, or too busy to
/// take connections, has a queue of a fixed length; the system's own call waits for ever where it is full.
///
/// # Errors
/// What the system says: [`io::ErrorKind::WouldBlock`] if someone listens, but the queue of connections that
/// have not been taken is full; [`io::ErrorKind::ConnectionRefused`] if nobody listens.
pub fn connect_at_once(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::EAGAIN) => {
            let text = "its queue of connections is full; is the service stopped?";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
        }
        outcome => outcome?,
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}
