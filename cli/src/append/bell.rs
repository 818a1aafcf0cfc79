//! Waiting for a future and for signals at the same time.

use anyhow::Context as _;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;
use waldo_terminal::interrupt::{Interrupt, Ready};

/// How long something is waited for.
#[derive(Clone, Copy)]
pub enum Until<'a> {
    /// Until a signal comes.
    Signal(&'a Interrupt),
    /// Until then.
    Time(Instant),
}

/// Wakes this thread when a future can go on: by a descriptor, so that a signal is heard at the same time.
pub struct Bell {
    ear: UnixStream,
    waker: Waker,
}

struct Button(UnixStream);

impl Wake for Button {
    fn wake(self: Arc<Button>) {
        // A full socket wakes as well.
        let _ = (&self.0).write(&[1]);
    }
}

impl Bell {
    pub fn new() -> anyhow::Result<Bell> {
        let (ear, button) = UnixStream::pair().context("cannot make a socket pair")?;
        ear.set_nonblocking(true)?;
        button.set_nonblocking(true)?;
        Ok(Bell { ear, waker: Waker::from(Arc::new(Button(button))) })
    }

    /// Waits for `future`; `None` if that took too long.
    pub fn block_on<F: Future>(&self, future: F, until: Until<'_>) -> anyhow::Result<Option<F::Output>> {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                return Ok(Some(output));
            }
            match until {
                Until::Signal(interrupt) => {
                    if let Ready::Signal(_) = interrupt.wait_readable(Some(self.ear.as_fd()), None)? {
                        return Ok(None);
                    }
                }
                Until::Time(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    let mut fds = [PollFd::new(self.ear.as_fd(), PollFlags::POLLIN)];
                    let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                    match poll(&mut fds, left) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(errno) => {
                            return Err(anyhow::Error::new(errno).context("cannot wait for the service"));
                        }
                    }
                }
            }
            while (&self.ear).read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        }
    }
}
