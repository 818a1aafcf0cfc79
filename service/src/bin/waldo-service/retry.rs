//! [`Retry`]: when a ring that is not served is opened again.

#[cfg(test)]
mod tests;

use crate::exit;
use std::time::Duration;
use tokio::time::Instant;

/// The first pause; each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The next try.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    pub at: Instant,
    pause: Duration,
}

impl Retry {
    /// What counts of the try by which a ring was opened that has been served for so long since: nothing,
    /// if that is longer than the longest pause. One that fails again sooner is not mended, and its pauses go
    /// on growing.
    pub fn that_counts(opened_by: Option<Retry>, served: Duration) -> Option<Retry> {
        opened_by.filter(|_| served <= PAUSE_MAX)
    }

    /// After this error, and the tries before. `None` if trying again is of no use.
    pub fn after(error: &anyhow::Error, before: Option<Retry>) -> Option<Retry> {
        let pause = before.map_or(PAUSE_MIN, |before| PAUSE_MAX.min(before.pause * 2));
        exit::may_pass(error).then(|| Retry { at: Instant::now() + pause, pause })
    }
}

/// Waits until it is time; for ever if there is nothing to try.
pub async fn wait(next: Option<Instant>) {
    match next {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
