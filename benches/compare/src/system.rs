//! The interface between a system and the harness.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Instant;

/// A system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
pub enum System {
    /// Waldo: committed appends, background flush
    Waldo,
    /// iceoryx2: publish-subscribe, and an event to wake subscribers
    Iceoryx2,
    /// LMDB: one writer, readers that look again and again
    Lmdb,
    /// Redis Streams: XADD and XREAD BLOCK over a Unix socket, nothing persisted
    Redis,
    /// The same with the append-only file, flushed every second
    RedisAof,
    /// Unix stream sockets, a connection for each subscriber
    Unix,
}

/// What a table says about a system.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Its name.
    pub name: &'static str,
    /// What survives what.
    pub persists: &'static str,
    /// What happens when a subscriber is slow.
    pub slow: &'static str,
    /// How a subscriber learns that there is something new.
    pub wakes: &'static str,
}

/// The publishing end, in a process of its own.
pub trait Publisher {
    /// Called once, while the subscribers start: returns when they are all known, if publishers of this kind
    /// know their subscribers.
    fn gather(&mut self, _subscribers: usize) -> anyhow::Result<()> {
        Ok(())
    }

    /// Publishes these records in one go. When it returns, the system has taken them, and subscribers are
    /// being told.
    fn publish(&mut self, records: &[Vec<u8>]) -> anyhow::Result<()>;

    /// Passes the time until `until`, doing what has to be done between two calls.
    fn idle(&mut self, until: Instant) -> anyhow::Result<()> {
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        Ok(())
    }

    /// Returns when this process is not needed for what was published to reach the subscribers.
    fn drain(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// The clean end.
    fn close(self: Box<Self>) -> anyhow::Result<()>;
}

/// The subscribing end, in a process of its own. From its making on, it misses nothing.
pub trait Subscriber {
    /// Waits for a second at most, and hands every record that has come to `take`, as it lies where the
    /// system puts it.
    fn receive(&mut self, take: &mut dyn FnMut(&[u8])) -> anyhow::Result<()>;
}

/// A server process that a system needs.
pub struct Server {
    /// Its program and arguments.
    pub command: Vec<String>,
    /// It is up when this can be connected to.
    pub socket: PathBuf,
}
