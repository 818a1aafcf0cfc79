//! Counts of what a service has done.

use std::sync::atomic::{AtomicU64, Ordering};
use waldo::client::wire::ErrorCode;

const CODES: usize = ErrorCode::ALL.len();

/// The counters as they are kept. Each stands for itself, so all are relaxed.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connected: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) cut_off: AtomicU64,
    pub(crate) names: AtomicU64,
    pub(crate) lanes: AtomicU64,
    pub(crate) socket_bytes: AtomicU64,
    pub(crate) lane_bytes: AtomicU64,
    errors: [AtomicU64; CODES],
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn subtract(counter: &AtomicU64, count: u64) {
        counter.fetch_sub(count, Ordering::Relaxed);
    }

    pub(crate) fn count_error(&self, code: ErrorCode) {
        if let Some(counter) = self.errors.get(code as usize - 1) {
            Counters::add(counter, 1);
        }
    }

    pub(crate) fn snapshot(&self) -> ServiceCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServiceCounters {
            connected: read(&self.connected),
            connections: read(&self.connections),
            batches: read(&self.batches),
            records: read(&self.records),
            bytes: read(&self.bytes),
            duplicates: read(&self.duplicates),
            cut_off: read(&self.cut_off),
            names: read(&self.names),
            lanes: read(&self.lanes),
            socket_bytes: read(&self.socket_bytes),
            lane_bytes: read(&self.lane_bytes),
            errors: std::array::from_fn(|index| read(&self.errors[index])),
        }
    }
}

/// What a service has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceCounters {
    /// Connections there are now.
    pub connected: u64,
    /// Connections there have been.
    pub connections: u64,
    /// Batches stored; those that had been stored before as a whole are not counted.
    pub batches: u64,
    /// Records stored.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Records that were skipped because they had been stored before.
    pub duplicates: u64,
    /// Connections that were cut off because the producer sent half a frame or did not read its answers.
    pub cut_off: u64,
    /// Names that are remembered.
    pub names: u64,
    /// Lanes there are now.
    pub lanes: u64,
    /// Bytes of frames that came over sockets; BELL is not counted.
    pub socket_bytes: u64,
    /// Bytes of frames that came through lanes.
    pub lane_bytes: u64,
    errors: [u64; CODES],
}

impl ServiceCounters {
    /// How many errors with this code have been sent, or would have been if the producer had still been
    /// there.
    pub fn errors(&self, code: ErrorCode) -> u64 {
        self.errors.get(code as usize - 1).copied().unwrap_or(0)
    }
}
