//! What is derived from what.

use super::*;
use crate::testing::{Home, LAZY, small};
use crate::{Io, Writer};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

/// Groups that have no names.
const GROUP: u32 = 54_322;
const OTHER: u32 = 54_323;

fn directory(group: u32, mode: u32) -> Home {
    let home = Home::new();
    chown(home.path(), None, Some(group)).unwrap();
    fs::set_permissions(home.path(), Permissions::from_mode(mode)).unwrap();
    home
}

#[test]
fn a_group_is_found_by_its_name_or_its_number() {
    assert_eq!(group_id("root"), Ok(0));
    assert_eq!(group_id("54322"), Ok(GROUP));
    for name in ["", "no such group", "-1", "4294967295", "4294967296"] {
        assert_eq!(group_id(name), Err(UnknownGroup { name: name.into() }), "{name}");
    }
}

#[test]
fn without_the_group_a_file_is_for_those_who_read_with_any() {
    for (mode, wanted) in [(0o640, 0o600), (0o644, 0o644), (0o604, 0o600), (0o664, 0o644), (0o666, 0o666)] {
        let rights = FileRights { mode, group: Some(GROUP) };
        assert_eq!(rights.mode_without_group(), wanted, "{mode:o}");
    }
}

/// A directory's bits go with those of the files where both have one group; else nothing is taken away.
#[test]
fn a_directory_gets_the_bits_that_go_with_those_of_its_files() {
    if !geteuid().is_root() {
        println!("left out: only root can give a directory to any group");
        return;
    }
    let own = getegid().as_raw();
    for ((group, before), (mode, asked), wanted) in [
        ((own, 0o755), (0o640, None), (own, 0o750)),
        ((own, 0o755), (0o600, None), (own, 0o700)),
        ((own, 0o700), (0o644, None), (own, 0o755)),
        ((own, 0o775), (0o640, None), (own, 0o770)),
        // The files' group comes in as others do.
        ((GROUP, 0o755), (0o640, None), (GROUP, 0o755)),
        ((GROUP, 0o700), (0o644, None), (GROUP, 0o705)),
        // Files that are made there have its group.
        ((GROUP, 0o2755), (0o640, None), (GROUP, 0o2750)),
        ((own, 0o755), (0o640, Some(GROUP)), (GROUP, 0o2750)),
        ((OTHER, 0o777), (0o644, Some(GROUP)), (GROUP, 0o2757)),
        ((GROUP, 0o770), (0o640, Some(GROUP)), (GROUP, 0o2770)),
        ((GROUP, 0o755), (0o604, Some(GROUP)), (GROUP, 0o2705)),
    ] {
        let home = directory(group, before);
        let stat = fs::metadata(home.path()).unwrap();
        let found = home_rights(&stat, None, FileRights { mode, group: asked });
        let wanted = FileRights { mode: wanted.1, group: Some(wanted.0) };
        assert_eq!(found, wanted, "{before:o} {mode:o} {asked:?}: {:o}", found.mode);
    }
}

/// Damage is told as ever, and who may read is what it was.
#[test]
fn a_ring_that_is_damaged_keeps_its_rights() {
    if !geteuid().is_root() {
        println!("left out: only root can give a file to any group");
        return;
    }
    let home = Home::new();
    let mut writer = home.open(&small(Io::Pwrite, LAZY));
    writer.append_payloads(&crate::testing::payloads(1..=200)).unwrap();
    writer.close().unwrap();
    let pages = home.page_ids();
    fs::remove_file(home.page(pages[1])).unwrap();
    let look = |path: &Path| FileRights::of(&fs::metadata(path).unwrap());
    let all = || [home.path(), &home.path().join(names::META), &home.page(pages[0])].map(look);
    let before = all();
    let options = small(Io::Pwrite, LAZY).mode(0o644).group(GROUP);
    let error = Writer::open(home.path(), options).unwrap_err();
    assert!(matches!(error, OpenError::MissingPage { .. }), "{error}");
    assert_eq!(all(), before);
}
