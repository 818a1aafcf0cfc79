//! Crowds of processes: how a command starts thousands of them, hears from them, and leaves none behind.

pub mod board;
pub mod caps;
pub mod child;
pub mod memory;
pub mod processes;
pub mod stage;
pub mod tied;
