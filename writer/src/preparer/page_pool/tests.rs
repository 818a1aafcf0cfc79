//! Which files of pages that have left the ring are used again, and which are let go.

use super::*;
use crate::disk::FileRights;
use crate::disk::faulty::{Faults, FaultyDisk};
use crate::page::PageTemplate;
use crate::testing::{Home, LAZY, small};
use crate::{Durability, Io, OnFull, Writer, WriterOptions};
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::page::PageGeometry;

const RING_SIZE: usize = 2;
/// The pages of the pool under test; a writer has page 1 beside them.
pub(in crate::preparer) const FIRST: u64 = 100;
pub(in crate::preparer) const LAST: u64 = 105;

pub(in crate::preparer) struct Tested {
    pub(in crate::preparer) home: Home,
    pub(in crate::preparer) writer: Writer,
    pub(in crate::preparer) faults: Arc<Faults>,
    pub(in crate::preparer) pool: PagePool,
}

/// A pool of six pages, of which four are displaced.
fn pool(durability: Durability) -> Tested {
    pool_up_to(LAST, durability)
}

fn pool_up_to(last: u64, durability: Durability) -> Tested {
    let options = WriterOptions { ring_size: RING_SIZE as u32, ..small(Io::Pwrite, durability) };
    let tested = pool_with(last, options);
    let (core, reached) = (tested.writer.core(), Position::new(last, 8192).unwrap());
    match durability {
        Durability::PageCache => core.positions.set_committed(reached),
        _ => core.positions.set_durable(reached),
    }
    tested
}

/// A pool of these pages, complete ones, of which each page's newest record has the page's number for its
/// time. Nothing of them is settled.
pub(in crate::preparer) fn pool_with(last: u64, options: WriterOptions) -> Tested {
    let home = Home::new();
    let disk = FaultyDisk::open(home.path());
    let faults = Arc::clone(&disk.faults);
    let options = WriterOptions { prepare_ahead: false, ..options };
    let writer = Writer::open_on(home.path(), Arc::new(disk), options.clone()).unwrap();
    let core = writer.core();
    let template = PageTemplate {
        ring_id: [7; 16],
        geometry: PageGeometry::new(options.page_len, options.index_capacity).unwrap(),
        epoch: 1,
        rights: FileRights::PRIVATE,
        durable: false,
    };
    let fresh = |id| Arc::new(template.fresh(&*core.disk, id).unwrap());
    let pages: Vec<Arc<Page>> = (FIRST..=last).map(fresh).collect();
    let held = |page: &Arc<Page>| HeldPage { newest_ns: Some(page.id), ..HeldPage::of(page) };
    let (held, active) = (pages.iter().map(held).collect(), Arc::clone(pages.last().unwrap()));
    let pool = PagePool::new(PageFactory { core, template }, options.ring_size as usize, held, active);
    Tested { home, writer, faults, pool }
}

impl Tested {
    /// Page files, under whatever name.
    fn files(&self) -> Vec<String> {
        let is_page = |name: &String| names::parse_page(name).is_none_or(|id| id >= FIRST);
        let names = self.home.content().into_iter().map(|(name, _)| name);
        names.filter(|name| name != names::META && is_page(name)).collect()
    }

    fn stuck(&self) -> u64 {
        self.writer.core_counter(Counter::StuckPages)
    }
}

#[test]
fn of_pages_that_leave_together_as_many_are_kept_as_are_wanted() {
    for wanted in 0..=5 {
        let mut tested = pool(LAZY);
        let (blanks, failed) = tested.pool.trim(wanted);
        assert!(failed.is_none() && blanks.len() == wanted.min(4), "{wanted}: {}", blanks.len());
        let mut expected: Vec<String> = blanks.iter().map(|blank| blank.scratch.clone()).collect();
        expected.extend([LAST - 1, LAST].map(names::page));
        let found: BTreeSet<String> = tested.files().into_iter().collect();
        assert_eq!(found, expected.into_iter().collect(), "{wanted}");
        assert_eq!((tested.stuck(), tested.writer.core_counter(Counter::TrimmedPages)), (0, 4));
    }
}

