//! Each kind of damage, repaired; nothing changed by a plan; and repairs that were interrupted.

use super::*;
use crate::testing::*;
use crate::{Durability, Io, Writer, WriterOptions};
use std::fs;
use waldo_shm_protocol::limits::PAGE_FOOTER_LEN;
use waldo_shm_protocol::names;
use waldo_shm_protocol::page::{PageFooter, PageHeader, PageSummary};
use waldo_shm_protocol::scan::{PageScan, PayloadCheck, Step};

fn options() -> WriterOptions {
    small(Io::Pwrite, Durability::Sync)
}

/// A ring of some pages that was closed in good order. Returns its last record.
fn ring() -> (Home, u64) {
    let home = Home::new();
    let mut writer = home.open(&options());
    let mut last = 0;
    while writer.committed().page() < 6 {
        writer.append_payloads(&payloads(last + 1..=last + 1)).unwrap();
        last += 1;
    }
    writer.append_payloads(&payloads(last + 1..=last + 5)).unwrap();
    writer.close().unwrap();
    (home, last + 5)
}

/// Page, offset, size and number of each record.
fn places(home: &Home) -> Vec<(u64, u64, usize, u64)> {
    let mut places = Vec::new();
    for id in home.page_ids() {
        let bytes = fs::read(home.page(id)).unwrap();
        let Ok(header) = PageHeader::check_any(&bytes, bytes.len() as u64) else { continue };
        let mut scan = PageScan::new(&header, None, 0, PayloadCheck::Verify);
        while let Step::Record { offset, record } = scan.step(&bytes, 0) {
            places.push((id, offset, record.size(), record.seq_no()));
        }
    }
    places
}

fn edit(home: &Home, page: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(home.page(page)).unwrap();
    change(&mut bytes);
    fs::write(home.page(page), bytes).unwrap();
}

/// Repairs, checks what is there then against the report, and that a plan changes nothing and says the same.
fn repaired(home: &Home, keep: Keep) -> Repair {
    let before = home.content();
    let planned = plan(home.path(), keep).unwrap();
    assert_eq!(home.content(), before, "a plan changed something");
    assert!(planned.damage.is_some(), "{planned:?}");
    let place = tempfile::tempdir().unwrap();
    let done = apply(home.path(), keep, Some(place.path())).unwrap();
    let backup = done.backup.clone().unwrap();
    assert_eq!(Repair { backup: None, ..done.clone() }, planned);
    // Every byte that went is in the backup.
    for (name, bytes) in &before {
        let now = fs::read(home.path().join(name)).ok();
        let moved = planned.actions.iter().any(|action| matches!(action, Action::Exchange { .. }));
        if now.as_ref() != Some(bytes) && !moved {
            assert_eq!(fs::read(backup.join(name)).ok().as_ref(), Some(bytes), "{name} is not in the backup");
        }
    }
    again(home, keep, &done);
    done
}

/// The ring is in order, holds what was kept, and goes on.
fn again(home: &Home, keep: Keep, done: &Repair) {
    let second = plan(home.path(), keep).unwrap();
    assert_eq!((&second.damage, &second.actions[..]), (&None, &[][..]), "{second:?}");
    let kept = done.kept.unwrap();
    let numbers: Vec<u64> = places(home).iter().map(|place| place.3).collect();
    assert_eq!(numbers, (kept.first_seq_no..=kept.last_seq_no).collect::<Vec<_>>());
    assert_eq!(kept.records, numbers.len() as u64);
    let mut writer = Writer::open(home.path(), options()).unwrap();
    assert_eq!(writer.tip(), Some(kept.last_seq_no), "{:?}", writer.open_report());
    assert_eq!(writer.open_report().cut, None);
    let next = kept.last_seq_no + 1;
    writer.append_payloads(&payloads(next..=next)).unwrap();
    writer.close().unwrap();
    assert_eq!(plan(home.path(), keep).unwrap().damage, None);
}

/// Damages record `victim`'s payload.
fn spoil(home: &Home, victim: u64) -> (u64, u64) {
    let (page, offset, size, _) = *places(home).iter().find(|place| place.3 == victim).unwrap();
    edit(home, page, |bytes| bytes[offset as usize + size - 9] ^= 1);
    (page, offset)
}

#[test]
fn a_ring_in_order_is_left_alone() {
    let (home, _) = ring();
    let before = home.content();
    for keep in [Keep::Longest, Keep::Older, Keep::Newer] {
        let done = apply(home.path(), keep, None).unwrap();
        assert_eq!((done.damage, done.backup, done.actions.len()), (None, None, 0));
    }
    assert_eq!(home.content(), before);
}

