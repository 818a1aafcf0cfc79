//! Ctrl-C and its kin as something to look at, and to be woken by.

use super::failure::Interrupted;
use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// SIGINT, SIGTERM and SIGHUP do not end the process any more, they are noted here.
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
    wake: UnixStream,
}

impl Interrupt {
    /// Installs the handlers.
    pub fn install() -> anyhow::Result<Interrupt> {
        let signal = Arc::new(AtomicUsize::new(0));
        let (wake, from_handler) = UnixStream::pair().context("cannot make a socket pair")?;
        for number in [SIGINT, SIGTERM, SIGHUP] {
            let value = usize::try_from(number).unwrap_or_default();
            signal_hook::flag::register_usize(number, Arc::clone(&signal), value)
                .and_then(|_| signal_hook::low_level::pipe::register(number, from_handler.try_clone()?))
                .context("cannot install a signal handler")?;
        }
        Ok(Interrupt { signal, wake })
    }

    /// An error if a signal has come.
    pub fn check(&self) -> anyhow::Result<()> {
        // Relaxed: the number is all that is passed.
        match self.signal.load(Ordering::Relaxed) {
            0 => Ok(()),
            number => Err(Interrupted(i32::try_from(number).unwrap_or(SIGINT)).into()),
        }
    }

    /// Sleeps for `time`; an error, at once, if a signal comes.
    pub fn sleep(&self, time: Duration) -> anyhow::Result<()> {
        self.check()?;
        let mut fds = [PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => self.check(),
            Err(errno) => Err(anyhow::Error::new(errno).context("cannot wait")),
        }
    }
}
