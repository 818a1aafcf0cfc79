//! A ring that is there is opened for other readers than before.

use crate::permissions::is_root;
use crate::rights::{
    OTHERS, READERS, WRITER, all_rights, append, as_user, assert_rights, close, home_of_the_writer, writer,
};
use crate::roles::writer_append;
use crate::support::child::Child;
use crate::support::ring::{Setup, TestRing};
use crate::support::wait::wait_until;
use nix::sys::signal::Signal;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use waldo::writer::Writer;

/// Many small pages.
const WIDE: Setup = Setup {
    io: waldo::writer::Io::Pwrite,
    interval_ms: Some(50),
    ring_size: 60,
    page_len: 64 << 10,
    max: 600,
    mode: None,
    group: None,
};

#[test]
fn all_pages_of_a_ring_change_their_group_and_those_that_come_have_it() {
    if !is_root() {
        return;
    }
    let ring = TestRing::new();
    let mut writer = ring.writer(&WIDE);
    writer_append(&mut writer, 20_000, 100, WIDE.max);
    writer.close().unwrap();
    assert!(ring.status().pages >= 60);
    for (group, mode) in [(READERS, 0o640), (OTHERS, 0o644), (READERS, 0o600)] {
        let setup = Setup { mode: Some(mode), group: Some(group), ..WIDE };
        let mut writer = ring.writer(&setup);
        assert_rights(&ring, group, mode);
        // Every page goes, is used again where that is possible, or made anew.
        writer_append(&mut writer, 20_000, 100, WIDE.max);
        assert_rights(&ring, group, mode);
        writer.close().unwrap();
        // Who asks for nothing changes nothing.
        let mut writer = ring.writer(&WIDE);
        writer_append(&mut writer, 1000, 100, WIDE.max);
        writer.close().unwrap();
        assert_rights(&ring, group, mode);
    }
}

/// The group alone, or the mode alone.
#[test]
fn what_is_not_asked_for_stays() {
    if !is_root() {
        return;
    }
    let ring = TestRing::new();
    let open = |mode, group| ring.writer(&Setup { mode, group, ..Setup::default() }).close().unwrap();
    open(Some(0o644), Some(READERS));
    open(None, Some(OTHERS));
    assert_rights(&ring, OTHERS, 0o644);
    open(Some(0o640), None);
    assert_rights(&ring, OTHERS, 0o640);
}

/// What somebody changed by hand is not used for other records: a file that more may read least of all.
#[test]
fn a_page_that_others_may_read_is_not_used_again() {
    if !is_root() {
        return;
    }
    let ring = TestRing::new();
    let setup = Setup::default();
    let mut writer = ring.writer(&setup);
    writer_append(&mut writer, 2000, 10, setup.max);
    for (name, _) in all_rights(&ring).iter().filter(|(name, _)| name.starts_with("page-")) {
        let path = ring.home().join(name);
        let open_up = || {
            chown(&path, None, Some(OTHERS))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666))
        };
        match open_up() {
            // The writer lets go of pages beside this.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => done.unwrap(),
        }
    }
    // The pages that were changed leave the ring one after the other.
    writer_append(&mut writer, 4000, 10, setup.max);
    writer.close().unwrap();
    let own = fs::metadata(ring.home().join("ring.meta")).unwrap().gid();
    for (name, found) in all_rights(&ring).iter().filter(|(name, _)| name.starts_with("page-")) {
        assert_eq!(*found, (own, 0o640), "{name}");
    }
}

#[test]
fn a_symbolic_link_in_the_place_of_a_page_is_not_followed() {
    if !is_root() {
        return;
    }
    let ring = TestRing::new();
    let mut writer = ring.writer(&WIDE);
    writer_append(&mut writer, 2000, 10, WIDE.max);
    writer.close().unwrap();
    let page = ring.page(ring.status().oldest_page);
    let victim = ring.home().parent().unwrap().join("victim");
    fs::rename(&page, &victim).unwrap();
    symlink(&victim, &page).unwrap();
    let before = (all_rights(&ring), fs::metadata(&victim).unwrap().ctime_nsec());
    let setup = Setup { mode: Some(0o644), group: Some(READERS), ..WIDE };
    Writer::open(ring.home(), setup.options()).unwrap_err();
    assert_eq!((all_rights(&ring), fs::metadata(&victim).unwrap().ctime_nsec()), before);
}

