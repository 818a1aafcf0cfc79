//! What the kernel permits a writer to do to rights, which is not always what its user id says.

use crate::permissions::is_root;
use crate::rights::{
    OTHERS, READERS, WRITER, all_rights, append, as_user, assert_rights, close, home_of, home_of_the_writer,
    rights, source_of,
};
use crate::support::child::Child;
use crate::support::namespaces::can_unshare;
use crate::support::ring::{Setup, TestRing};
use crate::support::wait::wait_until;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

/// A writer that `setpriv` starts with these arguments.
fn writer_with(setup: &Setup, ring: &TestRing, privileges: &str) -> Child {
    let script = format!("set -- setpriv {privileges} \"$@\"");
    Child::spawn_within(&["-m"], &script, "writer", setup.args(ring.home()))
}

/// `chmod` by somebody who is no member of a directory's group takes its set-group-id bit away, and new pages
/// would be of another group than the others.
#[test]
fn a_home_keeps_the_set_group_id_bit_that_its_owner_could_not_give_it_again() {
    if !is_root() {
        return;
    }
    let ring = home_of(WRITER, READERS, 0o2755);
    for mode in [0o640, 0o644, 0o640] {
        let setup = Setup { mode: Some(mode), ..Setup::default() };
        let mut writer = Child::spawn("writer", as_user(setup.args(ring.home()), WRITER, WRITER));
        writer.expect("opened");
        append(&mut writer, 1500);
        let mut found = all_rights(&ring);
        assert_eq!(found.remove("."), Some((READERS, 0o2755)), "{mode:o}");
        found.retain(|name, _| !matches!(&**name, "segment" | "writer.lock"));
        assert!(found.values().all(|found| *found == (READERS, mode)), "{mode:o} {found:?}");
        close(writer);
    }
}

/// In a user namespace files may have a group that is none there, and that nothing can be given to.
#[test]
fn where_the_group_of_the_home_is_none_in_a_user_namespace_the_files_are_read() {
    const NAMESPACE: &[&str] = &["-U", "-r"];
    if !is_root() || !can_unshare(NAMESPACE) {
        return;
    }
    let ring = home_of(0, READERS, 0o2750);
    // The second asks for a mode, which would cost the home its set-group-id bit.
    for setup in [Setup::default(), Setup { mode: Some(0o644), ..Setup::default() }] {
        let mode = setup.mode.unwrap_or(0o640);
        let mut writer = Child::spawn_within(NAMESPACE, ":", "writer", setup.args(ring.home()));
        writer.expect("opened");
        append(&mut writer, 1500);
        let mut found = all_rights(&ring);
        let segment = if mode == 0o640 { 0o600 } else { 0o644 };
        assert_eq!(found.remove("segment"), Some((0, segment)));
        assert_eq!(found.remove("."), Some((READERS, 0o2750)));
        assert_eq!(found.remove("writer.lock"), Some((READERS, 0o600)));
        assert!(found.values().all(|found| *found == (READERS, mode)), "{found:?}");
        assert_eq!(
            source_of(&ring, &setup, OTHERS, READERS),
            if mode == 0o640 { "files" } else { "segment" }
        );
        close(writer);
    }
}

/// A service that is not root's may have been given the capability.
#[test]
fn who_may_change_groups_need_not_be_a_member() {
    if !is_root() || !can_unshare(&["-m"]) {
        return;
    }
    let user = format!("--reuid {WRITER} --regid {WRITER} --clear-groups");
    let setup = Setup { group: Some(READERS), ..Setup::default() };
    for (capabilities, home) in [("+chown", 0o750), ("+chown,+fsetid", 0o2750)] {
        let ring = home_of_the_writer(0o755);
        let privileges = format!("{user} --inh-caps {capabilities} --ambient-caps {capabilities}");
        let mut writer = writer_with(&setup, &ring, &privileges);
        writer.expect("opened");
        append(&mut writer, 1500);
        assert_eq!(rights(&fs::metadata(ring.home()).unwrap()), (READERS, home));
        if home == 0o750 {
            // All else is as it is to be.
            fs::set_permissions(ring.home(), Permissions::from_mode(0o2750)).unwrap();
        }
        assert_rights(&ring, READERS, 0o640);
        close(writer);
        // Who could not give the bit leaves it where somebody else has given it.
        let mut writer = writer_with(&setup, &ring, &privileges);
        writer.expect("opened");
        assert_rights(&ring, READERS, 0o640);
        close(writer);
    }
}

