//! The words that readers load constantly: watermarks, status, counters, wake words.

use crate::sync::{AtomicU32, AtomicU64, Ordering, load_acquire_u32};

/// The line that readers follow.
#[repr(C)]
#[derive(Debug, Default)]
pub struct CommittedLine {
    /// A packed [`crate::Position`]: everything below is committed.
    pub(super) position: AtomicU64,
    /// Sequence number of the last committed record; 0 if there is none.
    pub(super) tip_seq_no: AtomicU64,
    /// Records appended to the ring since it was made; `u64::MAX` if not known.
    pub(super) records: AtomicU64,
    /// Zero.
    pub(super) reserved: [AtomicU64; 13],
}

/// The line that readers of durable records follow.
#[repr(C)]
#[derive(Debug, Default)]
pub struct DurableLine {
    /// A packed [`crate::Position`]: everything below is durable.
    pub(super) position: AtomicU64,
    /// Zero.
    pub(super) reserved: [AtomicU64; 15],
}

/// The writer's state.
#[repr(C)]
#[derive(Debug, Default)]
pub struct StatusLine {
    /// A [`WriterState`].
    pub(super) state: AtomicU32,
    /// The error number of [`WriterState::Failed`]. Stays when the state changes, so that the number is right
    /// whenever a reader sees the state "failed".
    pub(super) errno: AtomicU32,
    /// The writer's starts so far; grows by one at each.
    pub(super) epoch: AtomicU32,
    /// The writer's process id, for people; never used to decide anything.
    pub(super) writer_pid: AtomicU32,
    /// When the writer was last seen alive: nanoseconds of CLOCK_BOOTTIME.
    pub(super) heartbeat_ns: AtomicU64,
    /// Id of the oldest page in the ring; 0 while there is none.
    pub(super) oldest_page: AtomicU64,
    /// Nanoseconds between heartbeats.
    pub(super) heartbeat_interval_ns: AtomicU64,
    /// Zero.
    pub(super) reserved: [AtomicU64; 11],
}

/// Counters of the writer since its start. Each only grows, unless its name says otherwise.
#[repr(C)]
#[derive(Debug)]
pub struct Counters {
    pub(super) words: [AtomicU64; 48],
}

/// The bit with which a sleeper waits on a wake word (FUTEX_WAIT_BITSET), derived from the value it sleeps
/// on. A thread that has changed the word to `token` wakes all bits but this one: the sleepers from before
/// the change, and not those that have looked since.
pub const fn wake_bit(token: u32) -> u32 {
    1 << (token % 32)
}

/// One futex word, on a cache line of its own.
#[repr(C)]
#[derive(Debug, Default)]
pub struct WakeWord {
    word: AtomicU32,
    reserved: [AtomicU32; 15],
}

#[cfg(not(loom))]
crate::layout::describe! {
    CommittedLine, "Committed line", 128, { position: 0, tip_seq_no: 8, records: 16, reserved: 24, }
}
#[cfg(not(loom))]
crate::layout::describe! {
    DurableLine, "Durable line", 128, { position: 0, reserved: 8, }
}
#[cfg(not(loom))]
crate::layout::describe! {
    StatusLine, "Status line", 128, {
        state: 0, errno: 4, epoch: 8, writer_pid: 12, heartbeat_ns: 16, oldest_page: 24,
        heartbeat_interval_ns: 32, reserved: 40,
    }
}
#[cfg(not(loom))]
crate::layout::describe! {
    Counters, "Counters", 384, { words: 0, }
}
#[cfg(not(loom))]
const _: () = assert!(size_of::<WakeWord>() == 64);

/// The writer's state, as the writer reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum WriterState {
    /// The segment is being filled in; nothing in it may be used yet.
    Init = 0,
    /// A writer is reading the files; the watermarks of its predecessor still hold.
    Recovering = 1,
    /// A writer runs.
    Live = 2,
    /// The writer closed the ring; everything is durable.
    Closed = 3,
    /// The writer met an error it must not go on after, and stopped. See `errno`.
    Failed = 4,
    /// This segment is out of use: another has taken its place.
    Retired = 5,
}

impl WriterState {
    /// The state with this number; `None` if there is none.
    pub fn from_word(word: u32) -> Option<WriterState> {
        use WriterState::*;
        [Init, Recovering, Live, Closed, Failed, Retired].into_iter().find(|s| *s as u32 == word)
    }
}