/// Neither by a user who is not of the group, nor where something belongs to another user.
#[test]
fn a_change_that_is_not_permitted_changes_nothing() {
    if !is_root() {
        return;
    }
    let ring = home_of_the_writer(0o755);
    let mut first = writer(&ring, &Setup::default());
    first.expect("opened");
    append(&mut first, 2000);
    close(first);
    let refused = |group: u32, words: &[&str]| {
        let look = || {
            let stat = |name: &String| fs::metadata(ring.home().join(name).as_path()).ok();
            let changed = |stat: fs::Metadata| (stat.ctime(), stat.ctime_nsec(), stat.len());
            let all = all_rights(&ring);
            // The lock's content names its holder.
            let times: Vec<_> = all
                .keys()
                .filter(|name| *name != "writer.lock")
                .map(|name| stat(name).map(changed))
                .collect();
            (all, times, ring.snapshot())
        };
        let before = look();
        let mut writer = writer(&ring, &Setup { group: Some(group), ..Setup::default() });
        let text = writer.expect("refused").join(" ");
        for word in words.iter().chain(&["Rights", "nothing was changed"]) {
            assert!(text.contains(word), "{word}: {text}");
        }
        writer.finish();
        assert_eq!(look(), before);
    };
    refused(OTHERS, &["user 54321 is no member of group 54323"]);
    let page = ring.page(ring.status().tip_page);
    chown(&page, Some(OTHERS), None).unwrap();
    fs::set_permissions(&page, fs::Permissions::from_mode(0o666)).unwrap();
    refused(READERS, &["belongs to user 54323", "this is user 54321", page.to_str().unwrap()]);
    chown(&page, Some(WRITER), None).unwrap();
    chown(ring.home(), Some(0), None).unwrap();
    fs::set_permissions(ring.home(), fs::Permissions::from_mode(0o777)).unwrap();
    refused(READERS, &["belongs to user root (0)", "this is user 54321"]);
    // A directory that somebody else has prepared for the group needs no change.
    chown(ring.home(), None, Some(READERS)).unwrap();
    fs::set_permissions(ring.home(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut writer = writer(&ring, &Setup { group: Some(READERS), ..Setup::default() });
    writer.expect("opened");
    append(&mut writer, 2000);
    let mut found = all_rights(&ring);
    assert_eq!(found.remove("."), Some((READERS, 0o777)));
    assert_eq!(found.remove("writer.lock"), Some((WRITER, 0o600)));
    assert!(found.values().all(|(group, _)| *group == READERS), "{found:?}");
    close(writer);
}

/// Whether somebody who has only `group`, or nothing, may read a file with these rights.
fn may_read((file_group, mode): (u32, u32), group: u32) -> bool {
    mode & if group == file_group { 0o040 } else { 0o004 } != 0
}

/// The process is killed before each kind of step. Nobody may read then who may neither before nor after, and
/// the next opening that asks for the same does the rest.
#[test]
fn killed_between_two_steps_a_change_lets_nobody_in_and_is_finished_by_the_next() {
    if !is_root() {
        return;
    }
    const NOT_OF_ANY: u32 = 54_399;
    // From a group that may read to one that may not while all others may, and the other way round: each step
    // alone would let somebody in.
    let from = [(WRITER, 0o640), (READERS, 0o604), (WRITER, 0o604), (WRITER, 0o600), (WRITER, 0o644)];
    let to = [(READERS, 0o604), (WRITER, 0o640), (READERS, 0o640), (READERS, 0o640), (READERS, 0o600)];
    for (from, to) in from.into_iter().zip(to) {
        let setup = |(group, mode)| Setup { group: Some(group), mode: Some(mode), ..Setup::default() };
        let both = from.1 & to.1;
        let directory = |mode: u32| 0o2700 | mode & 0o044 | (mode & 0o044) >> 2;
        let steps = [
            ("dies_at_group", to.0, false),
            // Of the first file, where the directory is as it is to be.
            ("dies_at_group", to.0, true),
            ("dies_at_mode", both, false),
            ("dies_at_mode", to.1, false),
            ("dies_at_mode", directory(from.1) & directory(to.1), false),
            ("dies_at_mode", directory(to.1), false),
        ];
        let mut died = 0;
        for (name, value, prepared) in steps {
            let ring = home_of_the_writer(0o755);
            let mut first = writer(&ring, &setup(from));
            first.expect("opened");
            append(&mut first, 1000);
            close(first);
            if prepared {
                chown(ring.home(), None, Some(to.0)).unwrap();
                fs::set_permissions(ring.home(), fs::Permissions::from_mode(directory(to.1))).unwrap();
            }
            let before = all_rights(&ring);
            let args = as_user(setup(to).args(ring.home()), WRITER, WRITER).with("groups", READERS);
            let mut second = Child::spawn("writer", args.with(name, value));
            // Some steps are none of this change, or come later than the opening.
            wait_until("the writer dies or opens the ring", || {
                second.ended() || second.hear_now().is_some_and(|message| message[0] == "opened")
            });
            died += u32::from(second.ended_by() == Some(Signal::SIGSYS as i32));
            second.kill();
            for (file, found) in all_rights(&ring) {
                let Some(before) = before.get(&file) else { continue };
                let after = if file == "." { (to.0, directory(to.1)) } else { to };
                for group in [WRITER, READERS, OTHERS, NOT_OF_ANY] {
                    let allowed = may_read(*before, group) || may_read(after, group);
                    assert!(!may_read(found, group) || allowed, "{from:?} {to:?} {name} {file} {found:?}");
                }
            }
            let mut third = writer(&ring, &setup(to));
            third.expect("opened");
            assert_rights(&ring, to.0, to.1);
            append(&mut third, 1000);
            assert_rights(&ring, to.0, to.1);
            close(third);
        }
        assert!(died >= 3, "{from:?} {to:?}: {died}");
    }
}

/// New files go by `ring.meta`, and not every file system keeps the order in which rights are changed.
#[test]
fn the_metadata_changes_once_all_else_is_durable() {
    if !is_root() {
        return;
    }
    let ring = home_of_the_writer(0o755);
    let mut first = writer(&ring, &Setup::default());
    first.expect("opened");
    append(&mut first, 2000);
    close(first);
    let setup = Setup { mode: Some(0o644), group: Some(READERS), ..Setup::default() };
    let args = as_user(setup.args(ring.home()), WRITER, WRITER).with("groups", READERS);
    let args = args.with("dies_at_flush_of_all", 1);
    // The second time nothing but the metadata has other rights, and what the first time changed is as little
    // on the disk as before.
    for _ in 0..2 {
        let mut second = Child::spawn("writer", args.clone());
        wait_until("the writer dies", || second.ended());
        assert_eq!(second.ended_by(), Some(Signal::SIGSYS as i32));
        let mut found = all_rights(&ring);
        found.retain(|name, _| {
            name == "control.link" || name.starts_with("page-") || name.starts_with("ring")
        });
        assert_eq!(found.remove("ring.meta"), Some((WRITER, 0o640)));
        assert!(found.len() > 2 && found.values().all(|found| *found == (READERS, 0o644)), "{found:?}");
    }
    let mut third = writer(&ring, &setup);
    third.expect("opened");
    assert_rights(&ring, READERS, 0o644);
    close(third);
    // Where nothing changes, nothing is flushed, which could take long beside somebody else's writes.
    let mut fourth = Child::spawn("writer", args);
    fourth.expect("opened");
    close(fourth);
}
