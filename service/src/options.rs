//! How a service treats its producers.

#[cfg(test)]
mod tests;

use crate::ServiceError;
use crate::producers::CLAIMS_MAX;
use std::time::Duration;
use waldo::client::lane::LaneGeometry;

/// Options of a [`Service`](crate::Service).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceOptions {
    /// Permission bits of the socket. Who may write to it may append. 0660 by default.
    pub mode: u32,
    /// Group of the socket, by name or number; that of the process by default.
    pub group: Option<String>,
    /// Longest body of a frame in bytes: 64 KiB to 64 MiB, 2 MiB by default. Enforced before memory is
    /// allocated. While frames arrive, each connection may take so much memory.
    pub frame_len_max: usize,
    /// Batches that one producer may have unacknowledged: 1 to 64, 32 by default.
    pub window_batches: u32,
    /// Bytes of frames that one producer may have unacknowledged: at least `frame_len_max`, 4 MiB by default.
    pub window_bytes: usize,
    /// Bytes that all producers together may have waiting for the ring, with 32 a record for bookkeeping:
    /// 32 MiB by default, at most 48 MiB. Who comes beyond that waits for its turn.
    pub queue_bytes: usize,
    /// Connections at once, 4096 by default. One more gets an error.
    pub producers_max: usize,
    /// Connections at once of one user, as the system tells who has connected. One more gets an error, and
    /// the other users are not concerned. `None`, the default: three quarters of `producers_max`, so that
    /// nobody alone takes all of them. 0: as many as there are.
    pub connections_per_user: Option<usize>,
    /// Producers that may send through shared memory at once, 512 by default; the others use the socket, as
    /// with 0 all do.
    pub lanes_max: usize,
    /// Bytes of shared memory for each of them: a power of two, 4 KiB to 64 MiB, 256 KiB by default. They are
    /// taken when the producer first writes to them.
    pub lane_bytes: usize,
    /// How long a connection may take for its HELLO, 10 s by default.
    pub hello_timeout: Duration,
    /// How long a producer may take for the rest of a frame it has begun, or not read its answers, until it
    /// is cut off: 30 s by default.
    pub stall_timeout: Duration,
    /// How long a shutdown waits for producers to take their last answers, 10 s by default; 1 s if the ring
    /// has failed.
    pub drain_timeout: Duration,
    /// Names that are remembered, 10,000 by default: at most about 2 KiB of memory each. Beyond that those
    /// go that were unused for the longest time.
    pub names_max: usize,
    /// How long a name that nobody uses is remembered, 7 days by default.
    pub names_kept: Duration,
    /// The journal of the names is written anew when it has grown by so many bytes, 4 MiB by default.
    pub journal_growth: u64,
}

impl Default for ServiceOptions {
    fn default() -> ServiceOptions {
        ServiceOptions {
            mode: 0o660,
            group: None,
            frame_len_max: 2 << 20,
            window_batches: 32,
            window_bytes: 4 << 20,
            queue_bytes: 32 << 20,
            producers_max: 4096,
            connections_per_user: None,
            lanes_max: 512,
            lane_bytes: 256 << 10,
            hello_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            names_max: 10_000,
            names_kept: Duration::from_secs(7 * 24 * 3600),
            journal_growth: 4 << 20,
        }
    }
}

/// One method for each option.
macro_rules! setters {
    ($($name:ident: $kind:ty,)*) => {
        impl ServiceOptions {
            $(
                #[doc = concat!("Sets [`ServiceOptions::", stringify!($name), "`].")]
                pub fn $name(mut self, $name: $kind) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }
    };
}

setters! {
    mode: u32,
    frame_len_max: usize,
    window_batches: u32,
    window_bytes: usize,
    queue_bytes: usize,
    producers_max: usize,
    lanes_max: usize,
    lane_bytes: usize,
    hello_timeout: Duration,
    stall_timeout: Duration,
    drain_timeout: Duration,
    names_max: usize,
    names_kept: Duration,
    journal_growth: u64,
}

impl ServiceOptions {
    /// Sets [`ServiceOptions::group`].
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Sets [`ServiceOptions::connections_per_user`].
    #[must_use]
    pub fn connections_per_user(mut self, connections: usize) -> Self {
        self.connections_per_user = Some(connections);
        self
    }

    /// Connections that one user may have; 0: any number.
    pub(crate) fn connections_of_user_max(&self) -> usize {
        let share = self.producers_max - self.producers_max / 4;
        self.connections_per_user.unwrap_or(share)
    }

    /// Names that were used later than this are remembered, in milliseconds since 1970.
    pub(crate) fn names_kept_since(&self, now_ms: u64) -> u64 {
        // A time that is longer than any clock means for ever.
        let kept_ms = u64::try_from(self.names_kept.as_millis()).unwrap_or(u64::MAX);
        now_ms.saturating_sub(kept_ms)
    }

    /// Checks every value; the start of a service does that too.
    ///
    /// # Errors
    /// [`ServiceError::Options`]: which value cannot work, and what could.
    pub fn check(&self) -> Result<(), ServiceError> {
        let refuse = |reason: String| Err(ServiceError::Options { reason });
        if self.mode & !0o777 != 0 {
            return refuse(format!("mode is {:#o}, it must be 0 to 0777", self.mode));
        }
        if !(64 << 10..=64 << 20).contains(&self.frame_len_max) {
            return refuse(format!("frame_len_max is {}, it must be 64 KiB to 64 MiB", self.frame_len_max));
        }
        if !(1..=CLAIMS_MAX as u32).contains(&self.window_batches) {
            let batches = self.window_batches;
            return refuse(format!("window_batches is {batches}, it must be 1 to {CLAIMS_MAX}"));
        }
        if self.window_bytes < self.frame_len_max || self.window_bytes > 1 << 30 {
            let bytes = self.window_bytes;
            return refuse(format!("window_bytes is {bytes}, it must be frame_len_max to 1 GiB"));
        }
        if !(64 << 10..=48 << 20).contains(&self.queue_bytes) {
            return refuse(format!("queue_bytes is {}, it must be 64 KiB to 48 MiB", self.queue_bytes));
        }
        if let Err(fault) = LaneGeometry::new(self.lane_bytes as u64) {
            return refuse(format!("lane_bytes: {fault}"));
        }
        for (name, value) in [("producers_max", self.producers_max), ("names_max", self.names_max)] {
            if value == 0 {
                return refuse(format!("{name} is 0, nobody could connect"));
            }
        }
        for (name, time) in [("hello_timeout", self.hello_timeout), ("stall_timeout", self.stall_timeout)] {
            if time.is_zero() {
                return refuse(format!("{name} is 0, everybody would be cut off"));
            }
        }
        if self.journal_growth < 4096 {
            return refuse(format!("journal_growth is {}, it must be 4096 at least", self.journal_growth));
        }
        Ok(())
    }
}