#[test]
fn of_a_damaged_record_either_side_can_be_kept() {
    for keep in [Keep::Older, Keep::Newer, Keep::Longest] {
        let (home, last) = ring();
        let first = places(&home)[0].3;
        // In the middle of a page, so that a page has to be made of what stands behind it.
        let victim = places(&home).iter().filter(|place| place.0 == 5).nth(2).unwrap().3;
        let (page, offset) = spoil(&home, victim);
        let done = repaired(&home, keep);
        let name = names::page(page);
        let damage = done.damage.unwrap();
        assert!(damage.contains(&name) && damage.contains(&offset.to_string()), "{damage}");
        let spans = if keep == Keep::Newer || last - victim > victim - first {
            ((victim + 1, last), (first, victim - 1))
        } else {
            ((first, victim - 1), (victim + 1, last))
        };
        let kept = done.kept.unwrap();
        if keep == Keep::Older {
            assert_eq!((kept.first_seq_no, kept.last_seq_no), (first, victim - 1));
        } else {
            assert_eq!((kept.first_seq_no, kept.last_seq_no), spans.0, "{keep:?}");
            let dropped = done.dropped[0];
            assert_eq!((dropped.first_seq_no, dropped.last_seq_no), spans.1, "{keep:?}");
        }
        assert_eq!((done.dropped.len(), done.lost), (1, vec![(victim - 1, victim)]));
    }
}

#[test]
fn a_lost_header_is_made_again_and_no_record_goes() {
    for page in [3, 5] {
        let (home, last) = ring();
        let first = places(&home)[0].3;
        edit(&home, page, |bytes| bytes[..64].fill(0x5a));
        let done = repaired(&home, Keep::Longest);
        let kept = done.kept.unwrap();
        assert_eq!((kept.first_seq_no, kept.last_seq_no, done.dropped.len()), (first, last, 0), "{page}");
    }
}

#[test]
fn a_missing_page_leaves_the_longer_side() {
    let (home, last) = ring();
    let first = places(&home)[0].3;
    let gone: Vec<u64> = places(&home).iter().filter(|place| place.0 == 4).map(|place| place.3).collect();
    fs::remove_file(home.page(4)).unwrap();
    let done = repaired(&home, Keep::Older);
    let kept = done.kept.unwrap();
    assert_eq!((kept.first_seq_no, kept.last_seq_no), (first, gone[0] - 1));
    assert_eq!(done.lost, [(gone[0] - 1, gone[gone.len() - 1])]);
    let dropped = done.dropped[0];
    assert_eq!((dropped.first_seq_no, dropped.last_seq_no), (gone[gone.len() - 1] + 1, last));
}

#[test]
fn metadata_are_made_from_the_pages() {
    for missing in [false, true] {
        let (home, last) = ring();
        match missing {
            false => fs::write(home.path().join(names::META), [0x77; 8192]).unwrap(),
            true => fs::remove_file(home.path().join(names::META)).unwrap(),
        }
        let epoch = 1;
        let done = repaired(&home, Keep::Longest);
        assert_eq!(done.kept.unwrap().last_seq_no, last);
        let mut writer = home.open(&options());
        assert!(writer.open_report().epoch > epoch + 1, "an epoch was used again");
        writer.append_payloads(&payloads(last + 2..=last + 2)).unwrap();
    }
}

/// Also where the directory does not see to that.
#[test]
fn what_is_written_anew_is_for_those_who_could_read_the_old() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    if !nix::unistd::geteuid().is_root() {
        println!("left out: only root can give a file to any group");
        return;
    }
    const GROUP: u32 = 54_322;
    for damage in ["metadata", "no metadata", "a header"] {
        let (home, _) = ring();
        home.open(&options().group(GROUP).mode(0o644)).close().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let meta = home.path().join(names::META);
        match damage {
            "metadata" => fs::write(&meta, [0x77; 8192]).unwrap(),
            "no metadata" => fs::remove_file(&meta).unwrap(),
            _ => edit(&home, 5, |bytes| bytes[..64].fill(0x5a)),
        }
        repaired(&home, Keep::Longest);
        for path in [meta, home.page(5)] {
            let stat = fs::metadata(&path).unwrap();
            assert_eq!((stat.gid(), stat.mode() & 0o7777), (GROUP, 0o644), "{damage}: {}", path.display());
        }
    }
}

