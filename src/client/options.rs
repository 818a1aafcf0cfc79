//! How a producer connects.

use super::ProducerError;
use super::wire::{WireFault, is_name};
use std::time::Duration;

/// What a try of which the time is up gives a service for its welcome: one that is well answers in less.
const WELCOME_TIME_MIN: Duration = Duration::from_secs(1);
/// A service may take so long: it waits for what an earlier connection of the same name sent.
const WELCOME_TIME_MAX: Duration = Duration::from_secs(30);

/// Options of a [`Producer`](super::Producer).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProducerOptions {
    /// The name under which the service recognizes this producer: up to 64 bytes, no control characters. With
    /// a name each record is stored once, however often it is sent. `None`, the default: at least once.
    pub name: Option<String>,
    /// Acknowledge every batch when it is durable, not when it is committed. Off by default. A ring whose own
    /// durability is `Sync` does so anyway.
    pub durable: bool,
    /// Add checksums to frames in both directions. On by default.
    pub checksums: bool,
    /// Send through shared memory where the service offers that, which costs less than the socket. On by
    /// default. Nothing else depends on it.
    pub lane: bool,
    /// Bytes that may wait to be acknowledged; appends wait then. 8 MiB by default, at least 1.
    pub buffer_bytes: usize,
    /// How long the first connection is tried, 5 s by default. Zero: once. A service that has taken the
    /// connection may take 30 s more for its welcome, unless `welcome_in_time` is set.
    pub connect_timeout: Duration,
    /// How long a broken connection is tried anew before everything that waits fails. `None`, the default:
    /// for ever. For the welcome it is as with `connect_timeout`.
    pub reconnect_for: Option<Duration>,
    /// The welcome, too, has to come within `connect_timeout` or `reconnect_for`; each try is given a second
    /// for it in any case. Off by default: a service waits for what an earlier connection of the same name
    /// has sent before it welcomes the next one, and one that is being started takes connections before it
    /// answers.
    pub welcome_in_time: bool,
    /// Time between the first two attempts, 10 ms by default; it doubles with each, up to `backoff_max`.
    pub backoff_min: Duration,
    /// Longest time between two attempts, 1 s by default.
    pub backoff_max: Duration,
}

impl Default for ProducerOptions {
    fn default() -> ProducerOptions {
        ProducerOptions {
            name: None,
            durable: false,
            checksums: true,
            lane: true,
            buffer_bytes: 8 << 20,
            connect_timeout: Duration::from_secs(5),
            reconnect_for: None,
            welcome_in_time: false,
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_secs(1),
        }
    }
}

impl ProducerOptions {
    /// Sets [`ProducerOptions::name`].
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets [`ProducerOptions::durable`].
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Sets [`ProducerOptions::checksums`].
    #[must_use]
    pub fn checksums(mut self, checksums: bool) -> Self {
        self.checksums = checksums;
        self
    }

    /// Sets [`ProducerOptions::lane`].
    #[must_use]
    pub fn lane(mut self, lane: bool) -> Self {
        self.lane = lane;
        self
    }

    /// Sets [`ProducerOptions::buffer_bytes`].
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// Sets [`ProducerOptions::connect_timeout`].
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets [`ProducerOptions::reconnect_for`].
    #[must_use]
    pub fn reconnect_for(mut self, time: Option<Duration>) -> Self {
        self.reconnect_for = time;
        self
    }

    /// Sets [`ProducerOptions::welcome_in_time`].
    #[must_use]
    pub fn welcome_in_time(mut self, welcome_in_time: bool) -> Self {
        self.welcome_in_time = welcome_in_time;
        self
    }

    /// Sets [`ProducerOptions::backoff_min`] and [`ProducerOptions::backoff_max`].
    #[must_use]
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        (self.backoff_min, self.backoff_max) = (min, max);
        self
    }

    /// How long a service that has taken the connection may take for its welcome, with so much time `left`
    /// to reach it; `None`: any.
    pub(super) fn welcome_timeout(&self, left: Option<Duration>) -> Duration {
        match left {
            Some(left) if self.welcome_in_time => left.clamp(WELCOME_TIME_MIN, WELCOME_TIME_MAX),
            _ => WELCOME_TIME_MAX,
        }
    }

    pub(super) fn check(&self) -> Result<(), ProducerError> {
        let refuse = |reason: String| Err(ProducerError::Options { reason });
        if let Some(name) = &self.name
            && !is_name(name)
        {
            return refuse(format!("name is {name:?}: {}", WireFault::Name));
        }
        if self.buffer_bytes == 0 {
            return refuse("buffer_bytes is 0, nothing could ever be sent".into());
        }
        if self.backoff_min.is_zero() || self.backoff_max < self.backoff_min {
            let (min, max) = (self.backoff_min, self.backoff_max);
            return refuse(format!("backoff is {min:?} to {max:?}, it must grow from more than 0"));
        }
        Ok(())
    }
}
