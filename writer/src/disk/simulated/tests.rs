//! The simulated disk loses whatever a disk may lose, and keeps what a disk must keep: or the histories would
//! be kind to the writer by accident.

use super::*;
use std::collections::BTreeSet;

fn disk() -> SimDisk {
    SimDisk::new(State::default(), Faults::none())
}

/// What a file may hold after a power cut: the first byte of each of its sectors, `-` for a length of 0.
fn outcomes(disk: &SimDisk, name: &str) -> BTreeSet<String> {
    let state = disk.state();
    let mut ways = Odometer::default();
    let mut outcomes = BTreeSet::new();
    loop {
        outcomes.insert(match state.cut(&mut ways).content(name) {
            None => "none".into(),
            Some([]) => "-".into(),
            Some(content) => content
                .chunks(512)
                .map(|sector| if sector[0] == 0 { '0' } else { sector[0] as char })
                .collect(),
        });
        if !ways.advance() {
            return outcomes;
        }
    }
}

fn set(outcomes: &[&str]) -> BTreeSet<String> {
    outcomes.iter().map(|outcome| outcome.to_string()).collect()
}

/// A file of two sectors of `a`, durable with its name.
fn two_sectors(disk: &SimDisk) -> Arc<dyn DiskFile> {
    let file = disk.create("file", FileRights::PRIVATE).unwrap();
    file.write_all_at(&[b'a'; 1024], 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(disk, "file"), set(&["aa"]));
    file
}

#[test]
fn any_part_of_what_is_not_flushed_is_lost_sector_by_sector() {
    let disk = disk();
    let file = two_sectors(&disk);
    file.write_all_at(&[b'b'; 1024], 0).unwrap();
    assert_eq!(outcomes(&disk, "file"), set(&["aa", "ab", "ba", "bb"]));
    file.write_all_at(&[b'c'; 512], 512).unwrap();
    assert_eq!(outcomes(&disk, "file"), set(&["aa", "ab", "ac", "ba", "bb", "bc"]));
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, "file"), set(&["bc"]));
}

#[test]
fn a_flush_of_the_file_keeps_no_name_and_one_of_the_directory_no_content() {
    let disk = disk();
    let file = disk.create("file", FileRights::PRIVATE).unwrap();
    file.write_all_at(&[b'a'; 512], 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, "file"), set(&["none", "a"]));
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk, "file"), set(&["a"]));
    let other = disk.create("other", FileRights::PRIVATE).unwrap();
    other.write_all_at(&[b'a'; 512], 0).unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(outcomes(&disk, "other"), set(&["-", "0", "a"]));
}

#[test]
fn names_are_lost_from_the_last_one_on() {
    let disk = disk();
    two_sectors(&disk);
    disk.rename("file", "second").unwrap();
    disk.rename("second", "third").unwrap();
    disk.create("file", FileRights::PRIVATE).unwrap();
    let mut ways = Odometer::default();
    let mut seen = BTreeSet::new();
    loop {
        let mut names = disk.state().cut(&mut ways).names();
        names.sort();
        seen.insert(names.join(" "));
        if !ways.advance() {
            break;
        }
    }
    assert_eq!(seen, set(&["file", "second", "third", "file third"]));
    // What is behind a name is the same file, whatever name it has.
    disk.open("third").unwrap().write_durable_at(&[b'z'; 512], 0).unwrap();
    assert!(outcomes(&disk, "file").contains("za"));
}

#[test]
fn a_durable_write_covers_its_own_sectors_only() {
    let disk = disk();
    let file = two_sectors(&disk);
    file.write_at(&[b'b'; 512], 0).unwrap();
    file.write_durable_at(&[b'c'; 512], 512).unwrap();
    assert_eq!(outcomes(&disk, "file"), set(&["ac", "bc"]));
    // A part of a sector takes the rest of it along.
    file.write_at(b"d", 0).unwrap();
    file.write_durable_at(b"e", 100).unwrap();
    assert_eq!(outcomes(&disk, "file"), set(&["dc"]));
}

