//! Options one by one, so that a program need not name those that it leaves at their default.

use super::{ControlPlace, Durability, GeometryChange, Io, OnFull, WriterOptions};
use std::time::Duration;

impl WriterOptions {
    /// The same, with this `ring_size`.
    #[must_use]
    pub fn ring_size(mut self, ring_size: u32) -> WriterOptions {
        self.ring_size = ring_size;
        self
    }

    /// The same, with this `page_len`.
    #[must_use]
    pub fn page_len(mut self, page_len: u64) -> WriterOptions {
        self.page_len = page_len;
        self
    }

    /// The same, with this `page_len`, and with fewer index entries if the page is small, so that the index
    /// leaves room for records.
    #[must_use]
    pub fn page_len_with_fitting_index(self, page_len: u64) -> WriterOptions {
        let fitting = u32::try_from(page_len / 1024).unwrap_or(u32::MAX);
        let index_capacity = fitting.clamp(1, WriterOptions::default().index_capacity);
        self.page_len(page_len).index_capacity(index_capacity)
    }

    /// The same, with this `page_records_max`.
    #[must_use]
    pub fn page_records_max(mut self, page_records_max: u64) -> WriterOptions {
        self.page_records_max = page_records_max;
        self
    }

    /// The same, with this `index_capacity`.
    #[must_use]
    pub fn index_capacity(mut self, index_capacity: u32) -> WriterOptions {
        self.index_capacity = index_capacity;
        self
    }

    /// The same, with this `index_sparse_bytes`.
    #[must_use]
    pub fn index_sparse_bytes(mut self, index_sparse_bytes: usize) -> WriterOptions {
        self.index_sparse_bytes = index_sparse_bytes;
        self
    }

    /// The same, with this `index_sparse_count`.
    #[must_use]
    pub fn index_sparse_count(mut self, index_sparse_count: usize) -> WriterOptions {
        self.index_sparse_count = index_sparse_count;
        self
    }

    /// The same, with this `geometry_change`.
    #[must_use]
    pub fn geometry_change(mut self, geometry_change: GeometryChange) -> WriterOptions {
        self.geometry_change = geometry_change;
        self
    }

    /// The same, with this `durability`.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> WriterOptions {
        self.durability = durability;
        self
    }

    /// The same, with this `io`.
    #[must_use]
    pub fn io(mut self, io: Io) -> WriterOptions {
        self.io = io;
        self
    }

    /// The same, with this `queue_depth`.
    #[must_use]
    pub fn queue_depth(mut self, queue_depth: u32) -> WriterOptions {
        self.queue_depth = queue_depth;
        self
    }

    /// The same, with this `buffers`.
    #[must_use]
    pub fn buffers(mut self, buffers: u16) -> WriterOptions {
        self.buffers = buffers;
        self
    }

    /// The same, with this `buffer_len`.
    #[must_use]
    pub fn buffer_len(mut self, buffer_len: usize) -> WriterOptions {
        self.buffer_len = buffer_len;
        self
    }

    /// The same, with this `huge_buffers`.
    #[must_use]
    pub fn huge_buffers(mut self, huge_buffers: bool) -> WriterOptions {
        self.huge_buffers = huge_buffers;
        self
    }

    /// The same, with this `mode`.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> WriterOptions {
        self.mode = Some(mode);
        self
    }

    /// The same, with this `group`.
    #[must_use]
    pub fn group(mut self, group: u32) -> WriterOptions {
        self.group = Some(group);
        self
    }

    /// The same, with this `control`.
    #[must_use]
    pub fn control(mut self, control: ControlPlace) -> WriterOptions {
        self.control = control;
        self
    }

    /// The same, with this `remove_control`.
    #[must_use]
    pub fn remove_control(mut self, remove_control: bool) -> WriterOptions {
        self.remove_control = remove_control;
        self
    }

    /// The same, with this `heartbeat`.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Duration) -> WriterOptions {
        self.heartbeat = heartbeat;
        self
    }

    /// The same, with this `min_wake_interval`.
    #[must_use]
    pub fn min_wake_interval(mut self, min_wake_interval: Duration) -> WriterOptions {
        self.min_wake_interval = min_wake_interval;
        self
    }

    /// The same, with this `prepare_ahead`.
    #[must_use]
    pub fn prepare_ahead(mut self, prepare_ahead: bool) -> WriterOptions {
        self.prepare_ahead = prepare_ahead;
        self
    }

    /// The same, with this `on_full`.
    #[must_use]
    pub fn on_full(mut self, on_full: OnFull) -> WriterOptions {
        self.on_full = on_full;
        self
    }

    /// The same, with this `keep_for`.
    #[must_use]
    pub fn keep_for(mut self, keep_for: Duration) -> WriterOptions {
        self.keep_for = Some(keep_for);
        self
    }

    /// The same, with this `linger`.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> WriterOptions {
        self.linger = linger;
        self
    }
}
