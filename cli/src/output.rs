//! Standard output, written in large pieces and flushed when there is nothing else to do.

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;
use waldo_terminal::failure::{Ended, output_error};
use waldo_terminal::interrupt::Interrupt;

const CHUNK: usize = 256 * 1024;

/// What a pipe that can be written to takes without waiting.
const PIECE: usize = 4096;

/// How long an output that takes nothing is waited for after a signal. A reader that is only slow gets whole
/// records.
const GRACE: Duration = Duration::from_millis(500);

/// A buffer in front of standard output that, other than the standard library's, does not end at newlines,
/// and whose flush ends when a signal comes and nobody reads.
pub struct Output<'a> {
    file: File,
    interrupt: &'a Interrupt,
    /// A file on a disk, which always takes bytes, or says why not.
    always_ready: bool,
    buffer: Vec<u8>,
}

impl Output<'_> {
    /// Standard output.
    pub fn stdout(interrupt: &Interrupt) -> anyhow::Result<Output<'_>> {
        let fd = std::io::stdout().as_fd().try_clone_to_owned().context("cannot use standard output")?;
        let file = File::from(fd);
        let always_ready = file.metadata().is_ok_and(|stat| stat.is_file());
        Ok(Output { file, interrupt, always_ready, buffer: Vec::new() })
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
    ///
    /// # Errors
    /// [`Ended`] if a signal came while nobody took the bytes;
    /// [`OutputClosed`](waldo_terminal::failure::OutputClosed); others.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.write_all(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    /// Writes `text` at once.
    pub fn print(&mut self, text: &str) -> anyhow::Result<()> {
        self.buffer.extend_from_slice(text.as_bytes());
        self.flush()
    }

    fn write_all(&mut self, mut rest: &[u8]) -> anyhow::Result<()> {
        while !rest.is_empty() {
            let mut piece = rest;
            if !self.always_ready {
                if let Some(signal) = self.interrupt.wait_writable(self.file.as_fd(), GRACE)? {
                    return Err(Ended(signal).into());
                }
                piece = &rest[..rest.len().min(PIECE)];
            }
            match self.file.write(piece) {
                Ok(0) => return Err(output_error(io::ErrorKind::WriteZero.into())),
                Ok(n) => rest = &rest[n..],
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(output_error(error)),
            }
        }
        Ok(())
    }

    /// Whether nobody can read any more what is written, as far as that can be told without writing.
    pub fn is_closed(&self) -> bool {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::empty())];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
            && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
    }
}
