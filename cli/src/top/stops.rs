//! Signals about the terminal: its size has changed, or this process is stopped or resumed.

use super::group::is_orphaned;
use anyhow::Context;
use signal_hook::consts::{SIGCONT, SIGTSTP, SIGWINCH};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use waldo_terminal::interrupt::{Interrupt, Ready, is_ignored};

/// Notes of these signals.
pub struct Stops {
    stop: Arc<AtomicBool>,
    went_on: Arc<AtomicBool>,
    wake: UnixStream,
    /// SIGTSTP was not ignored, as by a shell without job control, which would not let this process go on.
    is_handled: bool,
}

impl Stops {
    /// Installs the handlers.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn install() -> anyhow::Result<Stops> {
        let (wake, from_handler) = UnixStream::pair().context("cannot make a socket pair")?;
        wake.set_nonblocking(true).context("cannot set up a socket pair")?;
        let is_handled = !is_ignored(SIGTSTP);
        let (stop, went_on) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let flags =
            [(SIGTSTP, is_handled, Some(&stop)), (SIGCONT, true, Some(&went_on)), (SIGWINCH, true, None)];
        for (signal, _, flag) in flags.into_iter().filter(|(_, wanted, _)| *wanted) {
            let noted = flag.map(|flag| signal_hook::flag::register(signal, flag.clone())).transpose();
            noted
                .and_then(|_| signal_hook::low_level::pipe::register(signal, from_handler.try_clone()?))
                .context("cannot install a signal handler")?;
        }
        Ok(Stops { stop, went_on, wake, is_handled })
    }

    /// Readable when there has been one.
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Takes note of all that have come. Gives whether there was any.
    pub fn drain(&self) -> bool {
        let (mut bytes, mut any) = ([0; 64], false);
        while let Ok(read @ 1..) = (&self.wake).read(&mut bytes) {
            any = true;
            if read < bytes.len() {
                break;
            }
        }
        any
    }

    /// Whether this process is to stop.
    pub fn take_stop(&self) -> bool {
        // Relaxed, here and below: the flag is all that is passed.
        self.stop.swap(false, Ordering::Relaxed)
    }

    /// Whether this process has been stopped and goes on.
    pub fn take_went_on(&self) -> bool {
        self.went_on.swap(false, Ordering::Relaxed)
    }

    /// Whether there is somebody who would let it go on.
    pub fn can_stop(&self) -> bool {
        self.is_handled && !is_orphaned()
    }

    /// Stops this process, as `stop` does, and returns when it goes on; or when a signal ends it, which has
    /// the number that is given.
    ///
    /// # Errors
    /// If it cannot be stopped.
    pub fn stop(
        &self,
        stop: fn() -> anyhow::Result<()>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<i32>> {
        self.take_went_on();
        stop()?;
        // This thread may come here before it is stopped.
        while !self.take_went_on() {
            if let Ready::Signal(signal) = interrupt.wait_readable(Some(self.wake()), None)? {
                return Ok(Some(signal));
            }
            self.drain();
        }
        Ok(None)
    }
}
