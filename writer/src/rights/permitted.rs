//! What the kernel lets this process do to a file's owner, group and mode. This is checked beforehand,
//! because a call that is refused half-way leaves a ring half changed, and because one call is not refused:
//! `chmod` silently clears the set-group-id bit.
//!
//! In a user namespace a capability counts only for files whose user and group are mapped there. All users
//! that are not mapped have the same number there, and so have all such groups. That number says nothing of
//! who they are.

use nix::unistd::{getegid, geteuid, getgroups};
use std::fs;

/// Numbers of capabilities, capabilities(7).
#[derive(Clone, Copy)]
enum Capability {
    Chown = 0,
    FileOwner = 3,
    FileSetId = 4,
}

/// Whether this process may give its user's files to `group`.
pub(super) fn may_give(group: u32) -> bool {
    has_or_is_of(Capability::Chown, group)
}

/// Whether this process may give a file of this user and group to `group`.
pub(super) fn may_regroup(owner: u32, before: u32, group: u32) -> bool {
    let as_owner = geteuid().as_raw() == owner && is_member(group);
    is_group(group) && (as_owner || (has(Capability::Chown) && is_user(owner) && is_group(before)))
}

/// Whether a directory of `group` keeps its set-group-id bit when this process changes its mode.
pub(super) fn keeps_set_group_id(group: u32) -> bool {
    has_or_is_of(Capability::FileSetId, group)
}

/// Whether this process may change the mode of a file of user `owner`.
pub(super) fn is_mine(owner: u32) -> bool {
    is_user(owner) && (geteuid().as_raw() == owner || has(Capability::FileOwner))
}

fn has_or_is_of(capability: Capability, group: u32) -> bool {
    is_group(group) && (is_member(group) || has(capability))
}

fn is_member(group: u32) -> bool {
    let own = || getgroups().is_ok_and(|groups| groups.iter().any(|own| own.as_raw() == group));
    getegid().as_raw() == group || own()
}

/// Whether this thread has the capability now. Being root does not say so: a container's root may lack it,
/// and a service of another user may have been given it.
fn has(capability: Capability) -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").ok();
    match status.as_deref().and_then(effective) {
        Some(bits) => bits & 1 << capability as u32 != 0,
        // No /proc here.
        None => geteuid().is_root(),
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Whether `user` is one in this user namespace.
pub(super) fn is_user(user: u32) -> bool {
    is_mapped("/proc/self/uid_map", user)
}

/// Whether `group` is one in this user namespace.
pub(super) fn is_group(group: u32) -> bool {
    is_mapped("/proc/self/gid_map", group)
}

/// Where there is no /proc, there is probably no user namespace.
fn is_mapped(map: &str, id: u32) -> bool {
    fs::read_to_string(map).map_or(true, |map| is_in(&map, id))
}

/// Lines of a first number here, a first number outside, and a count.
fn is_in(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Option<Vec<u64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        let Some([first, _, count]) = numbers.as_deref() else { return false };
        (*first..first.saturating_add(*count)).contains(&id.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_as_the_kernel_writes_them() {
        let status = "Name:\tx\nCapPrm:\t00000000ffffffff\nCapEff:\t0000000000000009\nCapBnd:\t0\n";
        assert_eq!(effective(status), Some(9));
        for damaged in ["", "CapPrm:\t1\n", "CapEff:\tnone\n"] {
            assert_eq!(effective(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn a_group_is_looked_for_in_every_line_of_the_map() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        for (group, wanted) in [(0, true), (1, true), (65_536, true), (65_537, false), (u32::MAX, false)] {
            assert_eq!(is_in(map, group), wanted, "{group}");
        }
        assert!(is_in("0 0 4294967295\n", 65_534));
        for map in ["", "0 0", "x 0 10"] {
            assert!(!is_in(map, 5), "{map}");
        }
    }
}
