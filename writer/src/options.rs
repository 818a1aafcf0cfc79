//! How a ring is written.

mod builder;

use crate::error::OpenError;
use std::path::PathBuf;
use std::time::Duration;
use waldo_shm_protocol::limits::{RECORD_SIZE_LIMIT, RING_SIZE_MAX};
use waldo_shm_protocol::page::PageGeometry;
use waldo_shm_protocol::segment::{SegmentCounts, SegmentGeometry};

/// When an append is acknowledged and visible to readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Once it survives power loss: every append, or group of appends, ends with a completed flush.
    Sync,
    /// Once it is in the page cache: it survives the writer's death. A background flush makes it durable at
    /// this interval, so a power cut takes the records appended since the last flush began. Pages are trimmed
    /// when durable records have taken their place; if the disk cannot keep up, appends wait for it.
    Interval(Duration),
    /// Once it is in the page cache: it survives the writer's death, and no more than that is promised.
    /// Appends run at the speed of memory and never wait for the disk. The log is flushed now and then. After
    /// a power cut the ring opens with the longest intact run of pages, in order and without a gap, and
    /// [`OpenReport::cut`](crate::OpenReport::cut) says what was dropped.
    /// [`Writer::sync`](crate::Writer::sync) makes the records in the ring durable, but later records may
    /// displace them before those are durable themselves.
    PageCache,
}

/// What happens if a ring is opened with another ring size, page length or index capacity than it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeometryChange {
    /// The ring's own values stay in force: opening the ring with other options drops nothing.
    /// [`OpenReport::geometry_kept`](crate::OpenReport::geometry_kept) says so.
    #[default]
    Keep,
    /// The options are in force where they make the ring larger; otherwise the ring's own values are.
    Grow,
    /// The options are in force. With a smaller ring size the oldest pages are trimmed, soon after the ring
    /// is opened and at the next rotation at the latest. Existing pages keep their length.
    Apply,
}

impl GeometryChange {
    /// Which of two values counts: the ring's or the options'.
    pub(crate) fn choose<T: Ord>(self, ring: T, options: T) -> T {
        match self {
            GeometryChange::Keep => ring,
            GeometryChange::Grow => ring.max(options),
            GeometryChange::Apply => options,
        }
    }
}

/// How records reach the page files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// io_uring where the kernel allows it, with small writes done in place where a measurement at open says
    /// that this is faster.
    Auto,
    /// io_uring for every write; opening fails where it is not available.
    Uring,
    /// `pwrite` and `fdatasync` on the appending thread.
    Pwrite,
}

impl Io {
    /// Every one there is.
    pub const ALL: [Io; 3] = [Io::Auto, Io::Uring, Io::Pwrite];
}

/// What happens when the ring needs another page file, and the disk has no room for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFull {
    /// The append fails with [`AppendError::NoPage`](crate::AppendError::NoPage), which names the last record
    /// appended, and nothing in the ring is dropped. The next append continues once there is room.
    #[default]
    Stop,
    /// The ring continues with the page files that it has, as a ring of fewer pages: the oldest page is
    /// trimmed, by the same rules as in a full ring, and its file is recycled. This needs at least three page
    /// files; with fewer, the writer behaves as with [`OnFull::Stop`]. Once a lap the ring checks whether
    /// there is room again; from then on it grows by a page at each rotation, up to `ring_size`, as long as
    /// there is room.
    DropOldest,
}

impl std::fmt::Display for OnFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            OnFull::Stop => "stop",
            OnFull::DropOldest => "drop-oldest",
        })
    }
}

impl std::str::FromStr for OnFull {
    type Err = String;

    fn from_str(text: &str) -> Result<OnFull, String> {
        let all = [OnFull::Stop, OnFull::DropOldest];
        let found = all.into_iter().find(|on_full| on_full.to_string() == text);
        found.ok_or_else(|| format!("`{text}` is nothing to do on a full disk: it is stop or drop-oldest"))
    }
}

/// Where the control segment is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlPlace {
    /// A POSIX shared memory object named after the ring.
    Posix,
    /// A file at this absolute path, which should be on a tmpfs. For containers: one bind mount.
    Path(PathBuf),
}

