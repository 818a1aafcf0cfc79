//! The systems that are compared, each in a file of its own, behind the same traits.

#[cfg(feature = "iceoryx2")]
mod iceoryx;
#[cfg(not(all(feature = "iceoryx2", feature = "lmdb", feature = "redis")))]
mod left_out;
#[cfg(feature = "lmdb")]
mod lmdb;
#[cfg(feature = "redis")]
mod redis;
mod unix_socket;
mod waldo;

use crate::harness::spec::Spec;
use crate::system::{Facts, Publisher, Server, Subscriber, System};
#[cfg(not(feature = "iceoryx2"))]
use left_out as iceoryx;
#[cfg(not(feature = "lmdb"))]
use left_out as lmdb;
#[cfg(not(feature = "redis"))]
use left_out as redis;

/// What there is to say.
pub fn facts(system: System) -> Facts {
    match system {
        System::Waldo => waldo::FACTS,
        System::Iceoryx2 => iceoryx::FACTS,
        System::Lmdb => lmdb::FACTS,
        System::Redis => redis::FACTS,
        System::RedisAof => redis::FACTS_AOF,
        System::Unix => unix_socket::FACTS,
    }
}

/// The server to start first, if the system needs one.
pub fn server(system: System, spec: &Spec) -> anyhow::Result<Option<Server>> {
    match system {
        System::Redis => redis::server(spec, false).map(Some),
        System::RedisAof => redis::server(spec, true).map(Some),
        _ => Ok(None),
    }
}

/// Starts publishing.
pub fn publisher(system: System, spec: &Spec) -> anyhow::Result<Box<dyn Publisher>> {
    match system {
        System::Waldo => waldo::publisher(spec),
        System::Iceoryx2 => iceoryx::publisher(spec),
        System::Lmdb => lmdb::publisher(spec),
        System::Redis | System::RedisAof => redis::publisher(spec),
        System::Unix => unix_socket::publisher(spec),
    }
}

/// Subscribes.
pub fn subscriber(system: System, spec: &Spec) -> anyhow::Result<Box<dyn Subscriber>> {
    match system {
        System::Waldo => waldo::subscriber(spec),
        System::Iceoryx2 => iceoryx::subscriber(spec),
        System::Lmdb => lmdb::subscriber(spec),
        System::Redis | System::RedisAof => redis::subscriber(spec),
        System::Unix => unix_socket::subscriber(spec),
    }
}