impl StatusLine {
    /// The writer's state; `None` if the word is not a valid state. Orders later loads of `errno` and `epoch`
    /// after the writer's stores.
    pub fn state(&self) -> Option<WriterState> {
        WriterState::from_word(load_acquire_u32(&self.state)) // SYNC(state)
    }

    /// Error number of the writer that failed last, 0 if none has. Meaningful only in state
    /// [`WriterState::Failed`].
    pub fn errno(&self) -> u32 {
        self.errno.load(Ordering::Relaxed)
    }

    /// The writer's starts so far.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Process id of the writer, for people.
    pub fn writer_pid(&self) -> u32 {
        self.writer_pid.load(Ordering::Relaxed)
    }

    /// When the writer was last seen alive: nanoseconds of CLOCK_BOOTTIME.
    pub fn heartbeat_ns(&self) -> u64 {
        self.heartbeat_ns.load(Ordering::Relaxed)
    }

    /// Nanoseconds between heartbeats.
    pub fn heartbeat_interval_ns(&self) -> u64 {
        self.heartbeat_interval_ns.load(Ordering::Relaxed)
    }

    /// Id of the oldest page in the ring; 0 while there is none.
    pub fn oldest_page(&self) -> u64 {
        self.oldest_page.load(Ordering::Relaxed)
    }
}

/// The counters by name; the number is the word's place in [`Counters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[non_exhaustive]
pub enum Counter {
    /// Records appended.
    Records = 0,
    /// Bytes of payload appended.
    PayloadBytes = 1,
    /// Bytes written to pages, headers and padding included.
    WrittenBytes = 2,
    /// Calls of append, or groups committed together.
    Appends = 3,
    /// Completed flushes.
    Flushes = 4,
    /// Pages begun.
    Rotations = 5,
    /// Pages begun that were recycled.
    RecycledPages = 6,
    /// Pages begun that had to be made fresh.
    FreshPages = 7,
    /// Trimmed pages that some process still maps, now. Not monotonic.
    StuckPages = 8,
    /// Pages trimmed.
    TrimmedPages = 9,
    /// Rotations that had to wait for a page.
    RotationStalls = 10,
    /// Times that sleeping readers were woken.
    Wakes = 11,
    /// Whether io_uring is in use: 1 or 0. Not monotonic.
    UringActive = 12,
    /// Bytes of all page files in the ring, the waiting ones included. Not monotonic.
    DiskBytes = 13,
    /// Rotations that waited for a flush, because pages leave the ring only once durable records have taken
    /// their place: the disk does not keep up with the appends.
    DiskWaits = 14,
    /// Nanoseconds by which the newest record's time is ahead of the clock. Times never fall, so after the
    /// clock was set back all records bear the same time until the clock has caught up. Not monotonic.
    TimeAheadNs = 15,
    /// Pages trimmed before the ring had its size, because the disk was full.
    FullDiskTrims = 16,
    /// Pages trimmed before the ring was full, because their records were too old.
    ExpiredPages = 17,
}

impl Counter {
    /// Every counter with its name in reports.
    pub const ALL: [(Counter, &'static str); 18] = [
        (Counter::Records, "records"),
        (Counter::PayloadBytes, "payload_bytes"),
        (Counter::WrittenBytes, "written_bytes"),
        (Counter::Appends, "appends"),
        (Counter::Flushes, "flushes"),
        (Counter::Rotations, "rotations"),
        (Counter::RecycledPages, "recycled_pages"),
        (Counter::FreshPages, "fresh_pages"),
        (Counter::StuckPages, "stuck_pages"),
        (Counter::TrimmedPages, "trimmed_pages"),
        (Counter::RotationStalls, "rotation_stalls"),
        (Counter::Wakes, "wakes"),
        (Counter::UringActive, "uring_active"),
        (Counter::DiskBytes, "disk_bytes"),
        (Counter::DiskWaits, "disk_waits"),
        (Counter::TimeAheadNs, "time_ahead_ns"),
        (Counter::FullDiskTrims, "full_disk_trims"),
        (Counter::ExpiredPages, "expired_pages"),
    ];
}

impl Counters {
    /// One counter's value now.
    pub fn get(&self, counter: Counter) -> u64 {
        self.words[counter as usize].load(Ordering::Relaxed)
    }
}

impl WakeWord {
    pub(super) fn word(&self) -> &AtomicU32 {
        &self.word
    }
}

#[cfg(all(test, loom))]
impl Counters {
    pub(super) fn blank() -> Counters {
        Counters { words: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}
