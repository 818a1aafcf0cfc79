//! What is ready before anybody asks for it, and what comes first.

use super::*;
use crate::disk::{FileRights, OsDisk};
use crate::page::PageTemplate;
use crate::preparer::page_pool::tests::{FIRST, LAST, Tested, pool_with};
use crate::testing::{Home, LAZY, payloads, small};
use crate::{Durability, Io, OnFull, Writer, WriterOptions};
use std::sync::atomic::Ordering;
use std::time::Instant;
use waldo_shm_protocol::page::{PageGeometry, PageSummary};
use waldo_shm_protocol::segment::Counter;
use waldo_shm_protocol::{Position, names};

/// Two rotations in quick succession need two pages. One is ready and one blank, from the first rotation on
/// and until the ring has more pages than it is to have.
#[test]
fn behind_the_page_that_is_ready_another_one_waits_blank() {
    let home = Home::new();
    let options = small(Io::Pwrite, Durability::Sync);
    let mut writer = home.open(&options);
    let mut last = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    for page in 2..=u64::from(options.ring_size) {
        while writer.committed().page() < page {
            last += 1;
            writer.append_payloads(&payloads(last..=last)).unwrap();
        }
        // Its name begins with the page that it was made for.
        let blank = format!("{}fresh-{:012x}", names::SCRATCH_PREFIX, page + 2);
        let waits = || home.names().iter().any(|name| name.starts_with(&blank));
        while !home.page(page + 1).exists() || !waits() {
            assert!(Instant::now() < deadline, "{blank} is not made");
            thread::yield_now();
        }
    }
    writer.close().unwrap();
}

/// Looking ahead in the page cache can take long. It gives way to whoever needs a page, hands one over, or
/// wants to end.
#[test]
fn looking_ahead_gives_way_to_all_that_is_urgent() {
    let home = Home::new();
    let disk = OsDisk::open(home.path()).unwrap();
    let geometry = PageGeometry::new(32 << 10, 4).unwrap();
    let template =
        PageTemplate { ring_id: [7; 16], geometry, epoch: 1, rights: FileRights::PRIVATE, durable: false };
    let mut next = 0;
    let mut page = || {
        next += 1;
        template.fresh(&disk, next).unwrap()
    };
    let mut quiet = || PreparerState { ready: Some(page()), ..PreparerState::default() };
    assert!(!quiet().is_urgent());
    assert!(PreparerState { ready: None, ..quiet() }.is_urgent(), "a page is needed");
    assert!(PreparerState { stop: true, ..quiet() }.is_urgent(), "the writer ends");
    let begun = quiet().ready.map(Arc::new).into_iter().collect();
    assert!(PreparerState { begun, ..quiet() }.is_urgent(), "the oldest page has to go");
    let sealed = quiet().ready.map(Arc::new).unwrap();
    let job = SealJob { page: sealed, summary: PageSummary::default(), index: Vec::new() };
    assert!(PreparerState { seals: [job].into(), ..quiet() }.is_urgent(), "a page lacks its footer");
}

/// Where the thread gets the processor late no page is blank when the oldest one cannot be trimmed. The log
/// goes on in a new one all the same, as long as there is room.
#[test]
fn a_page_that_cannot_be_trimmed_is_no_reason_to_make_none() {
    let failed = || Some(failure(1, io::Error::from_raw_os_error(libc::EIO)));
    let untrimmed = || PreparerState {
        failed: failed(),
        untrimmed: true,
        displaced: true,
        overfull: true,
        next_id: 7,
        ..PreparerState::default()
    };
    let mut state = untrimmed();
    assert!(matches!(state.next_task(), Some(Task::Make(7))) && state.busy);
    assert!(state.next_task().is_none(), "one at a time");
    assert!(PreparerState { full: true, ..untrimmed() }.next_task().is_none(), "there is no room");
    assert!(PreparerState { untrimmed: false, ..untrimmed() }.next_task().is_none(), "making one failed");
    // Who waits for a page waits for the one that is being made.
    let mut state = untrimmed();
    state.next_task();
    state.made(Err(failed().unwrap()));
    assert!(state.next_task().is_none() && state.failed.is_some() && !state.untrimmed);
}

