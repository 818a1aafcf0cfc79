//! A descriptor that goes over the socket with the bytes that speak of it.
#![allow(unsafe_code, reason = "the kernel hands descriptors over as numbers")]

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// As many as a message can have (SCM_MAX_FD of the kernel). Where more came than there is room for, those
/// that had been taken would be lost and stay open.
const DESCRIPTORS_MAX: usize = 253;

/// Sends bytes and a descriptor with them, and does not wait. Returns how many bytes were sent: the
/// descriptor went with the first.
///
/// # Errors
/// What the system says, [`io::ErrorKind::WouldBlock`] too.
pub fn send_descriptor(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: BorrowedFd<'_>,
) -> io::Result<usize> {
    let (parts, descriptors) = ([IoSlice::new(bytes)], [descriptor.as_raw_fd()]);
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<()>(socket.as_raw_fd(), &parts, &rights, flags, None)?)
}

/// The socket to read from; keeps the descriptor that comes along as long as one is expected.
#[derive(Debug)]
pub struct Receiving {
    stream: UnixStream,
    descriptor: Option<OwnedFd>,
    expects: bool,
}

impl Receiving {
    /// Reads from `stream`, where a descriptor is to come if `expects` is set.
    pub fn new(stream: UnixStream, expects: bool) -> Receiving {
        Receiving { stream, descriptor: None, expects }
    }

    /// The descriptor that has come. No other is expected any more.
    pub fn finish(&mut self) -> Option<OwnedFd> {
        self.expects = false;
        self.descriptor.take()
    }
}

impl Read for Receiving {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if !self.expects {
            return self.stream.read(bytes);
        }
        let mut space = cmsg_space!([RawFd; DESCRIPTORS_MAX]);
        let mut parts = [IoSliceMut::new(bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(self.stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        // Fails where this process may open no more: then the connection goes on without.
        for rights in message.cmsgs().into_iter().flatten() {
            let ControlMessageOwned::ScmRights(descriptors) = rights else { continue };
            for descriptor in descriptors {
                // SAFETY: the kernel has just made the descriptor for this process, and nobody else knows it.
                let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
                self.descriptor.get_or_insert(descriptor);
            }
        }
        Ok(message.bytes)
    }
}