/// A power cut could bring the names back, with other content under them.
#[test]
fn where_names_cannot_be_made_durably_gone_no_file_is_used_again() {
    let mut tested = pool(LAZY);
    tested.faults.sync_dir.store(libc::EIO as u64, Ordering::Relaxed);
    let (blanks, failed) = tested.pool.trim(3);
    assert!(failed.is_none() && blanks.is_empty(), "{}", blanks.len());
    assert_eq!(tested.files(), [LAST - 1, LAST].map(names::page));
}

/// A writer that promises nothing for power cuts does not wait for the disk when a page leaves; what a power
/// cut could bring back is remembered until the next flush.
#[test]
fn who_promises_nothing_for_power_cuts_waits_for_no_disk() {
    let mut tested = pool(Durability::PageCache);
    let core = tested.writer.core();
    // The background flush stays away.
    let flushing = core.unflushed.flushing.lock();
    let before = tested.faults.log().len();
    let (blanks, _) = tested.pool.trim(1);
    assert_eq!(blanks.len(), 1);
    assert!(!tested.faults.log()[before..].contains(&"sync_dir".to_owned()));
    assert_eq!(core.unflushed.pages.lock().name_may_return, Some(FIRST));
    drop(flushing);
}

/// A page that somebody maps stays as it is. It is only kept an eye on if its file would have been of use:
/// otherwise it would hold a descriptor for nothing.
#[test]
fn a_page_in_somebodys_hands_is_kept_an_eye_on_if_its_file_is_wanted() {
    for (wanted, stuck) in [(0, 0), (1, 1)] {
        let mut tested = pool(LAZY);
        let reader = fs::File::open(tested.home.page(FIRST)).unwrap();
        let (blanks, _) = tested.pool.trim(wanted);
        assert_eq!((blanks.len(), tested.stuck()), (wanted, stuck));
        assert!(blanks.iter().all(|blank| blank.scratch.ends_with(&format!("{:x}", FIRST + 1))));
        drop(reader);
        tested.pool.trim(0);
        assert_eq!(tested.stuck(), 0);
    }
}

/// Each page that is kept an eye on holds a descriptor. A ring of thousands of pages, all of them mapped by
/// one reader, does not take all that the process has.
#[test]
fn no_more_pages_are_kept_an_eye_on_than_descriptors_are_spared() {
    let displaced = STUCK_MAX as u64 + 6;
    let mut tested = pool_up_to(FIRST + displaced + RING_SIZE as u64 - 1, LAZY);
    let reader = |id| fs::File::open(tested.home.page(id)).unwrap();
    let readers: Vec<fs::File> = (FIRST..FIRST + displaced).map(reader).collect();
    let (blanks, failed) = tested.pool.trim(usize::MAX);
    assert!(failed.is_none() && blanks.is_empty());
    assert_eq!(tested.writer.core_counter(Counter::TrimmedPages), displaced);
    assert_eq!(tested.stuck(), STUCK_MAX as u64);
    drop(readers);
}

/// A page file has the length that its header names. One that somebody has changed would not be a page again.
#[test]
fn a_file_of_another_length_is_not_used_again() {
    for len in [0, 4096, 32 << 10, 33 << 10, 1 << 20] {
        let mut tested = pool(LAZY);
        fs::OpenOptions::new().write(true).open(tested.home.page(FIRST)).unwrap().set_len(len).unwrap();
        let (blanks, _) = tested.pool.trim(1);
        let recycled = if len == 32 << 10 { FIRST } else { FIRST + 1 };
        assert!(blanks[0].scratch.ends_with(&format!("{recycled:x}")), "{len}: {}", blanks[0].scratch);
        assert_eq!((blanks[0].file.size().unwrap(), tested.stuck()), (32 << 10, 0));
    }
}

/// What was never written of a page is not written when it is used again either: the log gets there in large
/// pieces, with zeros in front of it.
#[test]
fn a_page_that_is_used_again_knows_where_it_was_never_written() {
    let mut tested = pool(LAZY);
    let (blanks, _) = tested.pool.trim(1);
    let told = blanks[0].file.next_unwritten(4096).unwrap();
    assert_eq!(blanks[0].unwritten, told);
    assert!(told <= 32 << 10, "{told}");
}

