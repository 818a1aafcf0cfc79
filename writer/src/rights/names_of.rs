//! Names of users and groups.

use nix::unistd::{Gid, Group, Uid, User};
use thiserror::Error;

/// No group has this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no group {name:?}: make it (groupadd --system {name}), or name another")]
pub struct UnknownGroup {
    /// The name.
    pub name: String,
}

/// The number of a group by its name, or by the number itself, which needs no name.
///
/// # Errors
/// [`UnknownGroup`], also where the system's list of groups cannot be read.
pub fn group_id(name: &str) -> Result<u32, UnknownGroup> {
    match name.parse() {
        // To the kernel this one says "no group".
        Ok(u32::MAX) => Err(UnknownGroup { name: name.to_owned() }),
        Ok(number) => Ok(number),
        Err(_) => match Group::from_name(name) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            _ => Err(UnknownGroup { name: name.to_owned() }),
        },
    }
}

/// For messages.
pub(super) fn group_text(group: u32) -> String {
    match Group::from_gid(Gid::from_raw(group)) {
        Ok(Some(found)) => format!("group {} ({group})", found.name),
        _ => format!("group {group}"),
    }
}

/// For messages.
pub(super) fn user_text(user: u32) -> String {
    match User::from_uid(Uid::from_raw(user)) {
        Ok(Some(found)) => format!("user {} ({user})", found.name),
        _ => format!("user {user}"),
    }
}
