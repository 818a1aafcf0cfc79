//! Crowds of processes: how a program starts thousands of them, hears from them, and leaves none behind.

pub mod caps;
pub mod child;
pub mod child_guard;
pub mod event_log;
pub mod group;
pub mod memory;
pub mod work_dir;