/// What a writer of these options shares with its preparer; the state is the test's.
fn shared(writer: &Writer, state: PreparerState) -> Arc<PreparerShared> {
    let (core, options) = (writer.core(), writer.options());
    let geometry = PageGeometry::new(options.page_len, options.index_capacity).unwrap();
    let template =
        PageTemplate { ring_id: [7; 16], geometry, epoch: 1, rights: FileRights::PRIVATE, durable: false };
    let (state, factory) = (Mutex::new(state), PageFactory { core, template });
    Arc::new(PreparerShared { state, work: Condvar::new(), done: Condvar::new(), factory })
}

type Taking = thread::JoinHandle<Result<Option<TakenPage>, Failure>>;

/// Takes a page on another thread.
fn take(shared: &Arc<PreparerShared>, pages_max: usize) -> Taking {
    let preparer = BackgroundPreparer(Arc::clone(shared));
    thread::spawn(move || preparer.take(pages_max))
}

/// Returns when that thread waits for the one that makes pages.
fn until_it_waits(shared: &PreparerShared, taking: &Taking) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while shared.done.notify_all() == 0 {
        assert!(!taking.is_finished() && Instant::now() < deadline, "it does not wait");
        thread::yield_now();
    }
}

fn until_it_ends<T>(thread: &thread::JoinHandle<T>) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !thread.is_finished() {
        assert!(Instant::now() < deadline, "it does not end");
        thread::yield_now();
    }
}

/// A trim that failed while the next page is being made is no reason to fail an append that waits for that.
#[test]
fn who_waits_for_a_page_that_is_being_made_gets_it_whatever_failed_before() {
    let home = Home::new();
    let options = WriterOptions { prepare_ahead: false, ..small(Io::Pwrite, Durability::Sync) };
    let writer = home.open(&options);
    let failed = Some(failure(1, io::Error::from_raw_os_error(libc::EIO)));
    let shared =
        shared(&writer, PreparerState { failed, retry: true, busy: true, ..PreparerState::default() });
    let made = shared.factory.template.fresh(&*writer.core().disk, 7).unwrap();
    let taking = take(&shared, options.ring_size as usize);
    until_it_waits(&shared, &taking);
    shared.state.lock().made(Ok(made));
    shared.done.notify_all();
    let (page, stalled) = taking.join().unwrap().unwrap().unwrap();
    assert!(page.id == 7 && stalled);
}

/// A pool of six pages on a disk that has no room for the name of another one, and a blank page that has none
/// yet.
fn without_room_for_a_name(on_full: OnFull) -> (Tested, Blank) {
    let options = WriterOptions { on_full, ring_size: 20, ..small(Io::Pwrite, LAZY) };
    let mut tested = pool_with(LAST, options);
    tested.writer.core().positions.set_durable(Position::new(LAST, 8192).unwrap());
    tested.faults.pages_max.store(1, Ordering::Relaxed);
    let blank = tested.pool.make(LAST + 1).unwrap();
    (tested, blank)
}