/// It may change the mode of a file of another user's, and not the group.
#[test]
fn who_may_only_change_modes_is_told_before_anything_is_changed() {
    if !is_root() || !can_unshare(&["-m"]) {
        return;
    }
    let ring = home_of_the_writer(0o755);
    let mut first = Child::spawn("writer", as_user(Setup::default().args(ring.home()), WRITER, WRITER));
    first.expect("opened");
    close(first);
    chown(ring.page(1), Some(OTHERS), None).unwrap();
    fs::set_permissions(ring.page(1), Permissions::from_mode(0o666)).unwrap();
    let before = all_rights(&ring);
    let user = format!("--reuid {WRITER} --regid {WRITER} --groups {READERS}");
    let privileges = format!("{user} --inh-caps +fowner --ambient-caps +fowner");
    let setup = Setup { group: Some(READERS), ..Setup::default() };
    let mut writer = writer_with(&setup, &ring, &privileges);
    let text = writer.expect("refused").join(" ");
    for word in ["Rights", "page-", "belongs to user 54323", "this is user 54321", "nothing was changed"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    writer.finish();
    assert_eq!(all_rights(&ring), before);
}

/// In a container, root may not have it.
#[test]
fn root_without_the_capability_is_told_before_anything_is_changed() {
    if !is_root() || !can_unshare(&["-m"]) {
        return;
    }
    let ring = home_of(0, 0, 0o755);
    Child::spawn("writer", Setup::default().args(ring.home())).expect("opened");
    let before = all_rights(&ring);
    let setup = Setup { group: Some(READERS), ..Setup::default() };
    let mut writer = writer_with(&setup, &ring, "--bounding-set -chown --inh-caps -chown");
    let text = writer.expect("refused").join(" ");
    for word in ["Rights", "user root (0) is no member of group 54322", "nothing was changed"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    writer.finish();
    assert_eq!(all_rights(&ring), before);
}

/// A writer in a user namespace that has user 0, and the groups 0 and that of the readers.
fn writer_in_a_namespace(setup: &Setup, ring: &TestRing) -> Child {
    let mut writer = Child::spawn_within(&["-U"], "read mapped", "writer", setup.args(ring.home()));
    let map = |name: &str, lines: &str| fs::write(format!("/proc/{}/{name}", writer.pid()), lines);
    let groups = format!("0 0 1\n{READERS} {READERS} 1\n");
    // The namespace that it was started in has its maps already.
    wait_until("there is a namespace", || map("gid_map", &groups).is_ok());
    map("uid_map", "0 0 1\n").unwrap();
    writer.say("");
    writer
}

/// A capability counts for nothing where the user or the group of a file is none in the namespace.
#[test]
fn what_is_of_nobody_in_a_user_namespace_is_told_before_anything_is_changed() {
    if !is_root() || !can_unshare(&["-U"]) {
        return;
    }
    // The user and the group of a page, and the group that is asked for.
    let ring_of = |owner: u32, group: u32, to: u32| {
        let ring = home_of(0, 0, 0o755);
        Child::spawn("writer", Setup::default().args(ring.home())).expect("opened");
        chown(ring.page(1), Some(owner), Some(group)).unwrap();
        // It is read before anything is changed.
        fs::set_permissions(ring.page(1), Permissions::from_mode(0o666)).unwrap();
        (ring, Setup { group: Some(to), mode: Some(0o644), ..Setup::default() })
    };
    for (owner, group, to, words) in [
        (OTHERS, 0, READERS, ["page-", "a user who is none", "uid_map"]),
        (OTHERS, 0, 0, ["page-", "a user who is none", "uid_map"]),
        (0, OTHERS, READERS, ["page-", "its group is none", "gid_map"]),
        (0, 0, OTHERS, ["ring", "group 54323 is none", "gid_map"]),
    ] {
        let (ring, setup) = ring_of(owner, group, to);
        let before = all_rights(&ring);
        let mut writer = writer_in_a_namespace(&setup, &ring);
        let text = writer.expect("refused").join(" ");
        for word in words.iter().chain(&["Rights", "user namespace", "nothing was changed"]) {
            assert!(text.contains(word), "{word}: {text}");
        }
        writer.finish();
        assert_eq!(all_rights(&ring), before);
    }
    // An owner needs no capability to give what is theirs to a group of theirs.
    for (owner, group, to) in [(0, 0, READERS), (0, READERS, 0), (0, OTHERS, 0)] {
        let (ring, setup) = ring_of(owner, group, to);
        let mut writer = writer_in_a_namespace(&setup, &ring);
        writer.expect("opened");
        assert_rights(&ring, to, 0o644);
        close(writer);
    }
}
