//! Waiting for records.

use crate::batch::Batch;
use crate::clock::jittered;
use crate::error::ReadError;
use crate::options::WaitStrategy;
use crate::pace::SPIN_MAX;
use crate::reader::Reader;
use crate::status::WriterStatus;
use std::time::{Duration, Instant};

const SPIN_MIN: Duration = Duration::from_micros(2);
/// Time between two looks at the writer's status while spinning.
const SPIN_ROUND: Duration = Duration::from_millis(1);

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wakeup {
    /// There is something to poll for.
    Records,
    /// The time is up.
    TimedOut,
    /// The writer's state has changed, or was not [`WriterStatus::Live`] to begin with. Reported once for
    /// each change.
    Writer(WriterStatus),
}

impl Reader {
    /// Waits until there is something to poll for, the writer's state changes, or `timeout` has passed;
    /// without a timeout it does not return before one of the first two. A writer that has ended is a change
    /// of state, which is reported once, so a caller never waits unknowingly for a dead writer.
    ///
    /// # Errors
    /// The errors of [`Reader::poll`] that concern the control segment.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Wakeup, ReadError> {
        if self.news() {
            return Ok(Wakeup::Records);
        }
        // A deadline beyond the clock's range counts as none.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.window.forget_recent();
        let mut spun = false;
        loop {
            // Load the token before any look: a change after the look changes the token, or wakes the reader.
            let token = self.attachment.wake_token();
            self.attend()?;
            if self.news() {
                return Ok(Wakeup::Records);
            }
            let status = self.attachment.writer(&self.ring.options)?;
            if let Some(change) = self.pace.change(status, self.attachment.epoch()) {
                return Ok(Wakeup::Writer(change));
            }
            let now = Instant::now();
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
            if left == Some(Duration::ZERO) {
                return Ok(Wakeup::TimedOut);
            }
            match self.options.wait {
                WaitStrategy::Spin => {
                    self.spin(left.unwrap_or(SPIN_ROUND).min(SPIN_ROUND), std::hint::spin_loop);
                }
                WaitStrategy::Yield => {
                    self.spin(left.unwrap_or(SPIN_ROUND).min(SPIN_ROUND), std::thread::yield_now);
                }
                WaitStrategy::Adaptive if !spun => {
                    spun = true;
                    let hit = self.spin(left.unwrap_or(SPIN_MAX).min(self.pace.spin), std::hint::spin_loop);
                    let next = if hit { self.pace.spin * 2 } else { self.pace.spin / 2 };
                    self.pace.spin = next.clamp(SPIN_MIN, SPIN_MAX);
                    if hit {
                        self.window.tail_mut().awake();
                    }
                }
                WaitStrategy::Adaptive | WaitStrategy::Park => {
                    self.before_sleep();
                    let slice = jittered(self.ring.options.check_interval);
                    self.attachment.sleep(token, slice, left);
                }
            }
            self.check_link()?;
        }
    }

    /// The next records, waiting for them if there are none. `None` if `timeout` passed without any; a change
    /// of the writer's state does not end the wait.
    ///
    /// # Errors
    /// As [`Reader::poll`].
    pub fn recv(&mut self, timeout: Option<Duration>) -> Result<Option<Batch>, ReadError> {
        if let Some(batch) = self.poll()? {
            return Ok(Some(batch));
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.wait(left)? {
                Wakeup::Records => {
                    if let Some(batch) = self.poll()? {
                        return Ok(Some(batch));
                    }
                    // The records were skipped, or there were none after all.
                    if left == Some(Duration::ZERO) {
                        return Ok(None);
                    }
                }
                Wakeup::TimedOut => return Ok(None),
                Wakeup::Writer(_) => {}
            }
        }
    }

    /// Looks for news for up to `time`. `true` if there is any.
    fn spin(&self, time: Duration, relax: impl Fn()) -> bool {
        let start = Instant::now();
        loop {
            for _ in 0..32 {
                if self.news() {
                    return true;
                }
                relax();
            }
            // The clock costs as much as several looks.
            if start.elapsed() >= time {
                return false;
            }
        }
    }

    /// Once per interval: does the link lead elsewhere now?
    fn check_link(&mut self) -> Result<(), ReadError> {
        let now = Instant::now();
        let due = self.pace.next_check.is_some_and(|at| now >= at);
        if due || self.pace.next_check.is_none() {
            self.pace.next_check = now.checked_add(jittered(self.ring.options.check_interval));
        }
        // With records at hand there is no hurry; in files mode every look includes the link.
        if due && !self.attachment.goes_by_files() && !self.news() {
            self.refresh()?;
        }
        Ok(())
    }
}
