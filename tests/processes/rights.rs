//! Who may read a ring that is made for the readers of a group. Users and groups are numbers without names.

use crate::permissions::is_root;
use crate::support::args::Args;
use crate::support::child::Child;
use crate::support::ring::{Setup, TestRing, attach};
use std::collections::BTreeMap;
use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use waldo::protocol::names;
use waldo::writer::{ControlPlace, Writer};

/// Who writes. The user's own group has the same number.
pub const WRITER: u32 = 54_321;
/// The group of those who read, and another one.
pub const READERS: u32 = 54_322;
pub const OTHERS: u32 = 54_323;

/// Group and permission bits.
pub type Rights = (u32, u32);

pub fn rights(stat: &Metadata) -> Rights {
    (stat.gid(), stat.mode() & 0o7777)
}

/// What everything that belongs to the ring has: `.` is the directory, `segment` the control segment. What is
/// no page yet, or no page any more, is left out.
pub fn all_rights(ring: &TestRing) -> BTreeMap<String, Rights> {
    let entries = fs::read_dir(ring.home()).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), path);
    let mut all: BTreeMap<_, _> = entries.map(named).collect();
    all.retain(|name, _| !name.starts_with(names::SCRATCH_PREFIX));
    all.insert(".".into(), ring.home().to_owned());
    all.insert("segment".into(), ring.segment());
    // A writer that runs makes pages, and lets them go.
    let look = |(name, path)| Some((name, rights(&fs::symlink_metadata(path).ok()?)));
    all.into_iter().filter_map(look).collect()
}

/// Everything has this group and these bits; the directory what goes with them, and nobody but the writer can
/// open the lock, whatever its group is.
pub fn assert_rights(ring: &TestRing, group: u32, mode: u32) {
    let mut pages = 0;
    for (name, found) in all_rights(ring) {
        let wanted = match name.as_str() {
            "." => (group, 0o2700 | mode & 0o044 | (mode & 0o044) >> 2),
            names::LOCK => (found.0, 0o600),
            _ => (group, mode),
        };
        pages += u32::from(name.starts_with(names::PAGE_PREFIX));
        assert_eq!(found, wanted, "{name}: {:o}, {:o}", found.1, wanted.1);
    }
    assert!(pages > 0);
}

/// A home that belongs to [`WRITER`], in a directory that everybody may go through.
pub fn home_of_the_writer(mode: u32) -> TestRing {
    home_of(WRITER, WRITER, mode)
}

/// The same, of another user and group.
pub fn home_of(user: u32, group: u32, mode: u32) -> TestRing {
    let ring = TestRing::new();
    ring.open_to_all();
    chown(ring.home(), Some(user), Some(group)).unwrap();
    fs::set_permissions(ring.home(), Permissions::from_mode(mode)).unwrap();
    ring
}

pub fn as_user(args: Args, user: u32, group: u32) -> Args {
    args.with("uid", user).with("gid", group)
}

/// A writer that has the group of the readers besides its own.
pub fn writer(ring: &TestRing, setup: &Setup) -> Child {
    let args = setup.args(ring.home());
    Child::spawn("writer", as_user(args, WRITER, WRITER).with("groups", READERS))
}

pub fn append(writer: &mut Child, records: u64) {
    writer.say(format!("append {records} 10"));
    writer.expect("acked");
}

pub fn close(mut writer: Child) {
    writer.say("close");
    writer.expect("closed");
    writer.finish();
}

/// How a user of this group sees the ring: `segment` or `files`.
pub fn source_of(ring: &TestRing, setup: &Setup, user: u32, group: u32) -> String {
    let mut scout = Child::spawn("scout", as_user(setup.args(ring.home()), user, group));
    scout.expect("attached");
    scout.say("");
    let source = scout.expect("status").remove(0);
    scout.finish();
    source
}

fn assert_refused(ring: &TestRing, setup: &Setup, user: u32, group: u32) {
    // It would write too, and asks for nothing.
    let setup = Setup { mode: None, group: None, ..*setup };
    let mut visitor = Child::spawn("visitor", as_user(setup.args(ring.home()), user, group));
    visitor.expect("refused");
    visitor.expect("done");
    visitor.finish();
}

#[test]
fn a_group_that_is_named_follows_by_the_segment_and_nobody_else_reads() {
    if !is_root() {
        return;
    }
    let setup = Setup { group: Some(READERS), ..Setup::default() };
    // Whatever the directory was before.
    for before in [0o700, 0o755] {
        let ring = home_of_the_writer(before);
        let mut writer = writer(&ring, &setup);
        writer.expect("opened");
        assert_rights(&ring, READERS, 0o640);
        assert_eq!(source_of(&ring, &setup, OTHERS, READERS), "segment");
        let args = as_user(setup.args(ring.home()), OTHERS, READERS);
        let mut follower = Child::spawn("follower", args.with("until", 1500));
        follower.expect("ready");
        append(&mut writer, 1500);
        assert_eq!(follower.skip_to("done"), [1500, 0, 1500]);
        follower.finish();
        // Also of the pages that were made and used again since.
        assert_rights(&ring, READERS, 0o640);
        assert_refused(&ring, &setup, OTHERS, OTHERS);
        // The writer's own group is not that of the readers.
        assert_refused(&ring, &setup, OTHERS, WRITER);
        close(writer);
    }
}

