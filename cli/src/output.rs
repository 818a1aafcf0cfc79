//! Standard output, written in large pieces and flushed when there is nothing else to do.

use anyhow::Context;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::time::{Duration, Instant};
use waldo_terminal::failure::{Ended, OutputClosed, output_error};
use waldo_terminal::interrupt::Interrupt;

const CHUNK: usize = 256 * 1024;

/// What a pipe that can be written to takes without waiting.
const PIECE: usize = 4096;

/// How long an output that takes nothing is waited for after a signal. A reader that is only slow gets whole
/// records.
const GRACE: Duration = Duration::from_millis(500);

/// A terminal may call itself writable and have too little room for the next character.
const PAUSE: Duration = Duration::from_millis(5);

/// A buffer in front of standard output that, other than the standard library's, does not end at newlines,
/// and whose flush ends when a signal comes and nobody reads.
pub struct Output<'a> {
    file: File,
    interrupt: &'a Interrupt,
    /// Bytes that a write is given at most, so that no write waits.
    piece: usize,
    /// A file on a disk, which always takes bytes, or says why not.
    always_ready: bool,
    buffer: Vec<u8>,
}

impl Output<'_> {
    /// Standard output.
    pub fn stdout(interrupt: &Interrupt) -> anyhow::Result<Output<'_>> {
        let fd = io::stdout().as_fd().try_clone_to_owned().context("cannot use standard output")?;
        let file = File::from(fd);
        let kind = file.metadata().map(|stat| stat.file_type()).ok();
        let always_ready = kind.is_some_and(|kind| kind.is_file());
        let waits = kind.is_some_and(|kind| kind.is_fifo()) || file.is_terminal();
        let (file, piece) = match if waits { unwaiting() } else { None } {
            Some(file) => (file, usize::MAX),
            None if always_ready => (file, usize::MAX),
            None => (file, PIECE),
        };
        Ok(Output { file, interrupt, piece, always_ready, buffer: Vec::new() })
    }

    /// The buffer, to put bytes at the end of. Call [`Output::spill`] now and then.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Whether the buffer has become large.
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= CHUNK
    }

    /// Writes everything in the buffer.
    ///
    /// # Errors
    /// [`Ended`] if a signal arrived while no process took the bytes;
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
        // Since when a signal is there and nothing has been taken.
        let mut stuck: Option<Instant> = None;
        while !rest.is_empty() {
            if !self.always_ready
                && let Some(signal) = self.interrupt.wait_writable(self.file.as_fd(), GRACE)?
            {
                return Err(Ended(signal).into());
            }
            match self.file.write(&rest[..rest.len().min(self.piece)]) {
                Ok(0) => return Err(output_error(io::ErrorKind::WriteZero.into())),
                Ok(n) => (rest, stuck) = (&rest[n..], None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(signal) = self.interrupt.signal()
                        && stuck.get_or_insert_with(Instant::now).elapsed() >= GRACE
                    {
                        return Err(Ended(signal).into());
                    }
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(output_error(error)),
            }
        }
        Ok(())
    }

    /// Whether no process can read the output any more, as far as that can be checked without writing.
    pub fn is_closed(&self) -> bool {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::empty())];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
            && fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
    }

    /// Another descriptor of it, to be watched.
    pub fn descriptor(&self) -> anyhow::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned().context("cannot use standard output")
    }
}

/// What printing came to, for a command whose work is something else: that nobody reads what it prints is no
/// failure, and must not become the success of a command that ends with it.
///
/// # Errors
/// All others.
pub fn or_closed(result: anyhow::Result<()>) -> anyhow::Result<()> {
    result.or_else(|error| if error.is::<OutputClosed>() { Ok(()) } else { Err(error) })
}

/// Standard output opened anew, so that writes to it never wait. The flag on the descriptor that this process
/// was given would be a surprise for everybody who shares it, the shell included.
fn unwaiting() -> Option<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    OpenOptions::new().write(true).custom_flags(flags.bits()).open("/proc/self/fd/1").ok()
}
