//! The systems that are compared, each in a file of its own, behind the same traits.

mod iceoryx;
mod lmdb;
mod redis;
mod unix_socket;
mod waldo;

use crate::harness::spec::Spec;
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

impl System {
    /// What there is to say.
    pub fn facts(self) -> Facts {
        match self {
            System::Waldo => waldo::FACTS,
            System::Iceoryx2 => iceoryx::FACTS,
            System::Lmdb => lmdb::FACTS,
            System::Redis => redis::FACTS,
            System::RedisAof => redis::FACTS_AOF,
            System::Unix => unix_socket::FACTS,
        }
    }

    /// The server to start first, if the system needs one.
    pub fn server(self, spec: &Spec) -> anyhow::Result<Option<Server>> {
        match self {
            System::Redis => redis::server(spec, false).map(Some),
            System::RedisAof => redis::server(spec, true).map(Some),
            _ => Ok(None),
        }
    }

    /// Starts publishing.
    pub fn publisher(self, spec: &Spec) -> anyhow::Result<Box<dyn Publisher>> {
        match self {
            System::Waldo => waldo::publisher(spec),
            System::Iceoryx2 => iceoryx::publisher(spec),
            System::Lmdb => lmdb::publisher(spec),
            System::Redis | System::RedisAof => redis::publisher(spec),
            System::Unix => unix_socket::publisher(spec),
        }
    }

    /// Subscribes.
    pub fn subscriber(self, spec: &Spec) -> anyhow::Result<Box<dyn Subscriber>> {
        match self {
            System::Waldo => waldo::subscriber(spec),
            System::Iceoryx2 => iceoryx::subscriber(spec),
            System::Lmdb => lmdb::subscriber(spec),
            System::Redis | System::RedisAof => redis::subscriber(spec),
            System::Unix => unix_socket::subscriber(spec),
        }
    }
}