/// Files that are made ahead wait under names of their own, whichever pages they were made for.
#[test]
fn no_two_files_that_wait_have_the_same_name() {
    let mut tested = pool(LAZY);
    let made: Vec<Blank> = [7, 7, 8, 7, 8].map(|id| tested.pool.make(id).unwrap()).into();
    let names: BTreeSet<&str> = made.iter().map(|blank| blank.scratch.as_str()).collect();
    assert_eq!(names.len(), made.len(), "{names:?}");
}

/// What a power cut would take does not count as what takes a page's place, on a full disk as little as in a
/// full ring.
#[test]
fn on_a_full_disk_too_a_page_stays_until_what_takes_its_place_is_durable() {
    let on_full = OnFull::DropOldest;
    let mut tested = pool_with(LAST, WriterOptions { on_full, ring_size: 20, ..small(Io::Pwrite, LAZY) });
    let (core, pool) = (tested.writer.core(), &mut tested.pool);
    core.positions.set_committed(Position::new(LAST, 8192).unwrap());
    let full = io::Error::from_raw_os_error(libc::ENOSPC);
    assert!(!pool.shrink(0, &io::Error::from_raw_os_error(libc::EIO)));
    // Six files, two of them beyond the ring.
    assert!(pool.shrink(0, &full) && core.pages_max() == 4);
    assert!(!pool.shrink(0, &full), "it is as small as its files");
    core.positions.set_durable(Position::new(FIRST + 3, 8192).unwrap());
    assert!(!pool.is_displaced() && pool.trim(2).0.is_empty());
    core.positions.set_durable(Position::new(FIRST + 4, 8192).unwrap());
    assert_eq!(pool.trim(2).0.len(), 1);
    core.positions.set_durable(Position::new(LAST, 8192).unwrap());
    assert_eq!(pool.trim(2).0.len(), 1);
    assert!(!pool.is_displaced());
    let counter = |counter| tested.writer.core_counter(counter);
    assert_eq!((counter(Counter::FullDiskTrims), counter(Counter::ExpiredPages)), (2, 0));
}

/// Once a lap is often enough where there is no room: each try costs a file that may not be to be had. Where
/// there is, the ring grows with each page.
#[test]
fn a_ring_that_is_smaller_for_want_of_room_tries_to_grow_once_a_lap() {
    let on_full = OnFull::DropOldest;
    let mut tested = pool_with(LAST, WriterOptions { on_full, ring_size: 6, ..small(Io::Pwrite, LAZY) });
    let (core, pool) = (tested.writer.core(), &mut tested.pool);
    let page = Arc::clone(&pool.active);
    let create = |errno: i32| tested.faults.create.store(errno as u64, Ordering::Relaxed);
    let begin = |pool: &mut PagePool, turns: usize| pool.begin((0..turns).map(|_| Arc::clone(&page)));
    begin(pool, 1);
    assert!(pool.grow(200).is_none(), "it is as large as it is to be");
    pool.held.truncate(6);
    assert!(pool.shrink(0, &io::Error::from_raw_os_error(libc::ENOSPC)) && core.pages_max() == 4);
    begin(pool, 3);
    assert!(pool.grow(200).is_none(), "no lap is over");
    create(libc::ENOSPC);
    begin(pool, 1);
    assert!(pool.grow(200).is_none() && core.pages_max() == 4, "there is no room");
    create(0);
    begin(pool, 3);
    assert!(pool.grow(200).is_none(), "that was a try");
    begin(pool, 1);
    assert!(pool.grow(200).is_some() && core.pages_max() == 5);
    begin(pool, 1);
    assert!(pool.grow(200).is_some() && core.pages_max() == 6, "that one had room");
    begin(pool, 9);
    assert!(pool.grow(200).is_none(), "it is as large as it is to be");
}

