//! A file that keeps writes in flight for as long as a test wants: a pipe that is full.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io::{ErrorKind, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Bytes that the pipe holds: less than a piece, so that a write gets through bit by bit.
const CAPACITY: usize = 4096;

pub(crate) struct Dam(PipeReader);

impl Dam {
    /// A dam, and the descriptor to write to. A write to it waits; with `refuses`, it is told to try again
    /// instead.
    pub(crate) fn new(refuses: bool) -> (Dam, OwnedFd) {
        let (reader, mut writer) = std::io::pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(CAPACITY as i32)).unwrap();
        writer.write_all(&[0; CAPACITY]).unwrap();
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        if refuses {
            fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        }
        (Dam(reader), writer.into())
    }

    /// Lets through what comes until `done`; returns all of it.
    pub(crate) fn open(mut self, mut done: impl FnMut() -> bool) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let (mut bytes, mut part) = (Vec::new(), [0; CAPACITY]);
        loop {
            // Before the look: nothing is written after it is done.
            let last = done();
            match self.0.read(&mut part) {
                // The writer has closed the file.
                Ok(0) if last => break,
                Ok(n) => bytes.extend_from_slice(&part[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock && last => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < deadline, "the write does not end");
        }
        bytes.split_off(CAPACITY)
    }
}