/// The kernel gives what is made in such a directory to its group; shared memory is made elsewhere.
#[test]
fn the_group_of_a_set_group_id_home_reads_the_segment_too() {
    if !is_root() {
        return;
    }
    let setup = Setup::default();
    let ring = home_of(WRITER, READERS, 0o2750);
    let mut writer = writer(&ring, &setup);
    writer.expect("opened");
    append(&mut writer, 1500);
    assert_rights(&ring, READERS, 0o640);
    assert_eq!(source_of(&ring, &setup, OTHERS, READERS), "segment");
    assert_refused(&ring, &setup, OTHERS, WRITER);
    close(writer);
}

/// The user that writes is no member of the group, and could not give the segment to it. Nobody else gets it
/// instead.
#[test]
fn where_the_segment_cannot_be_given_to_the_group_of_the_home_it_reads_the_files() {
    if !is_root() {
        return;
    }
    let setup = Setup::default();
    let ring = home_of(WRITER, READERS, 0o2750);
    let args = as_user(setup.args(ring.home()), WRITER, WRITER);
    let mut writer = Child::spawn("writer", args);
    writer.expect("opened");
    append(&mut writer, 1500);
    let mut found = all_rights(&ring);
    assert_eq!(found.remove("segment"), Some((WRITER, 0o600)));
    assert!(found.values().all(|(group, _)| *group == READERS), "{found:?}");
    assert_eq!(source_of(&ring, &setup, OTHERS, READERS), "files");
    let args = as_user(setup.args(ring.home()), OTHERS, READERS);
    let mut follower = Child::spawn("follower", args.with("after", 1500).with("until", 1600));
    follower.expect("ready");
    append(&mut writer, 100);
    assert_eq!(follower.skip_to("done"), [100, 0, 1600]);
    follower.finish();
    assert_refused(&ring, &setup, OTHERS, WRITER);
    close(writer);
}

/// One that is just being made is waited for, some milliseconds. Each reader would wait so long at each look
/// for one that it will never be given.
#[test]
fn a_segment_that_is_not_for_a_reader_is_not_waited_for() {
    if !is_root() {
        return;
    }
    let setup = Setup::default();
    let ring = home_of(WRITER, READERS, 0o2750);
    let mut writer = Child::spawn("writer", as_user(setup.args(ring.home()), WRITER, WRITER));
    writer.expect("opened");
    append(&mut writer, 1500);
    let args = as_user(setup.args(ring.home()), OTHERS, READERS);
    let mut scout = Child::spawn("scout", args.with("dies_at_sleep", 1));
    scout.expect("attached");
    for _ in 0..3 {
        scout.say("");
        assert_eq!(scout.expect("status")[0], "files");
    }
    scout.finish();
    close(writer);
}

/// A segment in a file goes by the ring as well, and no directory's bits help it.
#[test]
fn a_segment_in_a_file_gets_group_and_mode() {
    if !is_root() {
        return;
    }
    let ring = TestRing::new();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("segment");
    let setup = Setup { mode: Some(0o644), group: Some(READERS), ..Setup::default() };
    let options = || setup.options().control(ControlPlace::Path(path.clone()));
    Writer::open(ring.home(), options()).unwrap().close().unwrap();
    assert_rights(&ring, READERS, 0o644);
    // Taken over, and made anew.
    for remove in [false, true] {
        if remove {
            fs::remove_file(&path).unwrap();
        }
        let setup = Setup { mode: Some(0o640), group: Some(OTHERS), ..setup };
        let options = setup.options().control(ControlPlace::Path(path.clone()));
        Writer::open(ring.home(), options).unwrap().close().unwrap();
        assert_rights(&ring, OTHERS, 0o640);
    }
}

#[test]
fn a_group_that_is_not_the_process_s_is_refused_before_anything_is_made() {
    if !is_root() {
        return;
    }
    let setup = Setup { group: Some(OTHERS), ..Setup::default() };
    let ring = TestRing::new();
    let parent = ring.home().parent().unwrap();
    fs::set_permissions(parent, Permissions::from_mode(0o777)).unwrap();
    let mut writer = writer(&ring, &setup);
    let told = writer.expect("refused");
    let text = told.join(" ");
    for word in ["Rights", "user 54321", "group 54323", "SupplementaryGroups=", "nothing was changed"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    writer.finish();
    assert!(!ring.home().exists());
}

#[test]
fn a_directory_that_all_users_share_is_not_given_to_a_group() {
    if !is_root() {
        return;
    }
    let ring = TestRing::new();
    ring.open_to_all();
    fs::set_permissions(ring.home(), Permissions::from_mode(0o1777)).unwrap();
    let before = rights(&fs::metadata(ring.home()).unwrap());
    let setup = Setup { group: Some(READERS), ..Setup::default() };
    let error = Writer::open(ring.home(), setup.options()).unwrap_err().to_string();
    assert!(error.contains("sticky"), "{error}");
    // The mode of the files alone is no reason to touch it.
    let setup = Setup { mode: Some(0o600), ..Setup::default() };
    Writer::open(ring.home(), setup.options()).unwrap().close().unwrap();
    assert_eq!(rights(&fs::metadata(ring.home()).unwrap()), before);
    attach(ring.home());
}
