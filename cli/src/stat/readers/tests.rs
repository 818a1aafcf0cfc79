//! What bits mean.

use super::*;

const OWNER: u32 = 54_321;
const GROUP: u32 = 54_322;

fn access(group: u32, mode: u32) -> Access {
    Access { owner: OWNER, group, mode }
}

#[test]
fn bits_are_told_in_words() {
    for (mode, wanted) in [
        (0o600, "user 54321, and nobody else"),
        (0o640, "user 54321, group 54322, and nobody else"),
        (0o604, "user 54321, and everybody who is not of group 54322"),
        (0o644, "everybody"),
    ] {
        assert_eq!(access(GROUP, mode).sentence(), wanted);
    }
}

#[test]
fn a_directory_lets_through_who_has_its_bits() {
    let through = |dir: Access, files: Access| dir.lets_through(files.audience(), 0o5);
    for (dir, files, wanted) in [
        (access(GROUP, 0o700), access(GROUP, 0o640), false),
        (access(GROUP, 0o710), access(GROUP, 0o640), false),
        (access(GROUP, 0o2750), access(GROUP, 0o640), true),
        // Members of the one need not be of the other.
        (access(1, 0o750), access(GROUP, 0o640), false),
        (access(1, 0o755), access(GROUP, 0o640), true),
        // Of the group that the directory has, and not of the one that the file keeps out.
        (access(1, 0o705), access(GROUP, 0o604), false),
        (access(GROUP, 0o705), access(GROUP, 0o604), true),
        (access(GROUP, 0o705), access(GROUP, 0o644), false),
        (access(GROUP, 0o755), access(GROUP, 0o644), true),
        (access(GROUP, 0o700), access(GROUP, 0o600), true),
    ] {
        assert_eq!(through(dir, files), wanted, "{dir:?} {files:?}");
    }
}

/// Looking up a name may ask another machine.
#[test]
fn names_are_looked_up_when_a_ring_is_looked_at_and_not_when_it_is_shown() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(names::META), b"").unwrap();
    let mut readers = ReadingRights::of(home.path()).unwrap();
    let shown: Vec<String> = readers.lines().collect();
    assert_eq!(shown[0], readers.files.sentence());
    readers.files = access(GROUP, 0o600);
    assert_eq!(readers.lines().collect::<Vec<_>>(), shown);
}
