//! Ctrl-C and its kin as a flag to look at and a file descriptor to poll.

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// SIGINT, SIGTERM and SIGHUP do not end the process any more, they are noted here.
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
    wake: UnixStream,
}

/// What [`Interrupt::wait_readable`] saw first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// There are bytes to read, or the end.
    Input,
    /// A signal with this number.
    Signal(i32),
    /// Neither, in the time given.
    TimedOut,
}

impl Interrupt {
    /// Installs the handlers. From now on the command must look at the flag, or it cannot be ended.
    pub fn install() -> anyhow::Result<Interrupt> {
        let signal = Arc::new(AtomicUsize::new(0));
        let (wake, from_handler) = UnixStream::pair().context("cannot make a socket pair")?;
        for number in [SIGINT, SIGTERM, SIGHUP] {
            let name = usize::try_from(number).unwrap_or_default();
            signal_hook::flag::register_usize(number, Arc::clone(&signal), name)
                .and_then(|_| signal_hook::low_level::pipe::register(number, from_handler.try_clone()?))
                .context("cannot install a signal handler")?;
        }
        Ok(Interrupt { signal, wake })
    }

    /// The signal that came last, if any did.
    pub fn signal(&self) -> Option<i32> {
        // Relaxed: the number is all that is passed.
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            number => i32::try_from(number).ok(),
        }
    }

    /// Waits until `input` has something to read, a signal comes, or time is up (`None`: never).
    pub fn wait_readable(
        &self,
        input: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> anyhow::Result<Ready> {
        // Other signals, of children that end, interrupt the poll and are no reason to wait longer.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(signal) = self.signal() {
                return Ok(Ready::Signal(signal));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let mut fds = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
            fds.extend(input.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            let limit =
                left.map_or(PollTimeout::NONE, |t| PollTimeout::try_from(t).unwrap_or(PollTimeout::MAX));
            match poll(&mut fds, limit) {
                Ok(0) => return Ok(Ready::TimedOut),
                Ok(_) if fds.get(1).and_then(PollFd::any) == Some(true) => return Ok(Ready::Input),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(anyhow::Error::new(errno).context("cannot wait for input")),
            }
        }
    }

    /// Sleeps for `time`, or until a signal comes; gives its number then.
    pub fn sleep(&self, time: Duration) -> anyhow::Result<Option<i32>> {
        self.wait_readable(None, Some(time))?;
        Ok(self.signal())
    }
}
