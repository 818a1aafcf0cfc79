//! What a sleeping reader keeps, and what it gives back.

use crate::testing::{Forge, drain, numbers};
use crate::{Cursor, Reader, ReaderOptions, WaitStrategy, Wakeup};
use std::path::Path;
use std::time::Duration;

const PAGE: u64 = 16 << 20;
/// Twice what one page table maps: what a reader may keep behind and before it.
const KEPT: u64 = 4 << 20;

/// Bytes of `path` that this process has in its page tables.
pub(super) fn resident(path: &Path) -> u64 {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut ours, mut sum) = (false, 0);
    for line in smaps.lines() {
        let (first, rest) = line.split_once(char::is_whitespace).unwrap();
        if first.ends_with(':') {
            if ours && first == "Rss:" {
                sum += rest.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024;
            }
        } else {
            ours = line.ends_with(path.to_str().unwrap());
        }
    }
    sum
}

/// A page with 12 MiB of records.
fn forge() -> Forge {
    let mut forge = Forge::live(PAGE, 4);
    for n in 1..=200 {
        forge.write(n, &vec![n as u8; 64 << 10]);
    }
    forge.commit();
    forge
}

fn reader(forge: &Forge) -> Reader {
    let options = ReaderOptions { wait: WaitStrategy::Park, ..ReaderOptions::default() };
    forge.attach().reader_with(Cursor::Oldest, options).unwrap()
}

fn sleep(reader: &mut Reader) {
    assert_eq!(reader.wait(Some(Duration::from_millis(1))).unwrap(), Wakeup::TimedOut);
}

#[test]
fn a_reader_gives_back_what_lies_behind_it_before_it_sleeps() {
    let mut forge = forge();
    let mut reader = reader(&forge);
    for round in 0..2 {
        drain(&mut reader);
        assert!(resident(&forge.page_path(1)) > KEPT, "round {round}");
        sleep(&mut reader);
        assert!(resident(&forge.page_path(1)) <= KEPT, "round {round}");
        // Somewhere else and back, it has as much to give back again.
        reader.seek(Cursor::Oldest).unwrap();
    }
    let again = drain(&mut reader);
    assert_eq!(again.len(), 200);
    forge.append_n(1);
    assert_eq!(drain(&mut reader), [201]);
}

#[test]
fn records_that_are_in_use_stay_as_they_are() {
    let forge = forge();
    let mut reader = reader(&forge);
    let first = reader.poll().unwrap().unwrap();
    let rest = drain(&mut reader);
    assert_eq!(first.len() + rest.len(), 200);
    sleep(&mut reader);
    assert!(resident(&forge.page_path(1)) > KEPT);
    first.verify().unwrap();
    assert!(numbers(&first).iter().zip(&first).all(|(n, record)| record.data() == vec![*n as u8; 64 << 10]));
    drop(first);
    sleep(&mut reader);
    assert!(resident(&forge.page_path(1)) <= KEPT);
}