#[test]
fn after_a_failed_flush_no_later_one_helps_unless_it_is_written_again() {
    for seed in 0..64 {
        let disk = disk();
        let file = two_sectors(&disk);
        file.write_all_at(&[b'b'; 1024], 0).unwrap();
        disk.set_faults(Faults { flush: 1, rng: Rng::new(seed), ..Faults::none() });
        file.sync_data().unwrap_err();
        disk.set_faults(Faults::none());
        let lost = outcomes(&disk, "file");
        assert_eq!(lost.len(), 1, "nothing is dirty any more");
        file.sync_data().unwrap();
        assert_eq!(outcomes(&disk, "file"), lost);
        let mut seen = [0; 1024];
        file.read_at(&mut seen, 0).unwrap();
        file.write_all_at(&seen, 0).unwrap();
        file.sync_data().unwrap();
        let expected: String = [seen[0] as char, seen[512] as char].iter().collect();
        assert_eq!(outcomes(&disk, "file"), set(&[&expected]));
    }
}

#[test]
fn after_a_failed_flush_the_cache_has_the_new_or_the_old_content() {
    let mut seen = BTreeSet::new();
    for seed in 0..64 {
        let disk = disk();
        let file = two_sectors(&disk);
        file.write_all_at(&[b'b'; 1024], 0).unwrap();
        disk.set_faults(Faults { flush: 1, rng: Rng::new(seed), ..Faults::none() });
        file.sync_data().unwrap_err();
        let content = disk.state().content("file").unwrap().to_vec();
        let killed = disk.state().kill(&mut Rng::new(seed)).content("file").unwrap().to_vec();
        seen.insert((content[0], outcomes(&disk, "file").first().unwrap().as_bytes()[0], killed[0]));
    }
    // What the cache says, what the disk has, and what the cache says after the process has gone.
    let expected = [(b'a', b'a', b'a'), (b'b', b'a', b'a'), (b'b', b'a', b'b'), (b'b', b'b', b'b')];
    assert_eq!(seen, expected.into_iter().collect());
}

#[test]
fn a_kill_keeps_everything_and_it_is_still_not_durable() {
    let disk = disk();
    let file = two_sectors(&disk);
    file.write_all_at(&[b'b'; 1024], 0).unwrap();
    disk.rename("file", "new").unwrap();
    let killed = disk.state().kill(&mut Rng::new(1));
    assert_eq!(killed.names(), ["new"]);
    assert!(killed.content("new").unwrap().iter().all(|byte| *byte == b'b'));
    let next = SimDisk::new(killed, Faults::none());
    assert_eq!(outcomes(&next, "new"), set(&["none", "aa", "ab", "ba", "bb"]));
}

#[test]
fn short_and_interrupted_calls_come_to_whole_ones() {
    let disk = disk();
    disk.set_faults(Faults { short: 2, interrupt: 2, rng: Rng::new(5), ..Faults::none() });
    let file = disk.create("file", FileRights::PRIVATE).unwrap();
    file.write_all_at(&[b'a'; 5000], 0).unwrap();
    let mut bytes = [0; 6000];
    assert_eq!(file.read_up_to(&mut bytes, 0).unwrap(), 5000);
    assert!(disk.take_journal().len() > 2, "it went in pieces");
}

#[test]
fn a_journal_leads_to_the_same_state() {
    let disk = disk();
    disk.set_faults(Faults { short: 2, flush: 3, rng: Rng::new(9), ..Faults::none() });
    let file = disk.create("file", FileRights::PRIVATE).unwrap();
    for n in 0..40_u8 {
        let _ = file.write_all_at(&[b'a' + n % 20; 700], u64::from(n) * 100);
        let _ = if n % 3 == 0 { file.sync_data() } else { Ok(()) };
        let _ = if n % 7 == 0 { file.write_durable_at(b"x", u64::from(n)).map(drop) } else { Ok(()) };
    }
    disk.rename("file", "other").unwrap();
    let mut replayed = State::default();
    disk.take_journal().iter().for_each(|op| replayed.apply(op));
    let state = disk.state();
    assert_eq!(state.content("other"), replayed.content("other"));
    for seed in 0..100 {
        let cut = |state: &State| state.cut(&mut Styled::new(Rng::new(seed)));
        assert_eq!(cut(&state).content("other"), cut(&replayed).content("other"));
    }
}

#[test]
fn an_odometer_tries_every_way_once() {
    let mut ways = Odometer::default();
    let mut seen = Vec::new();
    loop {
        let first = ways.pick(2);
        // How many ways there are may depend on what was picked before.
        let second = if first == 0 { ways.pick(3) } else { ways.pick(1) };
        seen.push((first, second));
        if !ways.advance() {
            break;
        }
    }
    assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (1, 0)]);
}