/// The file that could not be named has gone: the thread makes another one, or the ring gets smaller.
#[test]
fn who_finds_no_room_for_a_name_waits_for_what_the_thread_makes_of_it() {
    for (on_full, has_failed) in
        [(OnFull::DropOldest, false), (OnFull::Stop, false), (OnFull::DropOldest, true)]
    {
        let (tested, blank) = without_room_for_a_name(on_full);
        if has_failed {
            // Also of a full disk, but a flush that failed is final.
            tested.writer.core().fail("flushing", io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let blanks = vec![blank];
        let shared = shared(&tested.writer, PreparerState { blanks, next_id: 9, ..PreparerState::default() });
        let taking = take(&shared, 20);
        if on_full == OnFull::Stop || has_failed {
            until_it_ends(&taking);
            assert_eq!(taking.join().unwrap().map(drop).unwrap_err().errno(), libc::ENOSPC);
            assert!(shared.state.lock().failed.is_some());
            continue;
        }
        until_it_waits(&shared, &taking);
        let mut state = shared.state.lock();
        assert!(matches!(state.next_task(), Some(Task::Make(9))));
        tested.faults.pages_max.store(0, Ordering::Relaxed);
        let made = shared.factory.template.fresh(&*tested.writer.core().disk, 9).unwrap();
        state.made(Ok(made));
        shared.done.notify_all();
        drop(state);
        assert_eq!(taking.join().unwrap().unwrap().unwrap().0.id, 9);
    }
}

/// The same where the thread itself finds no room, while an append waits.
#[test]
fn a_page_that_finds_no_room_for_its_name_makes_the_ring_smaller() {
    for on_full in [OnFull::DropOldest, OnFull::Stop] {
        let (tested, blank) = without_room_for_a_name(on_full);
        let (home, core) = (tested.home, tested.writer.core());
        let state = PreparerState { busy: true, next_id: LAST + 1, ..PreparerState::default() };
        let shared = shared(&tested.writer, state);
        let taking = take(&shared, 20);
        until_it_waits(&shared, &taking);
        let mut state = shared.state.lock();
        shared.name(&mut state, blank, LAST + 1);
        shared.done.notify_all();
        drop(state);
        let worker = run(&shared, tested.pool, None);
        until_it_ends(&taking);
        BackgroundPreparer(Arc::clone(&shared)).stop();
        worker.join().unwrap();
        let (taken, pages_max) = (taking.join().unwrap(), core.pages_max());
        match on_full {
            OnFull::DropOldest => assert!(taken.unwrap().is_none() && pages_max <= 4),
            OnFull::Stop => {
                assert_eq!((taken.map(drop).unwrap_err().errno(), pages_max), (libc::ENOSPC, 20));
            }
        }
        assert!(!home.page(LAST + 1).exists());
    }
}

/// Starts the thread for this pool; when it last looked at the clock.
fn run(shared: &Arc<PreparerShared>, pool: PagePool, looked: Option<Instant>) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || Worker { shared: &shared, pool, looked, readahead: Readahead::default() }.run())
}

/// Where nothing is appended there is no rotation at which the thread would look at the clock. It does so a
/// minute after the last look.
#[test]
fn a_ring_that_nothing_is_appended_to_lets_go_what_is_too_old() {
    let keep_for = Some(Duration::from_secs(3600));
    let options = WriterOptions { keep_for, ring_size: 20, ..small(Io::Pwrite, LAZY) };
    let tested = pool_with(LAST, options);
    let (home, core) = (tested.home, tested.writer.core());
    core.positions.set_durable(Position::new(LAST, 8192).unwrap());
    // There is nothing else to do.
    let ready = tested.pool.factory.template.fresh(&*core.disk, LAST + 1).unwrap();
    let shared = shared(&tested.writer, PreparerState { ready: Some(ready), ..PreparerState::default() });
    // A moment less than a minute ago.
    let looked = Instant::now().checked_sub(CLOCK_INTERVAL - Duration::from_millis(300));
    let worker = run(&shared, tested.pool, Some(looked.unwrap()));
    let deadline = Instant::now() + Duration::from_secs(30);
    while home.page(LAST - 1).exists() {
        assert!(Instant::now() < deadline && !worker.is_finished(), "what is too old stays");
        thread::yield_now();
    }
    BackgroundPreparer(Arc::clone(&shared)).stop();
    worker.join().unwrap();
    assert_eq!(tested.writer.core_counter(Counter::ExpiredPages), LAST - FIRST);
    assert!(home.page(LAST).exists());
}
