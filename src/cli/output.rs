//! Standard output, written in large pieces and flushed when there is nothing else to do.

use super::failure::output_error;
use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

const CHUNK: usize = 256 * 1024;

/// A buffer in front of standard output that, other than the standard library's, does not end at newlines.
pub struct Output {
    file: File,
    buffer: Vec<u8>,
}

impl Output {
    /// Standard output.
    pub fn stdout() -> anyhow::Result<Output> {
        let fd = std::io::stdout().as_fd().try_clone_to_owned().context("cannot use standard output")?;
        Ok(Output { file: File::from(fd), buffer: Vec::with_capacity(2 * CHUNK) })
    }

    /// The buffer, to put bytes at the end of. Call [`Output::spill`] now and then.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes the buffer if it has become large.
    pub fn spill(&mut self) -> anyhow::Result<()> {
        if self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// Writes everything in the buffer.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let result = self.file.write_all(&self.buffer);
        self.buffer.clear();
        result.map_err(output_error)
    }

    /// Whether nobody can read any more what is written, as far as that can be told without writing.
    pub fn is_closed(&self) -> bool {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::empty())];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
            && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
    }
}
