//! Ctrl-C and similar signals as a flag to check and a file descriptor to poll.

use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Makes SIGINT, SIGTERM and SIGHUP set a flag here instead of ending the process. A signal that was ignored
/// when the process started (`nohup`, a background job of a script) stays ignored.
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
        let ignored = ignored();
        for number in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|number| !is_in(ignored, *number)) {
            let name = usize::try_from(number).unwrap_or_default();
            signal_hook::flag::register_usize(number, Arc::clone(&signal), name)
                .and_then(|_| signal_hook::low_level::pipe::register(number, from_handler.try_clone()?))
                .context("cannot install a signal handler")?;
        }
        // A file that may not grow any more is an error of the write then, which is reported, and not a
        // signal that kills.
        let unused = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(nix::sys::signal::Signal::SIGXFSZ as i32, unused)
            .context("cannot install a signal handler")?;
        Ok(Interrupt { signal, wake })
    }

    /// The last signal that arrived, if any.
    pub fn signal(&self) -> Option<i32> {
        // Relaxed: the number is all that is passed.
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            number => i32::try_from(number).ok(),
        }
    }

    /// Waits until `input` has something to read, a signal arrives, or the time is up (`None`: no limit).
    pub fn wait_readable(
        &self,
        input: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> anyhow::Result<Ready> {
        self.wait_any(input.as_slice(), timeout)
    }

    /// The same for several inputs: until any of them has something to read. Does not say which one.
    pub fn wait_any(&self, inputs: &[BorrowedFd<'_>], timeout: Option<Duration>) -> anyhow::Result<Ready> {
        // Other signals, of children that end, interrupt the poll and are no reason to wait longer.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(signal) = self.signal() {
                return Ok(Ready::Signal(signal));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let mut fds = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
            fds.extend(inputs.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
            match poll(&mut fds, limit(left)) {
                Ok(0) => return Ok(Ready::TimedOut),
                Ok(_) if fds[1..].iter().any(|fd| fd.any() == Some(true)) => return Ok(Ready::Input),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(anyhow::Error::new(errno).context("cannot wait for input")),
            }
        }
    }

    /// Waits until `output` takes bytes, or is broken, which the next write reports. Returns the number of a
    /// signal if one arrived and `output` took nothing for `grace` since.
    pub fn wait_writable(&self, output: BorrowedFd<'_>, grace: Duration) -> anyhow::Result<Option<i32>> {
        let mut deadline = None;
        loop {
            let signal = self.signal();
            if signal.is_some() && deadline.is_none() {
                deadline = Instant::now().checked_add(grace);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let mut fds = vec![PollFd::new(output, PollFlags::POLLOUT)];
            if signal.is_none() {
                fds.push(PollFd::new(self.wake.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, limit(left)) {
                Ok(0) => return Ok(signal),
                Ok(_) if fds[0].any() == Some(true) => return Ok(None),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => {
                    return Err(anyhow::Error::new(errno).context("cannot wait for standard output"));
                }
            }
        }
    }

    /// Waits until `output` takes bytes, or is broken; or `ended` has something to read; or a signal comes.
    pub fn wait_taken(&self, output: BorrowedFd<'_>, ended: BorrowedFd<'_>) -> anyhow::Result<()> {
        let input = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [PollFd::new(output, PollFlags::POLLOUT), input(ended), input(self.wake.as_fd())];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(anyhow::Error::new(errno).context("cannot wait for a pipe")),
        }
    }

    /// Waits until a signal arrives, and returns its number, or until no process can read `output` any more.
    pub fn wait_hangup(&self, output: Option<BorrowedFd<'_>>) -> anyhow::Result<Option<i32>> {
        loop {
            if let Some(signal) = self.signal() {
                return Ok(Some(signal));
            }
            let mut fds = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
            fds.extend(output.map(|fd| PollFd::new(fd, PollFlags::empty())));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) if fds.get(1).and_then(PollFd::any) == Some(true) => return Ok(None),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(anyhow::Error::new(errno).context("cannot wait for a signal")),
            }
        }
    }

    /// Sleeps for `time`, or until a signal arrives, and then returns its number.
    pub fn sleep(&self, time: Duration) -> anyhow::Result<Option<i32>> {
        self.wait_readable(None, Some(time))?;
        Ok(self.signal())
    }
}

/// Whether `input` has something to read now, or has ended.
pub fn is_readable(input: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(input, PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
}

fn limit(left: Option<Duration>) -> PollTimeout {
    // Rounded up, so that a wait of less than a millisecond does not spin.
    let round_up = |time: Duration| time.saturating_add(Duration::from_micros(999));
    left.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(round_up(time)).unwrap_or(PollTimeout::MAX))
}

/// Whether this process ignores `signal`. Must be called before a handler is installed: a process that was
/// started with the signal ignored (`nohup`) must keep ignoring it.
pub fn is_ignored(signal: i32) -> bool {
    is_in(ignored(), signal)
}

/// The signals that this process ignores, as a mask; none where the system does not say.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0)
}

fn is_in(mask: u64, signal: i32) -> bool {
    mask >> (signal - 1) & 1 == 1
}
