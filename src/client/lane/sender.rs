//! [`LaneSender`]: the producer's end of a lane, and the bell at the other one.

use super::{LaneFault, LaneFiller, LaneMemory};
use crate::client::ProducerError;
use crate::client::connection::connect_error;
use crate::client::wire::{Kind, encode_empty};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Puts frames into a lane, whole or in as many pieces as there is room for.
pub(in crate::client) struct LaneSender {
    memory: LaneMemory,
    filler: LaneFiller,
    /// Where the bell is rung.
    socket: UnixStream,
    /// Of the socket, for errors.
    path: PathBuf,
    /// BELL.
    bell: Vec<u8>,
    /// The frame that found no room as a whole, from `rest_at` on.
    rest: Vec<u8>,
    rest_at: usize,
    /// Something was put in since the service was woken last.
    has_news: bool,
}

impl LaneSender {
    pub(in crate::client) fn new(
        memory: LaneMemory,
        socket: UnixStream,
        path: &Path,
        checksums: bool,
    ) -> LaneSender {
        let mut bell = Vec::new();
        encode_empty(&mut bell, Kind::Bell, checksums);
        let (filler, path) = (LaneFiller::new(), path.to_owned());
        LaneSender { memory, filler, socket, path, bell, rest: Vec::new(), rest_at: 0, has_news: false }
    }

    /// Whether a frame can be put in now. Otherwise the service says BELL when there is room again.
    pub(in crate::client) fn is_ready(&mut self) -> Result<bool, LaneFault> {
        while !self.rest.is_empty() {
            let put = self.filler.put(&self.memory.lane(), &self.rest[self.rest_at..])?;
            self.rest_at += put;
            self.has_news |= put > 0;
            if self.rest_at == self.rest.len() {
                self.rest = Vec::new();
            } else if put == 0 && self.filler.wait(&self.memory.lane())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts a frame in, when [`LaneSender::is_ready`] says so.
    pub(in crate::client) fn put(&mut self, frame: &[u8]) -> Result<(), LaneFault> {
        let put = self.filler.put(&self.memory.lane(), frame)?;
        self.has_news |= put > 0;
        if put < frame.len() {
            (self.rest, self.rest_at) = (frame[put..].to_vec(), 0);
        }
        Ok(())
    }

    /// Wakes the service if it sleeps and there is something new for it. Never waits.
    ///
    /// # Errors
    /// BELL cannot be said, so that the service would sleep for ever: the connection is of no more use.
    pub(in crate::client) fn wake(&mut self) -> Result<(), ProducerError> {
        if std::mem::take(&mut self.has_news) && self.filler.must_wake(&self.memory.lane()) {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.socket.as_raw_fd(), &self.bell, flags) {
                // A socket that is full of bells wakes the service as well.
                Ok(_) | Err(Errno::EAGAIN) => {}
                Err(errno) => return Err(connect_error(&self.path, errno.into())),
            }
        }
        Ok(())
    }
}
