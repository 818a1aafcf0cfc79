//! What a caller can choose.

use std::time::{Duration, SystemTime};

/// How to attach to a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachOptions {
    /// Ignore a control segment and read the files alone. Records then show up within 100 ms. Default:
    /// `false`.
    pub files_only: bool,
    /// How often a sleeping reader checks the writer's state and whether the ring has moved. Each sleep lasts
    /// this long plus or minus up to half, so that thousands of readers do not wake at once. This is also how
    /// long a reader may fail to notice a writer that cannot wake it (one with another `/dev/shm`, say).
    /// Default: 3 s.
    pub check_interval: Duration,
    /// A writer whose heartbeat is older than this, and older than eight of its intervals, is reported as
    /// [`WriterStatus::Stalled`](crate::WriterStatus::Stalled). Default: 5 s.
    pub stalled_after: Duration,
    /// The ring's writer is in this process, and its listener calls
    /// [`Ring::tell_streams`](crate::Ring::tell_streams) and
    /// [`Ring::rouse_streams`](crate::Ring::rouse_streams). These calls wake streams one thread switch sooner
    /// than the control segment does, and the segment has one sleeper less. If the listener does not call,
    /// streams notice records up to a second late. Default: `false`.
    pub streams_are_told: bool,
}

impl Default for AttachOptions {
    fn default() -> AttachOptions {
        AttachOptions {
            files_only: false,
            check_interval: Duration::from_secs(3),
            stalled_after: Duration::from_secs(5),
            streams_are_told: false,
        }
    }
}

impl AttachOptions {
    /// The same, with `files_only` set to this.
    #[must_use]
    pub fn files_only(mut self, files_only: bool) -> AttachOptions {
        self.files_only = files_only;
        self
    }

    /// The same, with this `check_interval`.
    #[must_use]
    pub fn check_interval(mut self, interval: Duration) -> AttachOptions {
        self.check_interval = interval;
        self
    }

    /// The same, with this `stalled_after`.
    #[must_use]
    pub fn stalled_after(mut self, age: Duration) -> AttachOptions {
        self.stalled_after = age;
        self
    }

    /// The same, with `streams_are_told` set to this.
    #[must_use]
    pub fn streams_are_told(mut self, streams_are_told: bool) -> AttachOptions {
        self.streams_are_told = streams_are_told;
        self
    }
}

/// Where to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// After the newest record: only new records.
    Tip,
    /// At the oldest record in the ring.
    Oldest,
    /// After the record with this number: at the first one with a greater number. `After(0)` is everything.
    After(u64),
    /// At the first record whose number is this or greater.
    From(u64),
    /// At the first record that was appended at this time or later, by the writer's clock; at the oldest
    /// record in the ring if that is younger.
    Since(SystemTime),
}

/// Which records a reader sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// Committed records, which are in the page cache: they survive the writer's death.
    #[default]
    Committed,
    /// Durable records, which survive power loss as well.
    Durable,
}

/// How much of a record is checked before it is handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Integrity {
    /// Lengths, kinds and the chain of sequence numbers.
    Structure,
    /// Also each header's checksum and epoch.
    #[default]
    Headers,
    /// Also each payload's hash: reads every byte once more.
    Payloads,
}

/// What to do when the next record has been trimmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLapped {
    /// Return [`ReadError::Lapped`](crate::ReadError::Lapped) until the caller seeks.
    #[default]
    Fail,
    /// Continue at the oldest record and note it in [`Reader::lapses`](crate::Reader::lapses).
    Oldest,
    /// Continue after the newest record and note it in [`Reader::lapses`](crate::Reader::lapses).
    Tip,
}

/// How to wait until there is a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitStrategy {
    /// Spin: shortest delay, one processor for each reader.
    Spin,
    /// Spin, but yield the processor between two looks.
    Yield,
    /// Sleep on a futex: no processor time while idle.
    Park,
    /// Spin for 2 to 50 us, depending on how often that has helped, then sleep.
    #[default]
    Adaptive,
}

/// How to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderOptions {
    /// Which records are seen. Default: committed ones.
    pub visibility: Visibility,
    /// What is checked. Default: headers.
    pub integrity: Integrity,
    /// What happens when the ring overtakes the reader. Default: an error.
    pub on_lapped: OnLapped,
    /// How to wait. Default: adaptive.
    pub wait: WaitStrategy,
    /// Most bytes of records (headers included) in one batch; a larger record comes alone. Default: 256 KiB.
    /// The first batch after a seek has at most 4 KiB, and each further batch twice as much as the one
    /// before, so that a lookup of one record touches no more than that. For lookups of single records only,
    /// choose 1.
    pub batch_bytes: usize,
}

impl Default for ReaderOptions {
    fn default() -> ReaderOptions {
        ReaderOptions {
            visibility: Visibility::default(),
            integrity: Integrity::default(),
            on_lapped: OnLapped::default(),
            wait: WaitStrategy::default(),
            batch_bytes: 256 * 1024,
        }
    }
}

impl ReaderOptions {
    /// The same, with this `visibility`.
    #[must_use]
    pub fn visibility(mut self, visibility: Visibility) -> ReaderOptions {
        self.visibility = visibility;
        self
    }

    /// The same, with this `integrity`.
    #[must_use]
    pub fn integrity(mut self, integrity: Integrity) -> ReaderOptions {
        self.integrity = integrity;
        self
    }

    /// The same, with this `on_lapped`.
    #[must_use]
    pub fn on_lapped(mut self, on_lapped: OnLapped) -> ReaderOptions {
        self.on_lapped = on_lapped;
        self
    }

    /// The same, with this `wait`.
    #[must_use]
    pub fn wait(mut self, wait: WaitStrategy) -> ReaderOptions {
        self.wait = wait;
        self
    }

    /// The same, with this `batch_bytes`.
    #[must_use]
    pub fn batch_bytes(mut self, batch_bytes: usize) -> ReaderOptions {
        self.batch_bytes = batch_bytes;
        self
    }
}