/// It would be written into another page: the file may be used again at once.
#[test]
fn a_page_that_lacks_its_footer_stays_whatever_is_behind_it() {
    let mut tested = pool(LAZY);
    tested.pool.held.iter_mut().for_each(|page| page.newest_ns = None);
    assert!(!tested.pool.is_displaced() && tested.pool.trim(2).0.is_empty());
    tested.pool.complete(FIRST + 1, 7);
    assert!(tested.pool.trim(2).0.is_empty(), "it is not the oldest");
    tested.pool.complete(FIRST, 7);
    assert_eq!(tested.pool.trim(2).0.len(), 2);
}

/// A pool whose pages are too old when they are older than ten.
fn kept_for_ten(durability: Durability) -> Tested {
    let keep_for = Some(Duration::from_nanos(10));
    pool_with(LAST, WriterOptions { keep_for, ring_size: 20, ..small(Io::Pwrite, durability) })
}

impl Tested {
    /// The oldest page that is left after a look at a clock that says `now_ns`.
    fn oldest_at(&mut self, now_ns: u64) -> u64 {
        self.pool.look_at_clock(now_ns);
        let displaced = self.pool.is_displaced();
        let (trimmed, failed) = self.pool.trim(20);
        assert!(failed.is_none() && trimmed.is_empty() != displaced);
        self.pool.held[0].id
    }
}

#[test]
fn a_page_is_too_old_when_its_newest_record_is_older_than_asked_for() {
    let mut tested = kept_for_ten(LAZY);
    tested.writer.core().positions.set_durable(Position::new(LAST, 8192).unwrap());
    assert_eq!(tested.oldest_at(5), FIRST, "before 1970");
    assert_eq!(tested.oldest_at(FIRST + 10), FIRST, "not older, as old");
    assert_eq!(tested.oldest_at(FIRST + 11), FIRST + 1);
    tested.pool.complete(FIRST + 1, FIRST + 9);
    assert_eq!(tested.oldest_at(FIRST + 15), FIRST + 1, "one record is not that old");
    assert_eq!(tested.oldest_at(u64::MAX), LAST, "the last one stays however old it is");
    let counter = |counter| tested.writer.core_counter(counter);
    assert_eq!(counter(Counter::ExpiredPages), LAST - FIRST);
    assert_eq!((counter(Counter::TrimmedPages), counter(Counter::FullDiskTrims)), (LAST - FIRST, 0));
}

/// Nothing takes an old page's place in a ring that is not full: a power cut could leave no record at all.
#[test]
fn a_page_that_is_too_old_stays_until_there_is_a_record_behind_it_that_stays() {
    for durability in [LAZY, Durability::PageCache] {
        let mut tested = kept_for_ten(durability);
        let core = tested.writer.core();
        let settle = |position| match durability {
            Durability::PageCache => core.positions.set_committed(position),
            _ => core.positions.set_durable(position),
        };
        if durability == LAZY {
            core.positions.set_committed(Position::new(LAST, 8192).unwrap());
        }
        assert_eq!(tested.oldest_at(u64::MAX), FIRST);
        settle(Position::new(FIRST, 8192).unwrap());
        assert_eq!(tested.oldest_at(u64::MAX), FIRST);
        settle(Position::start_of(FIRST + 1));
        assert_eq!(tested.oldest_at(u64::MAX), FIRST, "nothing is in the page behind it");
        settle(Position::new(FIRST + 1, 8192).unwrap());
        assert_eq!(tested.oldest_at(u64::MAX), FIRST + 1);
        // Also where the log has left the last page, and the next one has not been taken into the ring.
        settle(Position::new(LAST + 1, 8192).unwrap());
        assert_eq!(tested.oldest_at(u64::MAX), LAST);
        assert!(!tested.pool.is_displaced());
    }
}

/// What has gone has gone, but what comes is not too old.
#[test]
fn a_clock_that_was_ahead_for_one_look_drops_nothing_once_it_is_right() {
    let mut tested = kept_for_ten(LAZY);
    tested.writer.core().positions.set_durable(Position::new(FIRST + 1, 8192).unwrap());
    assert_eq!(tested.oldest_at(u64::MAX), FIRST + 1);
    tested.writer.core().positions.set_durable(Position::new(LAST, 8192).unwrap());
    assert_eq!(tested.oldest_at(FIRST + 11), FIRST + 1);
    assert_eq!(tested.oldest_at(FIRST + 13), FIRST + 3);
}
