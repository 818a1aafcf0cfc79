//! The eleven options of the embedded API, and how they map to the writer's.

use super::Error;
use waldo_shm_protocol::Log;
use waldo_shm_protocol::limits::{INDEX_CAPACITY_MAX, INDEX_ENTRY_LEN, PAGE_LEN_MAX};
use waldo_writer::{ControlPlace, Durability, GeometryChange, Io, WriterOptions};

/// Pages and buffers come in units of this many bytes.
const UNIT: u64 = 4096;
/// Shortest page that takes the largest record beside header, index and footer.
const PAGE_LEN_MIN: u64 = (Log::SIZE_LIMIT + (256 << 10)) as u64;

/// Options to customize the behavior of Waldo.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Options {
    /// Pages in the ring, at least 1. When one more is begun, the oldest is trimmed. A storage that is there
    /// and has more keeps them; likewise `file_capacity` and `index_capacity` only ever grow.
    pub ring_size: u32,
    /// I/O submissions in flight, at least 1.
    pub queue_depth: u32,
    /// I/O buffers, at least 1.
    pub pool_size: u16,
    /// Take the buffers from the system's reserve of huge pages (2 MiB); `buf_capacity` is then a multiple of
    /// that.
    pub huge_buf: bool,
    /// Bytes of one I/O buffer, at least [`Log::SIZE_LIMIT`]; rounded up to a multiple of 4096.
    pub buf_capacity: usize,
    /// Records in one page at most.
    pub page_capacity: u64,
    /// Index entries in one page at most; an eighth of the page is given to the index at most.
    pub index_capacity: usize,
    /// Bytes between two index entries, about; at most half of [`Log::SIZE_LIMIT`].
    pub index_sparse_bytes: usize,
    /// Records between two index entries.
    pub index_sparse_count: usize,
    /// Appends complete when they are durable. Otherwise they complete when they are in the page cache: that
    /// survives this process, and a power cut is promised nothing. The storage is flushed now and then; after
    /// a power cut it opens with the longest run of pages that is whole.
    pub file_o_dsync: bool,
    /// Bytes of one page file at most, at least `buf_capacity`. Rounded down to a multiple of 4096, up to
    /// 1.25 MiB so that the largest record fits, and down to 2 GiB.
    pub file_capacity: u64,
}

impl Default for Options {
    /// Eight pages of 64 MiB, durable appends.
    fn default() -> Options {
        Options {
            ring_size: 8,
            queue_depth: 8,
            pool_size: 8,
            huge_buf: false,
            buf_capacity: 2 << 20,
            page_capacity: u64::MAX,
            index_capacity: 4096,
            index_sparse_bytes: 16 << 10,
            index_sparse_count: 256,
            file_o_dsync: true,
            file_capacity: 64 << 20,
        }
    }
}

impl Options {
    pub(super) fn to_writer(self) -> Result<WriterOptions, Error> {
        self.check()?;
        let page_len = (self.file_capacity / UNIT * UNIT).clamp(PAGE_LEN_MIN, PAGE_LEN_MAX);
        let index_max = (page_len / 8 / INDEX_ENTRY_LEN as u64).min(u64::from(INDEX_CAPACITY_MAX));
        Ok(WriterOptions::default()
            .ring_size(self.ring_size)
            .page_len(page_len)
            .page_records_max(self.page_capacity)
            // At most 2^20, so the number fits.
            .index_capacity((self.index_capacity as u64).min(index_max) as u32)
            .index_sparse_bytes(self.index_sparse_bytes)
            .index_sparse_count(self.index_sparse_count)
            .geometry_change(GeometryChange::Grow)
            .durability(match self.file_o_dsync {
                true => Durability::Sync,
                false => Durability::PageCache,
            })
            .io(Io::Auto)
            .queue_depth(self.queue_depth.min(4096))
            .buffers(self.pool_size)
            .buffer_len(self.buf_capacity.next_multiple_of(UNIT as usize))
            .huge_buffers(self.huge_buf)
            .control(ControlPlace::Posix)
            .remove_control(true))
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::Option(reason));
        for (name, zero) in [
            ("ring_size", self.ring_size == 0),
            ("queue_depth", self.queue_depth == 0),
            ("pool_size", self.pool_size == 0),
            ("page_capacity", self.page_capacity == 0),
            ("index_capacity", self.index_capacity == 0),
            ("index_sparse_bytes", self.index_sparse_bytes == 0),
            ("index_sparse_count", self.index_sparse_count == 0),
        ] {
            if zero {
                return refuse(format!("{name} is 0, it must be at least 1"));
            }
        }
        if self.buf_capacity < Log::SIZE_LIMIT {
            let (is, min) = (self.buf_capacity, Log::SIZE_LIMIT);
            return refuse(format!("buf_capacity is {is}, it must be at least Log::SIZE_LIMIT ({min})"));
        }
        if self.file_capacity < self.buf_capacity as u64 {
            let (file, buf) = (self.file_capacity, self.buf_capacity);
            return refuse(format!("file_capacity ({file}) must not be less than buf_capacity ({buf})"));
        }
        if self.index_sparse_bytes > Log::SIZE_LIMIT / 2 {
            let (is, max) = (self.index_sparse_bytes, Log::SIZE_LIMIT / 2);
            return refuse(format!("index_sparse_bytes is {is}, it must be at most {max}"));
        }
        Ok(())
    }
}