/// Options of a writer. Ring size, page length and index capacity belong to the ring: these options apply
/// when the ring is made, and later as [`WriterOptions::geometry_change`] says. Mode and group belong to the
/// ring too, and change only where they are given. All other options may change from one opening to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriterOptions {
    /// Pages in the ring: 1 to 65536. When another page is begun, the oldest is trimmed.
    pub ring_size: u32,
    /// Bytes of a page file: 16 KiB to 2 GiB, a multiple of 4096.
    pub page_len: u64,
    /// Most records in a page, at least 1.
    pub page_records_max: u64,
    /// Most sparse-index entries in a page: 1 to 2^20. A full index makes seeks in the page slower.
    pub index_capacity: u32,
    /// Bytes between two index entries, about; at least 1.
    pub index_sparse_bytes: usize,
    /// Records between two index entries; at least 1.
    pub index_sparse_count: usize,
    /// What happens if the ring exists and has another `ring_size`, `page_len` or `index_capacity`.
    pub geometry_change: GeometryChange,
    /// When an append is acknowledged.
    pub durability: Durability,
    /// How records reach the files.
    pub io: Io,
    /// Writes in flight at once with io_uring: 1 to 4096.
    pub queue_depth: u32,
    /// Write buffers: 1 to 1024.
    pub buffers: u16,
    /// Bytes of one write buffer: 4 KiB to 64 MiB, a multiple of 4096.
    pub buffer_len: usize,
    /// Take the buffers from the system's reserve of 2 MiB pages; opening fails if there are not enough.
    pub huge_buffers: bool,
    /// Permission bits of the ring's files and of its control segment: 0600 and read or write bits for group
    /// and others. Readers need only read permission. `None`: an existing ring keeps its mode, and a new ring
    /// gets 0640. If the given mode differs from that of existing files, opening changes them. The directory
    /// gets the read and search bits that match the read bits, and loses the others, unless it has another
    /// group than the files: then it loses none. Without `group` another user's directory stays as it is, as
    /// does one that all users share (sticky bit), and one whose set-group-id bit the change would clear.
    pub mode: Option<u32>,
    /// Number of the group of directory, files and control segment. The process must be a member of that
    /// group, or have the capability CAP_CHOWN; [`group_id`](crate::group_id) finds the number by name.
    /// `None`: an existing ring keeps its group, and its new files get the group of `ring.meta`; the files of
    /// a new ring get the group of the process, or that of a directory with the set-group-id bit. In both
    /// cases the segment gets the group of `ring.meta`, if this process may give it that group. If the given
    /// group differs from that of the directory or of existing files, opening changes it. The directory gets
    /// the set-group-id bit too, if the process is a member of the group or has CAP_FSETID; otherwise the
    /// writer gives each new file its group. 0 to 4294967294.
    pub group: Option<u32>,
    /// Where the control segment is made.
    pub control: ControlPlace,
    /// Remove the control segment at a clean close. Otherwise the segment stays for the next writer, and
    /// readers that sleep on it continue at once when that writer starts.
    pub remove_control: bool,
    /// Time between heartbeats, 10 ms to 10 s.
    pub heartbeat: Duration,
    /// Shortest time between two wakes of sleeping readers. If appends come further apart, the appending
    /// thread itself wakes the first two sleepers, which costs it a system call and the wakes. A thread of
    /// the writer wakes all others: it looks for sleepers every 50 us, or at this interval if that is longer.
    pub min_wake_interval: Duration,
    /// Let a thread of the writer prepare the next page before it is needed, so that a rotation swaps a
    /// pointer (the default). Without that thread no page is prepared ahead: each rotation trims, and makes
    /// or recycles its page, while the append waits, which counts as a rotation stall. That mode is for
    /// measuring the benefit of the thread; readers see no difference.
    pub prepare_ahead: bool,
    /// What happens when the disk has no room for another page file.
    pub on_full: OnFull,
    /// Trim pages whose records are all older than this, though the ring is not full. The writer checks at
    /// each rotation, and with `prepare_ahead` also each minute. The page that the log ends in stays, however
    /// old its records are, as does a page that no settled record follows yet. So records stay longer than
    /// this, by up to the time that a page takes to fill. The system's clock counts: a check while that clock
    /// is ahead trims what is too old by it. `None`, the default: pages are trimmed only from a full ring.
    pub keep_for: Option<Duration>,
    /// How long the committer of a [`SharedWriter`](crate::SharedWriter) waits for more appends after the
    /// first queued one, 0 to 1 s. With 0, the default, the committer batches the appends that arrive while
    /// it is busy, and never holds one back. A longer time trades the latency of every queued append for
    /// fewer and larger writes and flushes. The wait ends early when 1 MiB is queued, or when a caller asks
    /// for a flush or for the close. An append that finds the writer free and runs on the caller's thread
    /// does not wait.
    pub linger: Duration,
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions {
            ring_size: 8,
            page_len: 64 << 20,
            page_records_max: u64::MAX,
            index_capacity: 4096,
            index_sparse_bytes: 16 << 10,
            index_sparse_count: 256,
            geometry_change: GeometryChange::Keep,
            durability: Durability::Sync,
            io: Io::Auto,
            queue_depth: 8,
            buffers: 8,
            buffer_len: 256 << 10,
            huge_buffers: false,
            mode: None,
            group: None,
            control: ControlPlace::Posix,
            remove_control: false,
            heartbeat: Duration::from_millis(250),
            min_wake_interval: Duration::from_micros(10),
            prepare_ahead: true,
            on_full: OnFull::Stop,
            keep_for: None,
            linger: Duration::ZERO,
        }
    }
}

