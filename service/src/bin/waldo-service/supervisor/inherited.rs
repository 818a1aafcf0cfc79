//! Sockets that the process was started with, and the rings that they belong to.

use crate::config::{Config, RingConfig};
use anyhow::Context;
use std::os::unix::net::UnixListener;
use waldo_terminal::failure::Usage;

/// Nobody would listen on a socket that belongs to no ring, and whoever connects would wait for ever.
///
/// # Errors
/// Which socket has no ring of its own.
pub fn check(sockets: &[(String, UnixListener)], config: &Config) -> anyhow::Result<()> {
    if config.rings.len() == 1 && sockets.len() == 1 {
        return Ok(());
    }
    for (index, (name, _)) in sockets.iter().enumerate() {
        // One unit with several paths gives all of them one name.
        if sockets.iter().skip(index + 1).any(|(other, _)| other == name) {
            return Err(Usage(format!(
                "the service was started with two sockets that are named {name:?}, and a ring has one: leave one out, or \
                 give each a unit and a name of its own (systemd: FileDescriptorName=)"
            ))
            .into());
        }
        if !config.rings.iter().any(|ring| ring.name() == *name) {
            let known: Vec<String> = config.rings.iter().map(RingConfig::name).collect();
            return Err(Usage(format!(
                "the service was started with a socket that is named {name:?}, and no ring has this name: give it the \
                 name of one of them (systemd: FileDescriptorName=): {}",
                known.join(", ")
            ))
            .into());
        }
    }
    Ok(())
}

/// The socket of a ring. A copy, so that the ring can be opened again after a failure.
///
/// # Errors
/// There are no more descriptors.
pub fn copy_for(
    sockets: &[(String, UnixListener)],
    name: &str,
    only_one: bool,
) -> anyhow::Result<Option<UnixListener>> {
    let own = match sockets {
        [(_, one)] if only_one => Some(one),
        several => several.iter().find(|(other, _)| other == name).map(|(_, listener)| listener),
    };
    own.map(UnixListener::try_clone).transpose().context("cannot copy a descriptor")
}