/// Whatever page the directory has first.
#[test]
fn metadata_that_are_lost_become_no_more_readable_than_any_page() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    if !nix::unistd::geteuid().is_root() {
        println!("left out: only root can give a file to any group");
        return;
    }
    const GROUP: u32 = 54_322;
    const OTHER: u32 = 54_323;
    for (odd, wanted) in [
        ((GROUP, 0o600), (GROUP, 0o600)),
        ((GROUP, 0o644), (GROUP, 0o640)),
        ((GROUP, 0o444), (GROUP, 0o640)),
        // Members of the one need not be of the other.
        ((OTHER, 0o640), (0, 0o600)),
    ] {
        for page in [3, 5] {
            let (home, _) = ring();
            home.open(&options().group(GROUP).mode(0o640)).close().unwrap();
            fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
            chown(home.page(page), None, Some(odd.0)).unwrap();
            fs::set_permissions(home.page(page), fs::Permissions::from_mode(odd.1)).unwrap();
            let meta = home.path().join(names::META);
            fs::remove_file(&meta).unwrap();
            chown(home.path(), None, Some(0)).unwrap();
            repaired(&home, Keep::Longest);
            let stat = fs::metadata(&meta).unwrap();
            assert_eq!((stat.gid(), stat.mode() & 0o7777), wanted, "{odd:?} {page}");
        }
    }
}

#[test]
fn exchanged_pages_get_their_names_back() {
    let (home, last) = ring();
    let name = home.path().join("aside");
    for (from, to) in
        [(home.page(3), name.clone()), (home.page(5), home.page(3)), (home.page(4), home.page(5))]
    {
        fs::rename(from, to).unwrap();
    }
    fs::rename(name, home.page(4)).unwrap();
    let done = repaired(&home, Keep::Longest);
    assert_eq!((done.kept.unwrap().last_seq_no, done.dropped.len()), (last, 0), "{done:?}");
}

#[test]
fn a_foreign_page_leaves() {
    let (home, _) = ring();
    let (other, _) = ring();
    fs::copy(other.page(5), home.page(5)).unwrap();
    let done = repaired(&home, Keep::Older);
    let removed = |action: &Action| matches!(action, Action::Remove { name, .. } if *name == names::page(5));
    assert!(done.actions.iter().any(removed), "{done:?}");
}

#[test]
fn footers_are_written_again() {
    let (home, last) = ring();
    edit(&home, 4, |bytes| {
        let at = bytes.len() - PAGE_FOOTER_LEN;
        let header = PageHeader::check_any(bytes, bytes.len() as u64).unwrap();
        let footer = PageFooter::check(&bytes[at..], &header).unwrap();
        let start = footer.index_range(&header.geometry()).0 as usize;
        let index = footer.check_index(&bytes[start..at]).unwrap();
        let summary = PageSummary { last_time_ns: 1, ..footer.summary() };
        bytes[at..].copy_from_slice(PageFooter::new(&header, &summary, &index).as_bytes());
    });
    let done = repaired(&home, Keep::Longest);
    assert_eq!((done.kept.unwrap().last_seq_no, done.dropped.len()), (last, 0));
    assert!(done.damage.unwrap().contains("footer"));
}

#[test]
fn a_repair_that_was_interrupted_is_repeated_to_the_same_end() {
    for keep in [Keep::Older, Keep::Newer] {
        let (home, _) = ring();
        let victim = places(&home).iter().filter(|place| place.0 == 4).nth(2).unwrap().3;
        spoil(&home, victim);
        let steps = plan(home.path(), keep).unwrap().actions.len();
        assert!(steps > 2);
        for done_before in 0..=steps {
            let copy = Home::new();
            home.copy_to(&copy);
            let place = tempfile::tempdir().unwrap();
            let mut found = look::look(copy.path(), keep).unwrap();
            let whole = found.report.clone();
            found.report.actions.truncate(done_before);
            steps::carry_out(copy.path(), found, Some(place.path())).unwrap();
            // Half made, as a crash in the middle of a step leaves it.
            fs::write(copy.path().join("scratch-repair"), b"half").unwrap();
            let second = apply(copy.path(), keep, Some(place.path())).unwrap();
            let kept = second.kept.unwrap();
            let wanted = whole.kept.unwrap();
            assert_eq!(
                (kept.first_seq_no, kept.last_seq_no),
                (wanted.first_seq_no, wanted.last_seq_no),
                "{keep:?} interrupted after {done_before} steps"
            );
            again(&copy, keep, &second);
        }
    }
}

#[test]
fn a_ring_with_a_writer_is_not_touched() {
    let home = Home::new();
    let writer = home.open(&options());
    assert!(matches!(plan(home.path(), Keep::Longest), Err(OpenError::Locked { .. })));
    assert!(matches!(apply(home.path(), Keep::Longest, None), Err(OpenError::Locked { .. })));
    drop(writer);
    assert!(plan(home.path(), Keep::Longest).is_ok());
}