/// Bytes of a huge page, as `huge_buffers` asks for.
pub(crate) const HUGE_PAGE_LEN: usize = 2 << 20;

impl WriterOptions {
    /// Checks every value and derives the lengths of pages and control segment. Opening does that too.
    ///
    /// # Errors
    /// [`OpenError::Options`]: which value cannot work, and what could.
    pub fn check(&self) -> Result<(PageGeometry, SegmentGeometry), OpenError> {
        let refuse = |reason: String| Err(OpenError::Options { reason });
        if self.ring_size == 0 || self.ring_size > RING_SIZE_MAX {
            return refuse(format!("ring_size is {}, it must be 1 to {RING_SIZE_MAX}", self.ring_size));
        }
        if self.page_records_max == 0 {
            return refuse("page_records_max is 0, a page must hold at least 1 record".into());
        }
        if self.index_sparse_bytes == 0 || self.index_sparse_count == 0 {
            return refuse("index_sparse_bytes and index_sparse_count must be at least 1".into());
        }
        if self.queue_depth == 0 || self.queue_depth > 4096 {
            return refuse(format!("queue_depth is {}, it must be 1 to 4096", self.queue_depth));
        }
        if self.buffers == 0 || self.buffers > 1024 {
            return refuse(format!("the number of buffers is {}, it must be 1 to 1024", self.buffers));
        }
        let whole_pages = self.buffer_len.is_multiple_of(4096);
        if !(4096..=64 << 20).contains(&self.buffer_len) || !whole_pages {
            let len = self.buffer_len;
            return refuse(format!(
                "buffer_len is {len}, it must be 4096 to 67108864 and a multiple of 4096"
            ));
        }
        if self.huge_buffers && !self.buffer_len.is_multiple_of(HUGE_PAGE_LEN) {
            let len = self.buffer_len;
            return refuse(format!(
                "huge buffers need a buffer_len that is a multiple of {HUGE_PAGE_LEN} (2 MiB), it is {len}"
            ));
        }
        if let Some(mode) = self.mode
            && (mode & !0o666 != 0 || mode & 0o600 != 0o600)
        {
            return refuse(format!("mode is {mode:#o}, it must be 0600 plus read or write bits for others"));
        }
        if self.group == Some(u32::MAX) {
            return refuse("group is 4294967295, which no group can have".into());
        }
        if let ControlPlace::Path(path) = &self.control
            && !path.is_absolute()
        {
            return refuse(format!("the control segment's path {} must be absolute", path.display()));
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(10)).contains(&self.heartbeat) {
            return refuse(format!("heartbeat is {:?}, it must be 10 ms to 10 s", self.heartbeat));
        }
        if self.linger > Duration::from_secs(1) {
            return refuse(format!("linger is {:?}, it must be 0 to 1 s", self.linger));
        }
        if self.keep_for.is_some_and(|time| time.is_zero()) {
            return refuse("keep_for is 0, nothing would be kept".into());
        }
        if let Durability::Interval(interval) = self.durability
            && interval.is_zero()
        {
            return refuse("a sync interval of 0 means Durability::Sync: use that".into());
        }
        let Some(geometry) = PageGeometry::new(self.page_len, self.index_capacity) else {
            return refuse(format!(
                "page_len {} with index_capacity {} cannot work: page_len must be 16384 to 2147483648, a multiple \
                 of 4096, and leave room for records beside 24 bytes per index entry",
                self.page_len, self.index_capacity
            ));
        };
        let Some(shape) = SegmentGeometry::new(SegmentCounts {
            page_slots: self.ring_size + 2,
            index_capacity: self.index_capacity,
            wake_words: 1,
        }) else {
            return refuse(format!(
                "ring_size {} with index_capacity {} needs a control segment of more than 4 GiB: lower one",
                self.ring_size, self.index_capacity
            ));
        };
        Ok((geometry, shape))
    }

    /// The largest serialized record that fits a page of these options.
    pub(crate) fn record_size_max(geometry: &PageGeometry) -> u64 {
        geometry.record_size_max().min(RECORD_SIZE_LIMIT as u64 - 1)
    }
}
