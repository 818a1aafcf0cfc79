//! Ending a sleeping follower without waking it now and then to check.
//!
//! A reader sleeps on a futex until there is a record. Signals and a closed output are events of file
//! descriptors, and one thread cannot sleep on both. So a second thread sleeps on the descriptors. It ends
//! the process if the first thread is idle, that is, if everything has been written and saved. If the first
//! thread is busy, it checks for the signal by itself, and ends by itself.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use waldo_terminal::failure::{self, Outcome, OutputClosed};
use waldo_terminal::interrupt::Interrupt;

/// Time between two looks whether the follower has become idle, once there is a reason to end.
const PAUSE: Duration = Duration::from_millis(10);

/// Tells the other thread whether this one is idle.
pub struct Watch {
    idle: Arc<Mutex<bool>>,
}

impl Watch {
    /// Starts watching for signals and, if this is given, for the end of `output`. `farewell` is called
    /// before the process is ended.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        interrupt: Arc<Interrupt>,
        output: Option<OwnedFd>,
        farewell: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Watch> {
        let idle = Arc::new(Mutex::new(false));
        let watched = Arc::clone(&idle);
        let watch = move || watch(&interrupt, output.as_ref(), &watched, farewell);
        std::thread::Builder::new().name("waldo-watch".into()).stack_size(64 << 10).spawn(watch)?;
        Ok(Watch { idle })
    }

    /// Waits by way of `wait`. Everything that has been read must have been dealt with: the process may end
    /// here.
    pub fn idle<T>(&self, wait: impl FnOnce() -> T) -> T {
        *lock(&self.idle) = true;
        let result = wait();
        // If it is ending, this waits for that.
        *lock(&self.idle) = false;
        result
    }
}

fn watch(interrupt: &Interrupt, output: Option<&OwnedFd>, idle: &Mutex<bool>, farewell: impl FnOnce()) {
    let result = reason(interrupt, output);
    loop {
        let is_idle = lock(idle);
        if *is_idle {
            farewell();
            failure::exit(result);
        }
        drop(is_idle);
        std::thread::sleep(PAUSE);
    }
}

/// Waits for a reason to end.
fn reason(interrupt: &Interrupt, output: Option<&OwnedFd>) -> anyhow::Result<Outcome> {
    match interrupt.wait_hangup(output.map(AsFd::as_fd))? {
        Some(signal) => Ok(Outcome::Interrupted(signal)),
        None => Err(OutputClosed.into()),
    }
}

fn lock(idle: &Mutex<bool>) -> MutexGuard<'_, bool> {
    // A flag is in order whatever happened to another thread.
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
